"""Figures as Markdown, and RESULTS.md a section at a time: measuring one leaves the others as they are."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Measured

HEAD = "# Results\n\nMade by `make bench`, a section at a time; medians, with the range in brackets.\n"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range."""
    median = f"{statistics.median(values):,.{digits}f}"
    return f"{median} ({min(values):,.{digits}f}–{max(values):,.{digits}f})" if len(values) > 1 else median


def walls(rounds: Sequence[Measured]) -> list[float]:
    """The rounds' wall seconds."""
    return [measured.wall for measured in rounds]


def ratios(rounds: Sequence[Measured], others: Sequence[Measured]) -> list[float]:
    """Wall time against another's in the same round."""
    return [a.wall / b.wall for a, b in zip(rounds, others, strict=True)]


def median_peak(rounds: Sequence[Measured]) -> float:
    """Peak memory in MB, the median of the rounds."""
    return statistics.median([measured.peak for measured in rounds]) / 1e6


def machine() -> str:
    """Where and when this was measured."""
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}, {datetime.date.today()}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: names at the left, figures at the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_section(path: Path, title: str, body: str, order: Sequence[str]) -> None:
    """Put a section into the file, in place of the one with its title; sections stand in the order given."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    found[title] = f"\n{body.strip()}\n"
    titles = sorted(found, key=lambda name: order.index(name) if name in order else len(order))
    path.write_text("\n".join([HEAD, *(f"## {name}\n{found[name]}" for name in titles)]), encoding="utf-8")
