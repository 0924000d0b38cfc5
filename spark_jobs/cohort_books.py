"""The books of a cohort: its candidates against the rows that were staged, by a recount of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from cohortlake.core.catalog import Cohort
from cohortlake.core.recount.cohort import recount_cohort
from spark_jobs.books import check_books
from spark_jobs.context import Book, Context
from spark_jobs.training import KEYS, staging, unstage


def cohort_book(
    ctx: Context,
    cohort: Cohort,
    candidates: pa.Table,
    can_tell: Mapping[str, Sequence[bool]],
    criteria: tuple[Sequence[str], Sequence[str]],
    rows: pa.Table,
) -> tuple[Book, dict[str, int]]:
    """The book of what was staged of `rows`, and the candidates left out by criterion. Raises BooksError; then nothing
    is staged.

    `can_tell` says for each column that the cohort needs whether it can be told of each candidate; who cannot be told
    of is left out before any criterion. `criteria` are the columns of the candidates that say whether each is met: of
    inclusion, of exclusion.
    """
    connection = duckdb.connect()
    needs = {f"need_{number}": need for number, need in enumerate(can_tell)}
    for column, need in needs.items():
        candidates = candidates.append_column(column, pa.array(can_tell[need], pa.bool_()))
    connection.register("candidates", candidates)
    connection.register("given", rows)
    inclusion, exclusion = (
        dict(zip(columns, texts, strict=True))
        for columns, texts in zip(criteria, (cohort.inclusion, cohort.exclusion), strict=True)
    )
    inclusion = {column: f"the silo cannot tell {need}" for column, need in needs.items()} | inclusion
    file = staging(ctx) / "cohort.parquet"
    found = recount_cohort(connection, cohort.name, KEYS, inclusion, exclusion, file)
    must, does = (one.hex if one else "" for one in (found.must, found.does))
    left_out = sum(found.classes.values())
    book = Book(found.table, found.came, found.out, left_out=left_out, digest_in=must, digest_out=does)
    if not book.is_balanced:
        unstage(ctx, "cohort")
    check_books(f"cohort.{cohort.name}", [book])
    return book, found.classes
