"""The books: `ops/accounting` has a row a table and step of a run, with what came in and what became of it.

A step's last act makes its work live, and its books are written after. A receipt, kept with that last act, lets the
next run write the books of one that was killed in between.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from cohortlake.core.errors import BooksError
from cohortlake.core.lake import Lake
from cohortlake.core.recount.tally import Tally
from spark_jobs import delta
from spark_jobs.context import Book, Context

OLDER = ("rows_in", "rows_out", "quarantined", "superseded", "deleted")
NUMBERS = (*OLDER, "not_mapped", "left_out")
# Tables of earlier versions lack these columns; they come with the first books that have them.
LATER = pa.schema(
    [
        ("not_mapped", pa.int64()), ("left_out", pa.int64()), ("digest_in", pa.string()), ("digest_out", pa.string()),
    ]
)  # fmt: skip
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("run_id", "step", "scope", "table")]
    + [(name, pa.int64()) for name in OLDER]
    + [("at", pa.timestamp("us", tz="UTC"))]
    + list(LATER)
)
MEND = (
    "Nothing of this step went live; what was live stays. Run again; if it happens again, it is a fault to report: "
    "`cohortlake audit books` says where the lake stands."
)


def check_books(step: str, books: Iterable[Book], problems: Iterable[str] = ()) -> None:
    """Raises BooksError where a book does not balance, or where the recount found another problem."""
    wrong = [*(book.trouble for book in books if not book.is_balanced), *problems]
    if wrong:
        raise BooksError(f"{step}: the books do not balance: {'; '.join(wrong)}", MEND)


def sum_of(one: Book, other: Book) -> Book:
    """The books of two parts of one table."""
    numbers = {name: getattr(one, name) + getattr(other, name) for name in NUMBERS}
    digests = (_added(one.digest_in, other.digest_in), _added(one.digest_out, other.digest_out))
    return Book(one.table, **numbers, digest_in=digests[0], digest_out=digests[1])


def _added(one: str, other: str) -> str:
    return (Tally(0, int(one or "0", 16)) + Tally(0, int(other or "0", 16))).hex if one or other else ""


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
