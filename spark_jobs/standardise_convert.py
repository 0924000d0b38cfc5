"""`standardise` for formats that are converted (HL7 v2, C-CDA, claims): records to FHIR JSON, and that to silver.

Two rounds of tasks: a record makes resources of many types, and a part of silver is of one. What lies between them is
a file a task and type; so that silver gets few and large parts, those of a type are read together.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from cohortlake.core.recount.places import Places
from cohortlake.core.recount.tally import Tally
from spark_jobs.batches import Pending
from spark_jobs.context import Book, Context
from spark_jobs.convert_part import convert_part
from spark_jobs.parallel import Unit, run_units
from spark_jobs.type_fhir import Typed, stage_typed, typing_unit

# Resources that one task types.
ROWS = 100_000
OUT, HELD, NOTHING = "out", "held", "nothing"


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
    """Stage a silo's batch.

    Books: a feed's records = converted + quarantined + not mapped (they became nothing), by their places; and the
    resources that the records became = staged + refused, with digests of both sides.
    """
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
    totals: dict[str, Counter[str]] = {name: Counter() for name in ("codes", "left", "warnings")}
    for result in results:
        for name, total in totals.items():
            total.update(result[name])
    converted = list(zip(units, results, strict=True))
    books = {feed: _feed_book(feed, batch, converted) for feed in batch.feeds()}
    books |= {name: counted.book(name) for name, counted in sorted(typed.recounted.items())}
    silo = ctx.catalog.silos[ctx.scope]
    return {
        "staged": typed.staged,
        "books": books,
        "problems": _problems(results, typed),
        "rejected": [*rejected, *refused_typing],
        "unexpected": {**typed.unexpected, silo.format: totals["left"]},
        "unmapped": dict(totals["codes"] + typed.unmapped),
        "mapped": dict(typed.mapped),
        "warnings": dict(totals["warnings"]),
    }


def _feed_book(feed: str, batch: Pending, converted: Sequence[tuple[Unit, Unit]]) -> Book:
    """A feed's records by place: those with resources in the converted files, those held, those that became nothing."""
    results = [result for unit, result in converted if unit["feed"] == feed]
    places = Places(duckdb.connect(), [part.path for part in batch.parts if part.feed == feed])
    places.add_files(OUT, [file["path"] for result in results for file in result["files"].values()])
    places.add_rows(HELD, [row for result in results for row in result["rejected"]])
    places.add_rows(NOTHING, [row for result in results for row in result["nothing"]])
    return Book(
        f"bronze.{feed}", places.records, places.count(OUT), places.count(HELD), not_mapped=places.count(NOTHING),
        digest_in=places.must.hex, digest_out=places.does.hex,
    )  # fmt: skip


def _problems(results: Sequence[Unit], typed: Typed) -> list[str]:
    """Where the JSON that was typed is not what the converters gave."""
    given: dict[str, Tally] = {}
    for result in results:
        for name, (rows, digest) in result["given"].items():
            given[name] = given.get(name, Tally()) + Tally(rows, digest)
    found = [problem for counted in typed.recounted.values() for problem in counted.problems]
    for name, tally in given.items():
        counted = typed.recounted.get(name)
        read = Tally(counted.records, counted.payloads.digest) if counted else Tally()
        if read != tally:
            found.append(f"{name}: {tally.rows:,} resources were made, {read.rows:,} were read to be typed, or others")
    return found
