"""The recount of a task of `standardise`, made beside it on the executors: what it read against the part that it wrote.

The part is read back from disk. `cohortlake.core.recount.resources` says how the two are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.catalog import Node
from cohortlake.core.recount.resources import Compared, compare_json, compare_rows
from cohortlake.core.recount.tally import Tally, file_digest, parquet
from cohortlake.core.terminology.translate import EXTENSION
from spark_jobs.context import Book
from spark_jobs.fhir_types import part_schema
from spark_jobs.parallel import Unit

RECORDS = pa.schema([("file_hash", pa.string()), ("offset", pa.int64()), ("payload", pa.string())])
REFUSED = pa.schema([("file_hash", pa.string()), ("offset", pa.int64()), ("id", pa.string())])


def recount_typed(unit: Unit, result: Unit, tree: Node) -> Unit:
    """What a typing task read and wrote: see `told`."""
    connection = _connection()
    tables = [_records(path, groups) for path, groups in unit["sources"]]
    connection.register("records", pa.concat_tables([RECORDS.empty_table(), *tables]))
    rejected = pq.read_table(result["rejects"]).select(REFUSED.names) if result["rejects"] else REFUSED.empty_table()
    connection.register("refused", rejected)
    part = _rows(connection, Path(unit["table"]), result["part"], tree)
    return told(compare_json(connection, tree, EXTENSION), part)


def recount_rows(
    connection: Any, expected: str, refused: Iterable[dict[str, Any]], table: Path, part: Any, tree: Node
) -> Unit:
    """Rows that the SQL `expected` makes once more (silver's elements, each row's place) against the part written."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW expected AS {expected}")
    connection.register("refused", pa.Table.from_pylist(list(refused), REFUSED))
    written = _rows(connection, table, part, tree)
    return told(compare_rows(connection, tree, EXTENSION), written)


def told(found: Compared, part: Path | None) -> Unit:
    """What a recount found as JSON: rows in, refused and out, digests, and the SHA-256 of the part."""
    return {
        "records": found.records, "refused": found.refused, "rows": found.does.rows, "problems": found.problems,
        "must": found.must.digest, "does": found.does.digest, "payloads": found.payloads.digest,
        "read_twice": found.read_twice, "sha256": file_digest(part) if part else None,
    }  # fmt: skip


class Recounted:
    """The sum of what the tasks of a table found."""

    def __init__(self) -> None:
        self.records = self.refused = self.rows = self.read_twice = 0
        self.must, self.does, self.payloads = Tally(), Tally(), Tally()
        self.problems: list[str] = []
        self.sha256: dict[str, str] = {}

    def add(self, found: Unit, part: Any) -> None:
        """Take in what one task found, and the part that it says it wrote."""
        self.records, self.refused = self.records + found["records"], self.refused + found["refused"]
        self.rows, self.read_twice = self.rows + found["rows"], self.read_twice + found["read_twice"]
        self.must += Tally(0, found["must"])
        self.does += Tally(0, found["does"])
        self.payloads += Tally(0, found["payloads"])
        self.problems += found["problems"]
        if part:
            self.sha256[part["path"]] = found["sha256"]

    def book(self, table: str) -> Book:
        """The books of a table: what was read, and what of it was written or refused."""
        return Book(
            table, self.records, self.rows, self.refused, digest_in=self.must.hex, digest_out=self.does.hex
        )  # fmt: skip


def _connection() -> Any:
    connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _records(path: str, groups: Sequence[int] | None) -> pa.Table:
    source = pq.ParquetFile(path)
    if groups is None:
        return source.read(columns=RECORDS.names).select(RECORDS.names).cast(RECORDS)
    return source.read_row_groups(list(groups), columns=RECORDS.names).select(RECORDS.names).cast(RECORDS)


def _rows(connection: Any, table: Path, part: Any, tree: Node) -> Path | None:
    """Make the view `rows`: what the part holds, which is nothing where there is none."""
    if not part:
        connection.register("rows", part_schema(tree).empty_table())
        return None
    path = table / part["path"]
    connection.execute(f"CREATE OR REPLACE TEMP VIEW rows AS SELECT * FROM {parquet([path])}")  # noqa: S608
    return path
