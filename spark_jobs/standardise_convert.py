"""`standardise` for formats that are converted (HL7 v2, C-CDA, claims): records to FHIR JSON, and that to silver.

Two rounds of tasks: a record makes resources of many types, and a part of silver is of one. What lies between them is
a file a task and type; so that silver gets few and large parts, those of a type are read together.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spark_jobs.batches import Pending
from spark_jobs.context import Book, Context
from spark_jobs.convert_part import convert_part
from spark_jobs.parallel import Unit, run_units
from spark_jobs.type_fhir import stage_typed, typing_unit

# Resources that one task types.
ROWS = 100_000


def _convert_units(ctx: Context, batch: Pending) -> list[Unit]:
    """A task a row group of bronze; `land` made them small, since to convert one costs more than to read it."""
    silo = ctx.catalog.silos[ctx.scope]
    folder = ctx.lake.staging("phi", ctx.scope) / "converted"
    shutil.rmtree(folder, ignore_errors=True)
    units: list[Unit] = []
    for part in batch.parts:
        for group in range(pq.ParquetFile(part.path).num_row_groups):
            unit: Unit = {"source": part.path, "feed": part.feed, "groups": [group], "format": silo.format}
            units.append(unit | {"target": str(folder / str(len(units))), "options": silo.options})
    return units


def _typing_units(ctx: Context, results: list[Unit]) -> list[Unit]:
    """The files of each type, put together to tasks of some hundred thousand resources."""
    files: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        for name, file in result["files"].items():
            files.setdefault(name, []).append(file)
    made = []
    for name, of in sorted(files.items()):
        chosen: list[dict[str, Any]] = []
        for file in of:
            chosen.append(file)
            if sum(one["rows"] for one in chosen) >= ROWS or file is of[-1]:
                sources: list[tuple[str, list[int] | None]] = [(one["path"], None) for one in chosen]
                size = sum(Path(one["path"]).stat().st_size for one in chosen)
                made.append(typing_unit(ctx, name, "", size, sources))
                chosen = []
    return made


def standardise_converted(ctx: Context, batch: Pending) -> dict[str, Any]:
    """Stage a silo's batch. Books: a feed's records = converted + quarantined; resources made = staged + refused."""
    units = _convert_units(ctx, batch)
    results = run_units(
        ctx.spark,
        units,
        convert_part,
        marks=ctx.lake.staging("phi", ctx.scope) / "marks",
        progress=lambda done, total: ctx.progress(done, total, f"converting {done} of {total} parts"),
    )
    typed = stage_typed(ctx, _typing_units(ctx, results))
    feeds = {digest: unit["feed"] for unit, result in zip(units, results, strict=True) for digest in result["hashes"]}
    rejected = [row for result in results for row in result["rejected"]]
    refused_typing = [{**row, "feed": feeds[row["file_hash"]]} for row in typed.rejected]
    records: Counter[str] = Counter()
    made: Counter[str] = Counter()
    totals: dict[str, Counter[str]] = {name: Counter() for name in ("codes", "left", "warnings")}
    for unit, result in zip(units, results, strict=True):
        records[unit["feed"]] += result["records"] - len(result["rejected"])
        made.update({name: file["rows"] for name, file in result["files"].items()})
        for name, total in totals.items():
            total.update(result[name])
    refused = Counter(row["feed"] for row in rejected)
    # The records in are counted by `land`, and the resources by the tasks that made them, not by those that type them.
    books = {feed: Book(f"bronze.{feed}", rows, records[feed], refused[feed]) for feed, rows in batch.feeds().items()}
    for name, rows in sorted(made.items()):
        books[name] = Book(name, rows, typed.staged[name].rows, typed.refused[name])
    silo = ctx.catalog.silos[ctx.scope]
    return {
        "staged": typed.staged,
        "books": books,
        "rejected": [*rejected, *refused_typing],
        "unexpected": {**typed.unexpected, silo.format: totals["left"]},
        "unmapped": dict(totals["codes"] + typed.unmapped),
        "mapped": dict(typed.mapped),
        "warnings": dict(totals["warnings"]),
    }
