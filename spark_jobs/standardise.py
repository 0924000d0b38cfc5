"""standardise: turn every format into FHIR R4, staged as parts of the silver tables that no reader sees yet.

FHIR NDJSON is typed by Arrow on the executors, tabular silos go through their declared mapping in DuckDB's SQL,
and other formats through their own module (`cohortlake.core.convert`) to FHIR JSON, which then is typed.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import Any

import pyarrow.parquet as pq

from cohortlake.core.terminology.concept_maps import check_maps_signed
from cohortlake.core.terminology.map_systems import map_systems
from spark_jobs import delta, quarantine, tombstones, unmapped
from spark_jobs.batches import BATCH_FILE, Pending, pending, read_batch
from spark_jobs.books import check_books, sum_of
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.delete_books import delete_book
from spark_jobs.parallel import Unit, run_units
from spark_jobs.read_deletes import read_bundles
from spark_jobs.staged import write_staged
from spark_jobs.standardise_convert import standardise_converted
from spark_jobs.standardise_csv import standardise_csv
from spark_jobs.type_fhir import stage_typed, typing_unit
from spark_jobs.units import Converter, keep_units, seen_units, unmapped_units
from spark_jobs.unmapped import Kept

# Row groups of bronze, of about 8 MB of records each, that one task makes one row group of silver of.
GROUPS_PER_TASK = 8


def _units(ctx: Context, batch: Pending) -> list[Unit]:
    units = []
    for part in batch.parts:
        feed = ctx.catalog.silos[ctx.scope].feeds[part.feed]
        if feed.deletes:
            continue
        resource = str(feed.resource)
        held = pq.read_metadata(part.path)
        sizes = [held.row_group(group).total_byte_size for group in range(held.num_row_groups)]
        for start in range(0, len(sizes), GROUPS_PER_TASK):
            chosen = list(range(start, min(start + GROUPS_PER_TASK, len(sizes))))
            size = sum(sizes[start : start + GROUPS_PER_TASK])
            units.append(typing_unit(ctx, resource, part.feed, size, [(part.path, chosen)]))
    return units


def _standardise_fhir(ctx: Context, batch: Pending) -> dict[str, Any]:
    """Stage a FHIR silo's batch. Gives rejected records, and counts by table."""
    typed = stage_typed(ctx, _units(ctx, batch))
    feeds = ctx.catalog.silos[ctx.scope].feeds
    gone = [part for part in batch.parts if feeds[part.feed].deletes]
    units: list[Unit] = [{"source": part.path, "feed": part.feed, "silo": ctx.scope} for part in gone]
    read = run_units(ctx.spark, units, read_bundles)
    books = {name: counted.book(name) for name, counted in sorted(typed.recounted.items())}
    # What bronze's log says came, beside what the tasks' recount read of it: a part that no task took is missed so.
    landed: Counter[str] = Counter()
    for feed, rows in batch.feeds().items():
        if not feeds[feed].deletes:
            landed[str(feeds[feed].resource)] += rows
    problems = [problem for counted in typed.recounted.values() for problem in counted.problems]
    problems += [
        f"{name}: {books[name].rows_in if name in books else 0:,} of {rows:,} records of bronze were read"
        for name, rows in landed.items()
        if rows != (books[name].rows_in if name in books else 0)
    ]
    for part, found in zip(gone, read, strict=True):
        told = delete_book(part, found["tombstones"], found["rejected"])
        book = books.setdefault(told.table, Book(told.table, 0, 0))
        books[told.table] = sum_of(book, told)
    rejected = [*typed.rejected, *(row for found in read for row in found["rejected"])]
    deletes = [row for found in read for row in found["tombstones"]]
    made = {"staged": typed.staged, "books": books, "rejected": rejected, "unexpected": typed.unexpected}
    made["problems"] = problems
    return made | {"deletes": deletes, "mapped": dict(typed.mapped), "unmapped": dict(typed.unmapped)}


def _standardise(ctx: Context, batch: Pending) -> dict[str, Any]:
    silo = ctx.catalog.silos[ctx.scope]
    if silo.is_converted:
        return standardise_converted(ctx, batch)
    return standardise_csv(ctx, batch) if silo.format == "csv" else _standardise_fhir(ctx, batch)


def _hold(ctx: Context, batch: Pending, rejected: list[dict[str, Any]]) -> None:
    rows = []
    for row in rejected:
        reasons = row["reasons"] if "reasons" in row else [row["reason"]]
        names = [f"standardise: {reason.partition(':')[0]}" for reason in reasons]
        detail = "; ".join(reason.partition(":")[2].strip() for reason in reasons if ":" in reason) or None
        rows.append(
            {"silo": ctx.scope, "step": "standardise", "batch": batch.batch, "run_id": ctx.run_id, "feed": row["feed"]}
            | {"resource_type": row["resource_type"], "resource_id": row["id"], "file": row["file"]}
            | {"file_hash": row["file_hash"], "offset": row["offset"], "reasons": names, "detail": detail}
        )
    quarantine.hold(ctx.lake, rows)


def run(ctx: Context) -> StepResult:
    """Stage the silo's next batch.

    Books, by a recount beside the tasks: bronze records in = staged + quarantined + not mapped + left out, a table
    each, with digests of what came and of what was staged. Raises BooksError where they do not balance; nothing is
    staged then.
    """
    folder = ctx.lake.staging("phi", ctx.scope)
    batch = pending(ctx.lake, ctx.catalog, ctx.scope)
    if batch is None:
        shutil.rmtree(folder, ignore_errors=True)
        return StepResult([], {"batch": None})
    before = read_batch(folder)
    key = {"batch": batch.batch, "bronze_version": batch.bronze_version, "fingerprint": batch.fingerprint}
    if before and {name: before[name] for name in key} == key:
        # A run that ended between here and its publish left this batch whole.
        return StepResult([Book(**book) for book in before["books"]], before["facts"])
    for path in folder.glob("*.json"):
        path.unlink()
    for name in ("rejects", "failed"):
        shutil.rmtree(folder / name, ignore_errors=True)
    maps = ctx.catalog.translator(ctx.scope).maps
    check_maps_signed(maps, ctx.force)
    made = _standardise(ctx, batch)
    check_books(f"standardise.{ctx.scope}", made["books"].values(), made.get("problems", []))
    _hold(ctx, batch, made["rejected"])
    for staged in made["staged"].values():
        write_staged(folder, staged)
    seen = seen_units(ctx.lake.silver("Observation"), made["staged"].get("Observation"))
    keep_units(folder, seen)
    codes = {**made.get("unmapped", {}), **unmapped_units(seen, Converter(ctx.catalog.units))}
    mapped = {one.label: made["mapped"].get(one.label, 0) for one in maps}
    kept = Kept(ctx.scope, batch.batch, ctx.run_id, is_all=batch.is_again)
    systems = map_systems(ctx.catalog, ctx.scope, unmapped.by_map(codes))
    unmapped.keep(ctx.lake, kept, codes, systems)
    unmapped.keep_mapped(ctx.lake, kept, mapped)
    tombstones.stage(folder, made.get("deletes", []))
    books = list(made["books"].values())
    facts: dict[str, Any] = {
        "batch": batch.batch,
        "feeds": batch.feeds(),
        "replayed": len(batch.replayed),
        "unexpected": {name: dict(counts) for name, counts in made["unexpected"].items() if counts},
        # A code is a value: outside the phi zone stand counts of them.
        "unmapped": {name: count.records for name, count in unmapped.by_map(codes).items()},
        "unmapped_codes": {name: count.codes for name, count in unmapped.by_map(codes).items()},
        "mapped": mapped,
        "not_mapped": made.get("not_mapped", {}),
        "warnings": made.get("warnings", {}),
        "deletes": len(made.get("deletes", [])),
    }
    content = {**key, "delivered": batch.delivered(), "replayed": batch.replayed, "facts": facts}
    content["is_again"] = batch.is_again
    delta.write_json(folder / BATCH_FILE, {**content, "books": [vars(book) for book in books]})
    return StepResult(books, json.loads(json.dumps(facts)))
