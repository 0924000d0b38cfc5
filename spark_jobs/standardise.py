"""standardise: turn every format into FHIR R4, staged as parts of the silver tables that no reader sees yet.

FHIR NDJSON is typed by Arrow's reader on the executors; tabular silos go through their declared mapping as Spark SQL.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from deltalake import Schema

from cohortlake.core.catalog import Node
from spark_jobs import delta, quarantine
from spark_jobs.batches import BATCH_FILE, Pending, pending, read_batch
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.fhir_types import PARTITION, silver_schema
from spark_jobs.parallel import Unit, run_units
from spark_jobs.staged import Staged, write_staged
from spark_jobs.standardise_csv import standardise_csv
from spark_jobs.standardise_fhir import standardise_part

# Row groups of bronze, of about 8 MB of records each, that one task makes one row group of silver of.
GROUPS_PER_TASK = 8


def create_silver(ctx: Context, tree: Node) -> None:
    """The silver table of a resource type, partitioned by silo; a column newly declared is added to it."""
    table, schema = ctx.lake.silver(tree.name), silver_schema(tree)
    live = delta.create(
        table,
        schema,
        description=f"FHIR R4 {tree.name}: the newest version of every resource, by silo and id",
        partition_by=[PARTITION],
        properties={"delta.enableDeletionVectors": "true", "delta.dataSkippingStatsColumns": "id"},
    )
    if live.schema() != Schema.from_arrow(schema):
        with ctx.lake.lock(f"silver.{tree.name}"):
            delta.add_columns(ctx.spark, table, schema)


def _units(ctx: Context, batch: Pending, rejects: Path) -> list[Unit]:
    silo = ctx.catalog.silos[ctx.scope]
    units: list[Unit] = []
    for part in batch.parts:
        resource = silo.feeds[part.feed].resource
        groups = pq.ParquetFile(part.path).num_row_groups
        for start in range(0, groups, GROUPS_PER_TASK):
            units.append(
                {"source": part.path, "feed": part.feed, "resource": resource, "silo": silo.name, "rows": part.rows}
                | {"table": str(ctx.lake.silver(str(resource))), "rejects": str(rejects)}
                | {"groups": list(range(start, min(start + GROUPS_PER_TASK, groups)))}
            )
    return sorted(units, key=lambda unit: -unit["rows"])


def _standardise_fhir(ctx: Context, batch: Pending, folder: Path) -> dict[str, Any]:
    """Stage a FHIR silo's batch. Gives rejected rows' files, and counts by table."""
    units = _units(ctx, batch, folder / "rejects")
    resources = sorted({unit["resource"] for unit in units})
    trees = {name: ctx.catalog.resources[name] for name in resources}
    for tree in trees.values():
        create_silver(ctx, tree)
    results = run_units(
        ctx.spark,
        units,
        partial(_work, trees=trees),
        marks=folder / "marks",
        progress=lambda done, total: ctx.progress(done, total, f"{done} of {total} parts"),
    )
    staged: dict[str, Staged] = {}
    books: dict[str, Book] = {}
    unexpected: dict[str, Counter[str]] = {}
    feeds: dict[str, str] = {}
    for unit, result in zip(units, results, strict=True):
        name = unit["resource"]
        feeds[name] = unit["feed"]
        table = staged.setdefault(name, Staged(name, [], 0))
        book = books.setdefault(name, Book(name, 0, 0))
        if result["part"]:
            table.parts.append(delta.Part(**result["part"]))
        table.rows += result["rows"]
        book.rows_out += result["rows"]
        book.quarantined += result["rejected"]
        unexpected.setdefault(name, Counter()).update(result["unexpected"])
    # The records in are counted by `land`, not by this step's own tasks, so that the books can catch a loss.
    for feed, rows in batch.feeds().items():
        books[str(ctx.catalog.silos[ctx.scope].feeds[feed].resource)].rows_in += rows
    rejected = []
    for result, unit in zip(results, units, strict=True):
        if result["rejects"]:
            for row in pq.read_table(result["rejects"]).to_pylist():
                rejected.append({**row, "feed": unit["feed"], "resource_type": unit["resource"]})
    return {"staged": staged, "books": books, "rejected": rejected, "unexpected": unexpected}


def _work(unit: Unit, trees: dict[str, Node]) -> Unit:
    return standardise_part(unit, trees[unit["resource"]])


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
    """Stage the silo's next batch. Books: bronze records in = staged + quarantined, a table each."""
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
    silo = ctx.catalog.silos[ctx.scope]
    made = _standardise_fhir(ctx, batch, folder) if silo.format == "fhir_ndjson" else standardise_csv(ctx, batch)
    _hold(ctx, batch, made["rejected"])
    for staged in made["staged"].values():
        write_staged(folder, staged)
    books = list(made["books"].values())
    facts: dict[str, Any] = {
        "batch": batch.batch,
        "feeds": batch.feeds(),
        "replayed": len(batch.replayed),
        "unexpected": {name: dict(counts) for name, counts in made["unexpected"].items() if counts},
        "unmapped": made.get("unmapped", {}),
        "not_mapped": made.get("not_mapped", {}),
    }
    content = {**key, "delivered": batch.delivered(), "replayed": batch.replayed, "facts": facts}
    delta.write_json(folder / BATCH_FILE, {**content, "books": [vars(book) for book in books]})
    return StepResult(books, json.loads(json.dumps(facts)))
