"""FHIR NDJSON to bronze and typed silver, beside DuckDB and PyArrow reading the same files, in the same run.

A round of ours is land + standardise + publish into a fresh lake: every record in bronze, every resource live in its
typed Delta table. The gate is a step of its own and not part of it.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contenders import DUCKDB, MAKES, OURS, arrow, cohortlake, duckdb
from benchmarks.harness import Contender, Measured, disk_bytes, in_turn
from benchmarks.hospital import add_new, multiply, remove_new
from benchmarks.results import machine, median_peak, ratios, spread, table, walls
from benchmarks.settings import Settings

TITLE = "NDJSON to bronze and typed silver, beside DuckDB and PyArrow"
HEAD = ("", "seconds", "MB/s", "resources/s", "CPU s a GB", "peak memory, MB", "on disk, of the NDJSON")

Rounds = dict[str, list[Measured]]


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    data, small = folder / "data", folder / "small"
    copies, size = multiply(data, asked.megabytes or 2000)
    multiply(small, 1)
    again: list[Measured] = []
    more: list[Measured] = []
    with ExitStack() as stack:
        ours = stack.enter_context(cohortlake(folder))
        contenders = [ours, stack.enter_context(duckdb(folder)), stack.enter_context(arrow(folder))]
        first = {contender.name: warmed(contender, small, folder) for contender in contenders}
        rounds: Rounds = {contender.name: [] for contender in contenders}
        disk: dict[str, int] = {}
        zones: dict[str, int] = {}
        for number in range(asked.rounds or 3):
            for contender in in_turn(contenders, number):
                target = folder / "target"
                rounds[contender.name].append(contender.ask("ingest", data=data, target=target))
                disk[contender.name] = disk_bytes(target)
                if contender is ours:
                    zones = {zone: disk_bytes(target / "phi" / zone) for zone in ("bronze", "silver")}
                    again.append(contender.ask("ingest", data=data, target=target))
                    add_new(data, copies, 0.01)
                    more.append(contender.ask("ingest", data=data, target=target))
                    remove_new(data)
                shutil.rmtree(target)
    against = ratios(rounds[OURS], rounds[DUCKDB])
    steps = ", ".join(f"{step} {spread(seconds)} s" for step, seconds in step_seconds(rounds[OURS]).items())
    resources = checked_resources(rounds)
    return "\n".join(
        [
            f"Hospital A x {copies}: {size:,.0f} MB of NDJSON, {resources:,} resources, {len(again)} rounds. "
            f"{machine()}.",
            "",
            comparison(rounds, disk, size),
            "",
            f"* Ours against DuckDB, wall time, round by round: **{spread(against, 2)}** times (mark: 1.5).",
            f"* Ours by step: {steps}; on disk: bronze {zones['bronze'] / 1e6:,.0f} MB, "
            f"silver {zones['silver'] / 1e6:,.0f} MB.",
            f"* A second run with nothing new: {spread(walls(again))} s, "
            f"{statistics.median(ratios(again, rounds[OURS])):.3f} of the first (mark: 0.2).",
            f"* A run with 1 % new records: {spread(walls(more))} s, "
            f"{statistics.median(ratios(more, rounds[OURS])):.3f} of the first.",
            f"* Counted apart: our session starts in {ours.start:.1f} s, a first small lake takes "
            f"{first[OURS].wall:.1f} s.",
        ]
    )


def warmed(contender: Contender, small: Path, folder: Path, **arguments: object) -> Measured:
    """A contender's first job, on little data, so that rounds find it warm."""
    target = folder / f"warm-{contender.name}"
    found = contender.ask("ingest", data=small, target=target, **arguments)
    shutil.rmtree(target)
    return found


def step_seconds(rounds: Sequence[Measured]) -> dict[str, list[float]]:
    """Our seconds by step."""
    return {step: [found.facts["seconds"][step] for found in rounds] for step in rounds[0].facts["seconds"]}


def checked_resources(rounds: Rounds) -> int:
    """The resources that all contenders read. Raises AssertionError where they did not read the same number."""
    counts = {name: {found.facts["resources"] for found in of_name} for name, of_name in rounds.items()}
    [resources] = set.union(*counts.values())
    return int(resources)


def comparison(rounds: Rounds, disk: Mapping[str, int], size: float) -> str:
    """The contenders side by side; `size` is the NDJSON's, in MB."""
    resources = checked_resources(rounds)
    rows = []
    for name, found in rounds.items():
        wall = statistics.median(walls(found))
        cpu = statistics.median([measured.cpu for measured in found]) / (size / 1000)
        row = [MAKES[name], spread(walls(found)), f"{size / wall:.0f}", f"{resources / wall:,.0f}", f"{cpu:.0f}"]
        rows.append([*row, f"{median_peak(found):,.0f}", f"{disk[name] / 1e6 / size:.2f}"])
    return table(HEAD, rows)
