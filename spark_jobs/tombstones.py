"""Deletes: a table of tombstones beside silver, so that what was deleted stays so whatever arrives late.

A tombstone is (silo, resource type, id) with a version, comparable with silver's. A row is live only if its version is
newer than its tombstone's: `publish` holds both to that, so any order of arrival ends in the same tables, and no reader
of silver has to know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.lake import Lake, write_error
from spark_jobs import delta
from spark_jobs.context import Book, Context
from spark_jobs.fhir_types import PARTITION

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

    A delete is superseded where nothing older is live: the resource never came, is gone already, or came back since.
    """
    made = staged(folder)
    books = []
    for name, rows in sorted(Counter(made["resource_type"].to_pylist()).items()):
        gone = 0
        if delta.exists(ctx.lake.silver(name)):
            of_type = made.filter(pc.equal(made["resource_type"], name)).group_by(["silo", "id"])
            newest = of_type.aggregate([("_version", "max")]).rename_columns(["silo", "id", "_version"])
            gone = _delete_older(ctx, name, newest, f"{batch} deletes")
        books.append(Book(f"{name} (deletes)", rows, 0, superseded=rows - gone, deleted=gone))
    return books


def _delete_older(ctx: Context, name: str, tombs: pa.Table, batch: str) -> int:
    """Delete from a table of silver what is older than its tombstone; done once a batch. Gives the rows deleted."""
    table = ctx.lake.silver(name)
    done = delta.merged(table, batch)
    if done is None:
        with ctx.lake.lock(f"silver.{name}"):
            on = f"t.{PARTITION} = s.{PARTITION} AND t.{PARTITION} = '{ctx.scope}' AND t.id = s.id"
            done = delta.merge(
                ctx.spark, table, ctx.spark.createDataFrame(tombs), rows=tombs.num_rows, on=on,
                newer="s._version > t._version", facts={"batch": batch}, deletes=True,
            )  # fmt: skip
    return done["deleted"]
