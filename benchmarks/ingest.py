"""FHIR NDJSON to bronze and typed silver, beside DuckDB reading the same files to Parquet, in the same run.

    make bench                                   # hospital A multiplied to 2 GB, three rounds; writes RESULTS.md
    .venv/bin/python -m benchmarks.ingest --megabytes 500 --rounds 1 --no-write

The session is warm in every round (a small lake is made first); its start is counted apart. A round of ours is land +
standardise + publish into a fresh lake: every record in bronze, every resource live in its typed Delta table. The gate
is a step of its own and not part of it.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from spark_jobs import land, publish, standardise
from spark_jobs.context import Context

ROOT = Path(__file__).parent.parent
SILO = "site_a_fhir_r4"
UUID = re.compile(rb"\b([0-9a-f]{4})([0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b")


@dataclass
class Round:
    """What one round took: wall and CPU seconds of all our processes."""

    wall: float
    cpu: float


def multiply(target: Path, megabytes: int) -> tuple[int, float]:
    """Write copies of hospital A, each with ids of its own; gives their number and the megabytes written."""
    sources = {
        path.name.removesuffix(".ndjson.gz"): gzip.decompress(path.read_bytes())
        for path in sorted((ROOT / "data" / SILO).glob("*.ndjson.gz"))
    }
    size = sum(map(len, sources.values())) / 1e6
    copies = max(1, round(megabytes / size))
    folder = target / SILO
    folder.mkdir(parents=True)
    for name, content in sources.items():
        with (folder / f"{name}.ndjson").open("wb") as stream:
            for copy in range(copies):
                stream.write(copied(content, copy))
    return copies, sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def copied(content: bytes, copy: int) -> bytes:
    """The content with every id moved by the copy's number; references move with them."""
    return UUID.sub(lambda m: b"%04x" % ((int(m.group(1), 16) + copy) % 65536) + m.group(2), content)


def cpu_seconds() -> float:
    """CPU seconds so far of this process and all below it."""
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        used[pid] = sum(int(value) for value in fields[11:15])
    total, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        total += used.get(pid, 0)
        waiting += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], object]) -> Round:
    """Run something and say what it took."""
    wall, cpu = time.monotonic(), cpu_seconds()
    work()
    return Round(time.monotonic() - wall, cpu_seconds() - cpu)


def ours(lake: Path, data: Path) -> Context:
    """Land, standardise and publish hospital A."""
    ctx = Context(Lake(lake), data, load_catalog(), SILO, "benchmark")
    for step in (land, standardise, publish):
        books = step.run(ctx).books
        assert all(book.is_balanced for book in books)
    return ctx


def peer(data: Path, target: Path) -> None:
    """DuckDB: every file to Parquet, its own schema detection, its own defaults."""
    target.mkdir(parents=True)
    connection = duckdb.connect()
    for path in sorted((data / SILO).glob("*.ndjson")):
        source = f"read_json('{path}', format = 'newline_delimited')"
        connection.execute(f"COPY (FROM {source}) TO '{target / path.stem}.parquet' (FORMAT parquet)")


def add_new(data: Path, copies: int, share: float) -> None:
    """Deliver some new records: a share of each file, with ids that were not there."""
    for path in sorted((ROOT / "data" / SILO).glob("*.ndjson.gz")):
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        wanted = max(1, round(len(lines) * copies * share))
        fresh = b"".join(copied(line, 30000 + copies + i // len(lines)) for i, line in enumerate((lines * 2)[:wanted]))
        name = path.name.removesuffix(".ndjson.gz")
        (data / SILO / f"{name}.new.ndjson").write_bytes(fresh)


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def share(first: list[Round], later: list[Round]) -> float:
    """The later runs' wall time as a share of the first's, the median of the rounds."""
    return statistics.median([b.wall / a.wall for a, b in zip(first, later, strict=True)])


def measure(megabytes: int, rounds: int, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    data = folder / "data"
    copies, size = multiply(data, megabytes)
    small = folder / "small"
    multiply(small, 1)
    start = time.monotonic()
    warm = Context(Lake(folder / "warm"), small, load_catalog(), SILO, "benchmark")
    _ = warm.spark
    session = time.monotonic() - start
    first = timed(lambda: ours(folder / "warm", small)).wall
    mine, theirs, again, more = [], [], [], []
    for number in range(rounds):
        lake = folder / f"lake{number}"
        theirs.append(timed(lambda: peer(data, folder / "duckdb")))
        shutil.rmtree(folder / "duckdb")
        mine.append(timed(lambda lake=lake: ours(lake, data)))
        again.append(timed(lambda lake=lake: ours(lake, data)))
        add_new(data, copies, 0.01)
        more.append(timed(lambda lake=lake: ours(lake, data)))
        for path in (data / SILO).glob("*.new.ndjson"):
            path.unlink()
        shutil.rmtree(lake)
    ratios = [a.wall / b.wall for a, b in zip(mine, theirs, strict=True)]
    gigabytes = size / 1000
    wall = {name: [r.wall for r in found] for name, found in (("again", again), ("more", more))}
    lines = [
        f"Hospital A x {copies}: {size:,.0f} MB of NDJSON, {rounds} rounds, median (range). "
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, "
        f"{datetime.date.today().isoformat()}.",
        "",
        "| | seconds | MB/s | CPU s a GB |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {spread([r.wall for r in found])} | {size / statistics.median([r.wall for r in found]):.0f} | "
            f"{statistics.median([r.cpu for r in found]) / gigabytes:.0f} |"
            for name, found in (
                ("Cohortlake: bronze and typed silver, live", mine),
                ("DuckDB: Parquet", theirs),
            )
        ),
        "",
        f"* Ours against DuckDB, wall time, round by round: **{spread(ratios)}** times (mark: 2.5).",
        f"* A second run with nothing new: {spread(wall['again'])} s, "
        f"{share(mine, again):.3f} of the first (mark: 0.2).",
        f"* A run with 1 % new records: {spread(wall['more'])} s, {share(mine, more):.3f} of the first.",
        f"* Counted apart: the session starts in {session:.1f} s, a first small lake takes {first:.1f} s.",
    ]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-write", action="store_true", help="print only, leave RESULTS.md as it is")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cohortlake-bench-"))
    try:
        text = measure(asked.megabytes, asked.rounds, folder)
    finally:
        shutil.rmtree(folder)
    print(text)
    if not asked.no_write:
        head = "# Results\n\nMade by `make bench`.\n\n## NDJSON to bronze and typed silver, beside DuckDB\n\n"
        (ROOT / "benchmarks/RESULTS.md").write_text(head + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
