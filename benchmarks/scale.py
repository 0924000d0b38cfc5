"""1, 2, 4 and 8 times the data at the same memory: time may grow no faster than data."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from benchmarks.contenders import cohortlake
from benchmarks.harness import Contender, Measured
from benchmarks.hospital import SILO, multiply, resource_types
from benchmarks.merge import deliver_changes
from benchmarks.results import machine, median_peak, spread, table, walls
from benchmarks.settings import Settings
from benchmarks.views import VIEWS, run

TITLE = "1, 2, 4 and 8 times the data at 2 GB for the JVM"
MEMORY = {"COHORTLAKE_DRIVER_MEMORY": "2g"}
FACTORS = (1, 2, 4, 8)
WORK = ("ingest", "five views", "1 % changed")
HEAD = ("times", "MB of NDJSON", *(f"{work}, s" for work in WORK), "peak memory, MB", "ingest, s a MB, of the first")


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    unit, rounds = asked.megabytes or 500, asked.rounds or 2
    small = folder / "small"
    multiply(small, 1)
    rows, first = [], 0.0
    for factor in FACTORS:
        data = folder / f"data{factor}"
        copies, size = multiply(data, unit * factor)
        found: dict[str, list[Measured]] = {work: [] for work in WORK}
        with cohortlake(folder, MEMORY) as ours:
            work(ours, small, 1, folder, 0)
            for number in range(rounds):
                for name, taken in work(ours, data, copies, folder, number).items():
                    found[name].append(taken)
        shutil.rmtree(data)
        wall = statistics.median(walls(found["ingest"]))
        first = first or wall / size
        peak = max(median_peak(of_work) for of_work in found.values())
        seconds = [spread(walls(of_work)) for of_work in found.values()]
        rows.append([str(factor), f"{size:,.0f}", *seconds, f"{peak:,.0f}", f"{wall / size / first:.2f}"])
    return "\n".join(
        [
            f"Ingest into a fresh lake ({len(resource_types())} resource types), the five views over it, and 1 % of "
            f"its observations in a new version; {rounds} rounds each, a process for each size. {machine()}.",
            "",
            table(HEAD, rows),
            "",
            "* Peak memory is that of the JVM and of the executors' Python workers together.",
        ]
    )


def work(ours: Contender, data: Path, copies: int, folder: Path, number: int) -> dict[str, Measured]:
    """One round: what each piece of the work took."""
    lake = folder / "lake"
    ingest = ours.ask("ingest", data=data, target=lake)
    views = five_views(ours, lake, folder / "rows")
    deliver_changes(data, copies, number)
    changed = ours.ask("ingest", data=data, target=lake)
    shutil.rmtree(lake)
    for path in (data / SILO).glob("*.change*.ndjson"):
        path.unlink()
    return dict(zip(WORK, (ingest, views, changed), strict=True))


def five_views(ours: Contender, lake: Path, target: Path) -> Measured:
    """All views, one after the other: their seconds in sum, and the highest peak."""
    found = []
    for view in VIEWS:
        found.append(run(ours, lake, view, target))
        shutil.rmtree(target)
    return Measured(sum(walls(found)), sum(m.cpu for m in found), max(m.peak for m in found))
