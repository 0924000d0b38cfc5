"""The books of gold: what is staged against a recount that had no part in it, before the gate sees it.

What is staged is kept with the SHA-256 of its files, so that each later step tells whether they are still the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.gold import delta_connection
from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.gold import Sources, reaches_no_table, recount_table, recount_words
from cohortlake.core.recount.tally import file_digest
from spark_jobs import delta
from spark_jobs.books import check_books
from spark_jobs.context import Book, Context
from spark_jobs.link_tables import MEMBERS
from spark_jobs.link_tables import table as members_table
from spark_jobs.pseudonyms import vault_secret
from spark_jobs.staged import Staged, write_staged


def curated_books(
    ctx: Context, staged: Mapping[str, Staged], types: Mapping[str, int], doubles: pa.Table
) -> tuple[list[Book], dict[str, Any]]:
    """The books of what is staged, and facts for the report. Raises BooksError.

    `types` are the versions of silver's tables that gold was made from, `doubles` the resources that others stand for.
    """
    connection = delta_connection()
    files = {name: [ctx.lake.gold(name) / part.path for part in table.parts] for name, table in staged.items()}
    sources = made_from(ctx, types, doubles)
    books, problems, accounts = [], [], {}
    for name in sorted(staged):
        found = recount_table(connection, ctx.catalog, ctx.catalog.tables[name], sources, files)
        books += [book_of(one) for one in found]
        problems += [f"{one.table}: {problem}" for one in found for problem in one.problems]
        accounts[name] = [{"of": one.table, "left_out": one.classes, "notes": one.notes} for one in found]
    problems += recount_words(connection, ctx.catalog, sources).problems
    check_books(f"curate.{ctx.scope}", books, problems)
    folder = ctx.lake.staging("research", "gold")
    counted = {book.table.removeprefix("gold."): book.rows_out for book in books}
    for name, table in staged.items():
        table.facts["counted"] = counted[name]
        table.facts["sha256"] = {part.path: file_digest(ctx.lake.gold(name) / part.path) for part in table.parts}
        write_staged(folder, table)
    rows = {name: _count(connection, ctx, name) for name in types}
    return books, {"accounts": accounts, "silver_rows": rows, "reaches_no_table": unreached(ctx)}


def made_from(ctx: Context, types: Mapping[str, int], doubles: pa.Table) -> Sources:
    """What the recount reads: silver in these versions, the secret, the doubles, and the linked records."""
    silver = {name: (ctx.lake.silver(name), version) for name, version in types.items()}
    held = delta.rows(members_table(ctx.lake, "members"), MEMBERS.names)
    members = MEMBERS.empty_table() if held is None else held.filter(pc.is_null(held["until"]))
    return Sources(silver, vault_secret(ctx.lake), doubles, members)


def book_of(found: Finding) -> Book:
    """A finding as a book."""
    must, does = (one.hex if one else "" for one in (found.must, found.does))
    left_out = sum(found.classes.values())
    return Book(found.table, found.came, found.out, left_out=left_out, digest_in=must, digest_out=does)


def _count(connection: Any, ctx: Context, name: str) -> int:
    """Live rows; DuckDB knows which a deletion vector takes out, which the log's counts do not tell."""
    return int(connection.sql(f"FROM delta_scan('{ctx.lake.silver(name)}')").count("*").fetchone()[0])


def unreached(ctx: Context) -> dict[str, int]:
    """The live rows of each resource type that reaches no curated table."""
    held = sorted(path.parent.name for path in (ctx.lake.root / "phi/silver").glob("*/_delta_log"))
    silver = {name: (ctx.lake.silver(name), delta.version(ctx.lake.silver(name))) for name in held}
    return reaches_no_table(delta_connection(), ctx.catalog, silver)
