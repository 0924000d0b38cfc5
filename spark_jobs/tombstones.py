"""Deletes: a table of tombstones beside silver, so that what was deleted stays so whatever arrives late.

A tombstone is (silo, resource type, id) with a version, comparable with silver's. A row is live only if its version is
newer than its tombstone's: `publish` holds both to that, so any order of arrival ends in the same tables, and no reader
of silver has to know.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.errors import LakeBusyError
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake, write_error
from cohortlake.core.recount import publish as recount
from spark_jobs import delta, merge
from spark_jobs.books import check_books
from spark_jobs.context import Book, Context
from spark_jobs.delta_commit import TakenError, put, rehearse

SCHEMA = pa.schema(
    [
        ("silo", pa.string()),
        ("resource_type", pa.string()),
        ("id", pa.string()),
        ("_version", pa.string()),
        ("_file_hash", pa.string()),
        ("_offset", pa.int64()),
    ]
)
FILE = "tombstones.parquet"


def stage(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Keep a batch's deletes for its publish; without any there is no file."""
    path = folder / FILE
    listed = list(rows)
    path.unlink(missing_ok=True)
    if listed:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(listed, SCHEMA), path)


def staged(folder: Path) -> pa.Table:
    """A batch's deletes."""
    path = folder / FILE
    return pq.read_table(path, schema=SCHEMA) if path.exists() else SCHEMA.empty_table()


def of_silo(lake: Lake, silo: str) -> pa.Table:
    """A silo's tombstones: resource_type, id, _version; the newest of each key."""
    columns = ["resource_type", "id", "_version"]
    found = delta.rows(lake.tombstones, columns, [("silo", "=", silo)])
    empty = pa.schema([SCHEMA.field(name) for name in columns]).empty_table()
    return empty if found is None else found


def set_up(ctx: Context, folder: Path) -> None:
    """Put a batch's deletes among the tombstones: of each key the newest stays. Twice is as once."""
    made = staged(folder)
    if not made.num_rows:
        return
    newest = made.sort_by("_version").group_by(["silo", "resource_type", "id"], use_threads=False)
    taken = newest.aggregate([(name, "last") for name in ("_version", "_file_hash", "_offset")])
    data = taken.rename_columns(SCHEMA.names).cast(SCHEMA)
    on = "t.silo = s.silo AND t.resource_type = s.resource_type AND t.id = s.id"
    with ctx.lake.lock("tombstones"):
        try:
            table = delta.create(ctx.lake.tombstones, SCHEMA, description="What was deleted at the source, and when")
            (
                table.merge(data, on, source_alias="s", target_alias="t")
                .when_matched_update_all(predicate="s._version > t._version")
                .when_not_matched_insert_all()
                .execute()
            )
        except OSError as error:
            raise write_error(error, ctx.lake.tombstones) from error


def bury(ctx: Context, folder: Path, batch: str) -> list[Book]:
    """Take what the batch deletes out of silver, where it is not newer. Books by type: deletes = deleted + superseded.

    A delete is superseded where nothing older is live: the resource never came, is gone already, or came back since; or
    where a later delete of the batch names the same resource. Raises BooksError where other rows would go.
    """
    made = staged(folder)
    books = []
    for name, rows in sorted(Counter(made["resource_type"].to_pylist()).items()):
        book = Book(f"{name} (deletes)", rows, 0, superseded=rows)
        if delta.exists(ctx.lake.silver(name)):
            of_type = made.filter(pc.equal(made["resource_type"], name)).group_by(["silo", "id"])
            newest = of_type.aggregate([("_version", "max")]).rename_columns(["silo", "id", "_version"])
            doubles = rows - newest.num_rows
            book = _delete_older(ctx, name, newest, f"{batch} deletes")
            book.rows_in, book.superseded = rows, book.superseded + doubles
        books.append(book)
    return books


def _delete_older(ctx: Context, name: str, tombs: pa.Table, batch: str) -> Book:
    """Delete from a table of silver what is older than its tombstone; done once a batch. Gives the books of `tombs`."""
    table, step = ctx.lake.silver(name), f"publish.{ctx.scope}"
    if (done := delta.told(table, batch)) is not None:
        return Book(**json.loads(done["book"]))
    keys, connection = tombs.select(["id", "_version"]), delta_connection()
    with ctx.lake.lock(f"silver.{name}"):
        for _ in range(delta.ATTEMPTS):
            target = merge.Target(table, ctx.scope, delta.version(table), connection.cursor())
            change = merge.without(target, keys)
            made = merge.to_entry(target, change, {"batch": batch})
            with rehearse(table, made) as after:
                log = recount.Log(table, target.version, after, [])
                found = recount.recount_delete(connection.cursor(), ctx.scope, keys, log)
            book = Book(
                f"{name} (deletes)", tombs.num_rows, 0, superseded=found.superseded, deleted=found.deleted,
                digest_in=found.must.hex, digest_out=found.does.hex,
            )  # fmt: skip
            check_books(step, [book], found.problems)
            try:
                if change.gone:
                    put(table, made.saying({"book": json.dumps(asdict(book))}))
                return book
            except TakenError:
                continue
    raise LakeBusyError(f"{name} is written by others all the time", "Run again when they are done.")
