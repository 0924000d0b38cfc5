"""1 % changed resources merged into a large silver table, beside writing the table anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from deltalake import DeltaTable

from benchmarks.contenders import cohortlake
from benchmarks.harness import disk_bytes
from benchmarks.hospital import SILO, copies_of, records, write_copies
from benchmarks.results import machine, spread
from benchmarks.settings import Settings
from cohortlake.core.lake import Lake

TITLE = "1 % changed resources merged into a large table"
RESOURCE = "Observation"


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    data, lake = folder / "data", folder / "lake"
    lines = records(RESOURCE).splitlines(keepends=True)
    copies = max(1, round((asked.rows or 5_000_000) / len(lines)))
    needs = {"Patient": copies, "Encounter": 1, RESOURCE: copies}
    write_copies(data, needs)
    merges, rewrites, added, whole = [], [], [], 0
    with cohortlake(folder) as ours:
        ours.ask("ingest", data=data, target=lake)
        for path in (data / SILO).iterdir():
            path.unlink()
        rows = ours.ask("silver", lake=lake, resource=RESOURCE).facts["rows"]
        for number in range(asked.rounds or 3):
            version = ours.ask("silver", lake=lake, resource=RESOURCE).facts["version"]
            changed = deliver_changes(data, lines[number::100], copies, number)
            taken = ours.ask("ingest", data=data, target=lake)
            assert taken.facts["resources"] == changed
            merges.append(taken.facts["seconds"]["publish"])
            added.append(added_bytes(lake, version))
            arguments = {"lake": lake, "resource": RESOURCE, "version": version, "target": folder / "anew"}
            rewrites.append(ours.ask("rewrite", **arguments).facts["seconds"])
            whole = disk_bytes(folder / "anew")
            shutil.rmtree(folder / "anew")
    return "\n".join(
        [
            f"{rows:,} observations, {len(merges)} rounds of 1 % of them changed. {machine()}.",
            "",
            f"* Merged (publish): {spread(merges)} s, {spread([size / 1e6 for size in added])} MB written.",
            f"* The table written anew: {spread(rewrites)} s, {whole / 1e6:,.0f} MB.",
            f"* The merge takes {spread([a / b for a, b in zip(merges, rewrites, strict=True)], 2)} of the time, and "
            f"writes {spread([size / whole for size in added], 3)} of the bytes.",
        ]
    )


def deliver_changes(data: Path, lines: list[bytes], copies: int, number: int) -> int:
    """A file with every copy of some records in a new version; gives how many."""
    changed = []
    for line in lines:
        resource = json.loads(line)
        resource["meta"] = {**resource.get("meta", {}), "versionId": str(number + 2)}
        changed.append(json.dumps(resource, separators=(",", ":")).encode() + b"\n")
    (data / SILO / f"{RESOURCE}.change{number}.ndjson").write_bytes(
        b"".join(copies_of(b"".join(changed), range(copies)))
    )
    return len(lines) * copies


def added_bytes(lake: Path, version: int) -> int:
    """Bytes of the data files that a table took since a version."""
    table = str(Lake(lake).silver(RESOURCE))
    before = set(DeltaTable(table, version=version).file_uris())
    return sum(Path(path).stat().st_size for path in set(DeltaTable(table).file_uris()) - before)
