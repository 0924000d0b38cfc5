"""1, 2, 4 and 8 times the data at the same memory: time may grow no faster than data."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

from benchmarks.contenders import cohortlake
from benchmarks.harness import Measured
from benchmarks.hospital import multiply
from benchmarks.ingest import warmed
from benchmarks.results import machine, median_peak, spread, table, walls
from benchmarks.settings import Settings

TITLE = "1, 2, 4 and 8 times the data at 2 GB for the JVM"
MEMORY = {"COHORTLAKE_DRIVER_MEMORY": "2g"}
FACTORS = (1, 2, 4, 8)
HEAD = ("times", "MB of NDJSON", "seconds", "MB/s", "peak memory, MB", "seconds a MB, of the first")


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    unit, rounds = asked.megabytes or 500, asked.rounds or 2
    small = folder / "small"
    multiply(small, 1)
    rows, first = [], 0.0
    for factor in FACTORS:
        data = folder / f"data{factor}"
        _, size = multiply(data, unit * factor)
        found: list[Measured] = []
        with cohortlake(folder, MEMORY) as ours:
            warmed(ours, small, folder)
            for _ in range(rounds):
                found.append(ours.ask("ingest", data=data, target=folder / "lake"))
                shutil.rmtree(folder / "lake")
        shutil.rmtree(data)
        wall = statistics.median(walls(found))
        first = first or wall / size
        row = [str(factor), f"{size:,.0f}", spread(walls(found)), f"{size / wall:.0f}"]
        rows.append([*row, f"{median_peak(found):,.0f}", f"{wall / size / first:.2f}"])
    return "\n".join(
        [
            f"Land, standardise and publish into a fresh lake, {rounds} rounds each, a process each. {machine()}.",
            "",
            table(HEAD, rows),
            "",
            "* Peak memory is that of the JVM and of the executors' Python workers together.",
        ]
    )
