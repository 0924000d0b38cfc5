"""Running units of work on Spark's executors: JSON facts back. Files go straight to storage."""

from __future__ import annotations

import gc
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

Unit = dict[str, Any]
# A task costs up to a twentieth of a second, whatever it does: units of fewer bytes share one, where that leaves work
# for several.
TASK_BYTES, FEWEST_TASKS = 16 * 1024 * 1024, 8


def run_units(
    spark: SparkSession,
    units: Sequence[Unit],
    work: Callable[[Unit], Unit],
    *,
    marks: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Unit]:
    """What `work` gives for each unit, in the units' order. The largest units should stand first.

    A unit is a task; units that say their `bytes` share one where they are small.

    `marks` is a folder where a task leaves a mark when it ends, so that the caller can draw a bar meanwhile.
    """
    if not units:
        return []

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index in (unit for group in batch.column(0).to_pylist() for unit in groups[group]):
                result = work(units[index])
                _settle()
                if marks:
                    Path(marks, str(index)).touch()
                yield pa.RecordBatch.from_pydict({"index": [index], "result": [json.dumps(result)]})

    groups = shared([unit.get("bytes", TASK_BYTES) for unit in units])
    frame = spark.range(0, len(groups), 1, len(groups)).mapInArrow(task, "index long, result string")
    done = threading.Event()
    if marks and progress:
        marks.mkdir(parents=True, exist_ok=True)
        for mark in marks.iterdir():
            mark.unlink()
        threading.Thread(target=_watch, args=(marks, len(units), progress, done), daemon=True).start()
    try:
        rows = frame.collect()
    finally:
        done.set()
    return [json.loads(row["result"]) for row in sorted(rows, key=lambda row: row["index"])]


def shared(sizes: Sequence[int]) -> list[list[int]]:
    """The units of each task, by their places in order: neighbours that are small together, all others alone."""
    enough = min(TASK_BYTES, sum(sizes) // FEWEST_TASKS)
    groups: list[list[int]] = []
    filled = 0
    for place, size in enumerate(sizes):
        if not groups or filled + size > enough:
            groups.append([])
            filled = 0
        groups[-1].append(place)
        filled += size
    return groups


# How many modules this process had imported when it last settled.
_settled = 0


def _settle() -> None:
    """Keep what a task imported out of the garbage collection that PySpark makes after each one.

    It looked at half a million objects each time: up to a tenth of a second, of which a small run has hundreds.
    """
    global _settled
    if len(sys.modules) != _settled:
        _settled = len(sys.modules)
        gc.collect()
        gc.freeze()


def _watch(marks: Path, total: int, progress: Callable[[int, int], None], done: threading.Event) -> None:
    while not done.wait(0.5):
        progress(sum(1 for _ in marks.iterdir()), total)
