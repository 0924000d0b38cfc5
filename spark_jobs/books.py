"""The books: `ops/accounting` has a row a table and step of a run, in = out + quarantined + superseded + deleted.

A step's last act makes its work live, and its books are written after. A receipt, kept with that last act, lets the
next run write the books of one that was killed in between.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from cohortlake.core.lake import Lake
from spark_jobs import delta
from spark_jobs.context import Book, Context

NUMBERS = ("rows_in", "rows_out", "quarantined", "superseded", "deleted")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("run_id", "step", "scope", "table")]
    + [(name, pa.int64()) for name in NUMBERS]
    + [("at", pa.timestamp("us", tz="UTC"))]
)


def account(lake: Lake, run_id: str, step: str, scope: str, books: Iterable[Book]) -> None:
    """Write a step's books, in place of those that it wrote before in this run."""
    at = datetime.datetime.now(datetime.UTC)
    rows = [{**asdict(book), "run_id": run_id, "step": step, "scope": scope, "at": at} for book in books]
    if rows:
        with lake.lock("accounting"):
            where = f"run_id = '{run_id}' AND step = '{step}'"
            delta.replace_rows(lake.ops("accounting"), pa.Table.from_pylist(rows, schema=SCHEMA), where)


def receipt(ctx: Context, step: str, books: Iterable[Book]) -> dict[str, Any]:
    """What a step keeps with its last act."""
    return {"run_id": ctx.run_id, "step": step, "scope": ctx.scope, "books": [asdict(book) for book in books]}


def recover(lake: Lake, kept: Mapping[str, Any] | None) -> None:
    """Write the books of a receipt where the run that gave it never came to write them."""
    if not kept or not kept["books"]:
        return
    mine = [("run_id", "=", kept["run_id"]), ("step", "=", kept["step"])]
    written = delta.rows(lake.ops("accounting"), ["run_id"], mine)
    if written is None or not written.num_rows:
        account(lake, kept["run_id"], kept["step"], kept["scope"], [Book(**book) for book in kept["books"]])
