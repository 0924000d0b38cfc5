"""publish: make what passed the gate live, each table in one commit, once its books balance.

The commit is prepared first: staged parts as they are where all their rows go live, new parts of the others' rows, and
deletion vectors for the rows that these replace (`spark_jobs.merge`). Then code that had no part in that counts what
must go live and what would, in the table as it will be (`cohortlake.core.recount.publish`); only where the two agree is
the commit made. The newest version of each key stays, so that any order of arrival ends in the same table.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from cohortlake.core.errors import LakeBusyError
from cohortlake.core.gold import delta_connection
from cohortlake.core.recount import publish as recount
from spark_jobs import delta, merge, quarantine, tombstones
from spark_jobs.batches import mark_published, publish_receipt, read_batch
from spark_jobs.books import check_books, receipt, recover
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.curate import gold_receipt, mark_curated
from spark_jobs.delta_commit import Entry, TakenError, put, rehearse, replacing
from spark_jobs.fhir_types import PARTITION, table_schema
from spark_jobs.staged import Staged, read_staged

THREADS = 2


def _failed(folder: Path, table: str) -> Path | None:
    path = folder / "failed" / f"{table}.parquet"
    return path if path.exists() and pq.read_metadata(path).num_rows else None


def has_rows(table: Path, silo: str) -> bool:
    """Whether the silo has live rows, by the log alone."""
    actions = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))
    return actions.num_rows > 0 and silo in actions[f"partition.{PARTITION}"].to_pylist()


def publish_table(
    ctx: Context, staged: Staged, folder: Path, batch: dict[str, Any], buried: pa.Table, duckdb: Callable[[], Any]
) -> Book:
    """Publish one table; done once a batch, however often it is called.

    `buried` are its tombstones (id, _version), `duckdb` gives a connection that reads Delta. Raises BooksError where
    what would go live is not what must; nothing is live then.
    """
    table = ctx.lake.silver(staged.table)
    if (done := delta.told(table, batch["batch"])) is not None:
        return Book(**json.loads(done["book"]))
    refused, is_again = _failed(folder, staged.table), bool(batch.get("is_again"))
    waiting = recount.Staged(
        [table / part.path for part in staged.parts],
        {str(table / path): digest for path, digest in staged.facts.get("sha256", {}).items()},
        refused, buried, is_again,
    )  # fmt: skip
    with ctx.lake.lock(f"silver.{staged.table}"):
        for _ in range(delta.ATTEMPTS):
            target = merge.Target(table, ctx.scope, delta.version(table), duckdb().cursor())
            change = merge.merged(target, staged, refused, buried, is_again=is_again)
            made = merge.to_entry(target, change, {"batch": batch["batch"]})
            with rehearse(table, made) as after:
                log = recount.Log(table, target.version, after, [table / path for path in made.added])
                found = recount.recount_publish(duckdb().cursor(), ctx.scope, waiting, log)
            book = _book(staged.table, found)
            check_books(f"publish.{ctx.scope}", [book], found.problems)
            try:
                return _put(table, made, book)
            except TakenError:
                continue
    raise LakeBusyError(f"{staged.table} is written by others all the time", "Run again when they are done.")


def _book(table: str, found: recount.Found) -> Book:
    """Rows that the gate passed: live now, older than what is live or deleted, and the digests of what goes live."""
    return Book(
        table, found.passed, found.does.rows, superseded=found.superseded, deleted=found.deleted,
        digest_in=found.must.hex, digest_out=found.does.hex,
    )  # fmt: skip


def _put(table: Path, made: Entry, book: Book) -> Book:
    """Make a commit, with its books; a batch of which nothing goes live makes none."""
    if not made.is_empty:
        put(table, made.saying({"book": json.dumps(asdict(book))}))
    return book


def run(ctx: Context) -> StepResult:
    """Publish the silo's gated batch.

    Books: rows that passed = live now + superseded (an older or equal version) + deleted (a newer tombstone).
    """
    folder = ctx.lake.staging("phi", ctx.scope)
    batch = read_batch(folder)
    recover(ctx.lake, publish_receipt(ctx.lake, ctx.scope))
    if batch is None:
        return StepResult([], {"batch": None})
    staged = [table for table in read_staged(folder).values() if table.rows]
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
    duckdb = delta_connection()
    made = [_prepared(ctx, table, batch["batch"], duckdb) for _, table in sorted(staged.items())]
    books = [book for _, _, book in made]
    check_books("publish.gold", books)
    for table, entry, _ in made:
        if not entry.is_empty:
            put(table, entry)
    mark_curated(ctx.lake, batch["made_from"], receipt(ctx, "publish.gold", books))
    shutil.rmtree(folder, ignore_errors=True)
    versions = {name: delta.version(ctx.lake.gold(name)) for name in staged}
    return StepResult(books, {"versions": versions})


def _prepared(ctx: Context, staged: Staged, batch: str, duckdb: Any) -> tuple[Path, Entry, Book]:
    """The commit that makes a table of gold what is staged, and its book: rows staged, and rows that it would show."""
    declared, table = ctx.catalog.tables[staged.table], ctx.lake.gold(staged.table)
    schema = table_schema({name: column.type for name, column in declared.columns.items()})
    privacy = {name: column.privacy for name, column in declared.columns.items()}
    delta.create(table, schema, description=declared.description, privacy=privacy)
    made = replacing(table, delta.version(table), schema, staged.parts, {"batch": batch})
    with rehearse(table, made) as after:
        shown = recount.shown(duckdb, after)
    known = recount.files_tally(staged.facts.get("sha256", {}).values(), staged.facts.get("counted", staged.rows))
    return table, made, Book(f"gold.{staged.table}", known.rows, shown.rows, digest_in=known.hex, digest_out=shown.hex)
