"""1 % changed resources merged into a large silver table, beside writing the table anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.contenders import cohortlake
from benchmarks.harness import disk_bytes
from benchmarks.hospital import SILO, copies_of, records, write_copies
from benchmarks.results import machine, spread
from benchmarks.settings import Settings
from cohortlake.core.lake import Lake

TITLE = "1 % changed resources merged into a large table"
RESOURCE = "Observation"
# Every so many-th record changes: spread over all files of the table, which is the dearest case.
STEP = 100


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    data, lake, anew = folder / "data", folder / "lake", folder / "anew"
    copies = max(1, round((asked.rows or 5_000_000) / len(records(RESOURCE).splitlines())))
    write_copies(data, {RESOURCE: copies})
    table = Lake(lake).silver(RESOURCE)
    takes: dict[str, list[float]] = {}
    rewrites, written, whole = [], [], []
    with cohortlake(folder) as ours:
        ours.ask("ingest", data=data, target=lake)
        for path in (data / SILO).iterdir():
            path.unlink()
        rows = ours.ask("silver", lake=lake, resource=RESOURCE).facts["rows"]
        # The first round warms the JVM and is not counted.
        for number in range((asked.rounds or 3) + 1):
            before = ours.ask("silver", lake=lake, resource=RESOURCE).facts
            size = disk_bytes(table)
            changed = deliver_changes(data, copies, number)
            taken = ours.ask("ingest", data=data, target=lake)
            assert taken.facts["resources"] == changed, "a change was not taken as newer"
            for step, seconds in taken.facts["seconds"].items():
                takes.setdefault(step, []).append(seconds)
            written.append((disk_bytes(table) - size) / 1e6)
            arguments = {"lake": lake, "resource": RESOURCE, "version": before["version"], "target": anew}
            rewrites.append(ours.ask("rewrite", **arguments).facts["seconds"])
            whole.append(disk_bytes(anew) / 1e6)
            shutil.rmtree(anew)
            assert ours.ask("silver", lake=lake, resource=RESOURCE).facts["rows"] == rows
    takes = {step: seconds[1:] for step, seconds in takes.items()}
    merges, rewrites, written, whole = takes["publish"], rewrites[1:], written[1:], whole[1:]
    return "\n".join(
        [
            f"{rows:,} observations; {len(merges)} times a new version of {changed:,} of them. {machine()}.",
            "",
            f"* Merged (publish): {spread(merges)} s; with what standardise staged, {spread(written)} MB written.",
            f"* Before it: land {spread(takes['land'])} s, standardise {spread(takes['standardise'])} s.",
            f"* The table written anew by Spark: {spread(rewrites)} s, {spread(whole)} MB.",
            f"* The merge takes {spread([a / b for a, b in zip(merges, rewrites, strict=True)], 2)} of the time, and "
            f"writes {spread([a / b for a, b in zip(written, whole, strict=True)], 3)} of the bytes.",
        ]
    )


def deliver_changes(data: Path, copies: int, number: int) -> int:
    """A file with every hundredth record amended, in every copy of it; gives how many. The later file is the newer."""
    lines = records(RESOURCE).splitlines(keepends=True)[number::STEP]
    amended = b"".join(lines).replace(b'"status":"final"', b'"status":"amended"')
    (data / SILO / f"{RESOURCE}.change{number}.ndjson").write_bytes(b"".join(copies_of(amended, range(copies))))
    return len(lines) * copies
