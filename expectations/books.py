"""The books of the gates, by a recount of what they leave behind: staged parts, refused rows, and the quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.recount.gate import HELD, recount_gate
from cohortlake.core.recount.tally import file_digest, files_tally
from expectations.verdict import Verdict
from spark_jobs import quarantine
from spark_jobs.books import check_books
from spark_jobs.context import Book, Context
from spark_jobs.staged import Staged

KEPT = pa.schema([quarantine.SCHEMA.field(name) for name in ("file_hash", "offset", "resource_type", "resource_id")])


def gate_books(ctx: Context, folder: Path, staged: Mapping[str, Staged], verdicts: Iterable[Verdict]) -> list[Book]:
    """A silo's: rows staged = passed + quarantined, a table each, by their keys. Raises BooksError.

    What is refused must be in quarantine, and be as much as the checks say that they refused.
    """
    connection = duckdb.connect()
    held = [{name: row[name] for name in KEPT.names} for row in quarantine.held(ctx.lake, ctx.scope, quarantine.OPEN)]
    connection.register("quarantine", pa.Table.from_pylist(held, KEPT))
    books, problems = [], []
    for verdict in verdicts:
        table = staged[verdict.table]
        refused = folder / "failed" / f"{verdict.table}.parquet"
        kept = refused if refused.exists() and pq.read_metadata(refused).num_rows else None
        failed = {
            outcome.check.name: outcome.failed
            for outcome in verdict.outcomes
            if outcome.check.severity == "quarantine" and not outcome.check.is_fact
        }
        files = [ctx.lake.silver(verdict.table) / part.path for part in table.parts]
        found = recount_gate(connection, verdict.table, files, kept, failed)
        problems += [f"{verdict.table}: {problem}" for problem in found.problems]
        problems += _changed(verdict.table, files, table)
        must, does = (one.hex if one else "" for one in (found.must, found.does))
        books.append(
            Book(verdict.table, found.came, found.out, found.classes[HELD], digest_in=must, digest_out=does)
        )  # fmt: skip
    check_books(f"gate.{ctx.scope}", books, problems)
    return books


def gold_books(ctx: Context, staged: Mapping[str, Staged]) -> list[Book]:
    """Gold's: rows that curate's recount found = rows in the files that were judged, which are what they were."""
    books = []
    for name, table in sorted(staged.items()):
        files = [ctx.lake.gold(name) / part.path for part in table.parts]
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        must = files_tally(table.facts.get("sha256", {}).values(), table.facts.get("counted", rows))
        does = files_tally((file_digest(file) for file in files), rows)
        known = "sha256" in table.facts
        books.append(
            Book(
                f"gold.{name}", must.rows, does.rows, digest_in=must.hex if known else "",
                digest_out=does.hex if known else "",
            )
        )  # fmt: skip
    check_books(f"gate.{ctx.scope}", books)
    return books


def _changed(name: str, files: list[Path], table: Staged) -> list[str]:
    """Whether files are not what they were when they were staged."""
    known = table.facts.get("sha256", {})
    paths = {str(file): part.path for file, part in zip(files, table.parts, strict=True)}
    changed = sum(file_digest(file) != known.get(paths[str(file)], file_digest(file)) for file in files)
    return [f"{name}: {changed} of {len(files)} staged files are not what was staged"] if changed else []
