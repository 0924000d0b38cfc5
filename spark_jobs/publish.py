"""publish: make what passed the gate live, each table in one commit.

Where a batch brings only keys that are not live, once each, its staged parts are committed as they are: nothing is
written again. Otherwise the newest version of each key goes through MERGE, which keeps the newer one, so that any order
of arrival ends in the same table.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from cohortlake.core.gold import delta_connection
from spark_jobs import delta, delta_read, quarantine, tombstones
from spark_jobs.batches import mark_published, publish_receipt, read_batch
from spark_jobs.books import receipt, recover
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.curate import gold_receipt, mark_curated
from spark_jobs.fhir_types import PARTITION, silver_schema, table_schema
from spark_jobs.staged import PLACE, Staged, read_staged

THREADS = 2


def staged_rows(ctx: Context, table: str, parts: list[delta.Part]) -> DataFrame:
    """A staged table's rows, the silo as a column."""
    schema = from_arrow_schema(silver_schema(ctx.catalog.resources[table]))
    schema = type(schema)([field for field in schema.fields if field.name != PARTITION])
    return delta_read.read_parts(ctx.spark, ctx.lake.silver(table), parts, schema)


def _failed(folder: Path, table: str) -> Path | None:
    path = folder / "failed" / f"{table}.parquet"
    return path if path.exists() and pq.read_metadata(path).num_rows else None


def _passed(ctx: Context, staged: Staged, folder: Path, buried: pa.Table) -> DataFrame:
    """The newest version of each key among the staged rows that the gate passed and that no tombstone is newer than."""
    rows = staged_rows(ctx, staged.table, staged.parts)
    failed = _failed(folder, staged.table)
    if failed:
        keys = ctx.spark.read.parquet(str(failed)).select(*PLACE).distinct().alias("f")
        same = [F.col(f"r.{name}").eqNullSafe(F.col(f"f.{name}")) for name in PLACE]
        rows = rows.alias("r").join(keys, same, "left_anti").select(*rows.columns)
    if buried.num_rows:
        tombs = ctx.spark.createDataFrame(buried).alias("t")
        is_older = (F.col("r.id") == F.col("t.id")) & (F.col("r._version") < F.col("t._version"))
        rows = rows.alias("r").join(tombs, is_older, "left_anti")
    columns = rows.columns
    newest = rows.groupBy("id").agg(F.max_by(F.struct(*columns), F.col("_version")).alias("newest"))
    return newest.select("newest.*")


def _is_plain(ctx: Context, staged: Staged, folder: Path, buried: pa.Table, duckdb: Callable[[], Any]) -> bool:
    """Whether the parts can be committed as they are: nothing failed, no key twice, live or deleted."""
    if _failed(folder, staged.table):
        return False
    table = ctx.lake.silver(staged.table)
    ids = pa.concat_tables(
        [pq.read_table(table / part.path, columns=["id"], partitioning=None) for part in staged.parts]
    )
    if pc.count_distinct(ids["id"]).as_py() < staged.rows:
        return False
    if buried.num_rows and pc.any(pc.is_in(ids["id"], buried["id"])).as_py():
        return False
    if not has_rows(table, ctx.scope):
        return True
    # DuckDB reads the live keys and nothing else; Spark's plan alone would take longer.
    cursor = duckdb().cursor()
    cursor.register("staged", ids)
    live = f"SELECT id FROM delta_scan('{table}') WHERE {PARTITION} = '{ctx.scope}'"  # noqa: S608
    found = cursor.execute(f"SELECT 1 FROM ({live}) SEMI JOIN staged USING (id) LIMIT 1").fetchone()  # noqa: S608
    return found is None


def has_rows(table: Path, silo: str) -> bool:
    """Whether the silo has live rows, by the log alone."""
    actions = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))
    return actions.num_rows > 0 and silo in actions[f"partition.{PARTITION}"].to_pylist()


def publish_table(
    ctx: Context, staged: Staged, folder: Path, batch: dict[str, Any], buried: pa.Table, duckdb: Callable[[], Any]
) -> Book:
    """Publish one table; done once a batch, however often it is called.

    `buried` are its tombstones (id, _version), `duckdb` gives a connection that reads Delta.
    """
    table = ctx.lake.silver(staged.table)
    failed = _failed(folder, staged.table)
    rows = staged.rows - (pq.read_metadata(failed).num_rows if failed else 0)
    facts = {"batch": batch["batch"], "rows": str(rows)}
    done = _earlier(table, batch["batch"])
    if done is not None:
        return Book(staged.table, rows, done, superseded=rows - done)
    if rows == 0:
        return Book(staged.table, 0, 0)
    with ctx.lake.lock(f"silver.{staged.table}"):
        if _is_plain(ctx, staged, folder, buried, duckdb):
            delta.commit(table, staged.parts, facts={**facts, "written": str(rows)})
            return Book(staged.table, rows, rows)
        if not has_rows(table, ctx.scope):
            parts = delta.write_spark_parts(
                _passed(ctx, staged, folder, buried).drop(PARTITION), table, {PARTITION: ctx.scope}
            )
            written = sum(part.rows for part in parts)
            delta.commit(table, parts, facts={**facts, "written": str(written)})
        else:
            on = f"t.{PARTITION} = '{ctx.scope}' AND s.{PARTITION} = '{ctx.scope}' AND t.id = s.id"
            source = _passed(ctx, staged, folder, buried)
            # What is standardised again has the version that it had, and takes its place.
            newer = f"s._version {'>=' if batch.get('is_again') else '>'} t._version"
            counts = delta.merge(ctx.spark, table, source, rows=rows, on=on, newer=newer, facts=facts)
            written = counts["inserted"] + counts["updated"]
    return Book(staged.table, rows, written, superseded=rows - written)


def _earlier(table: Path, batch: str) -> int | None:
    """Rows that an earlier, interrupted call wrote for this batch, or None."""
    for entry in DeltaTable(str(table)).history(20):
        if entry.get("batch") == batch and "written" in entry:
            return int(entry["written"])
    done = delta.merged(table, batch)
    return done["inserted"] + done["updated"] if done else None


def run(ctx: Context) -> StepResult:
    """Publish the silo's gated batch. Books: rows that passed = live now + superseded (an older or equal version)."""
    folder = ctx.lake.staging("phi", ctx.scope)
    batch = read_batch(folder)
    recover(ctx.lake, publish_receipt(ctx.lake, ctx.scope))
    if batch is None:
        return StepResult([], {"batch": None})
    staged = [table for table in read_staged(folder).values() if table.rows]
    ctx.spark  # noqa: B018 (started here, once, before the threads share it)
    tombstones.set_up(ctx, folder)
    graves = tombstones.of_silo(ctx.lake, ctx.scope)
    done, duckdb = 0, cache(delta_connection)  # one for all: to load its extension takes a quarter of a second

    def one(table: Staged) -> Book:
        nonlocal done
        buried = graves.filter(pc.equal(graves["resource_type"], table.table)).drop_columns(["resource_type"])
        book = publish_table(ctx, table, folder, batch, buried, duckdb)
        done += 1
        ctx.progress(done, len(staged), table.table)
        return book

    with ThreadPoolExecutor(THREADS) as pool:
        largest_first = sorted(staged, key=lambda table: -table.rows)
        books = sorted(pool.map(one, largest_first), key=lambda book: book.table)
    buried = tombstones.bury(ctx, folder, batch["batch"])
    again = {
        row["quarantine_id"]
        for row in quarantine.held(ctx.lake, ctx.scope, quarantine.OPEN)
        if row["batch"] == batch["batch"]
    }
    released = quarantine.set_status(ctx.lake, set(batch["replayed"]) - again, quarantine.RELEASED)
    versions = {book.table: delta.version(ctx.lake.silver(book.table)) for book in books}
    books += buried
    kept = receipt(ctx, f"publish.{ctx.scope}", books)
    mark_published(ctx.lake, ctx.scope, batch["batch"], batch["bronze_version"], kept)
    shutil.rmtree(folder, ignore_errors=True)
    return StepResult(books, {"batch": batch["batch"], "versions": versions, "released": released})


def run_gold(ctx: Context) -> StepResult:
    """Make the gated tables of gold live: each replaced in one commit, one right after the other."""
    folder = ctx.lake.staging("research", "gold")
    batch = read_batch(folder)
    recover(ctx.lake, gold_receipt(ctx.lake))
    if batch is None:
        return StepResult([], {"unchanged": True})
    staged = read_staged(folder)
    for table in staged.values():
        declared = ctx.catalog.tables[table.table]
        delta.replace(
            ctx.lake.gold(table.table),
            table_schema({name: column.type for name, column in declared.columns.items()}),
            table.parts,
            description=declared.description,
            privacy={name: column.privacy for name, column in declared.columns.items()},
            facts={"batch": batch["batch"]},
        )
    books = [Book(f"gold.{name}", table.rows, table.rows) for name, table in sorted(staged.items())]
    mark_curated(ctx.lake, batch["made_from"], receipt(ctx, "publish.gold", books))
    shutil.rmtree(folder, ignore_errors=True)
    versions = {name: delta.version(ctx.lake.gold(name)) for name in staged}
    return StepResult(books, {"versions": versions})
