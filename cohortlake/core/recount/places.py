"""The recount of records by their place: each record of bronze (file hash, byte offset) and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.recount.tally import Tally, parquet, tally_of
from cohortlake.core.sql import literal

PLACES = pa.schema([("file_hash", pa.string()), ("offset", pa.int64())])
PLACE = 'hash(file_hash, "offset")'


class Places:
    """Records by place, of one feed. What became of them is told class by class, and each is looked up on its own."""

    def __init__(self, connection: Any, bronze: Sequence[Path | str]) -> None:
        self._connection = connection
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE came AS SELECT file_hash, "offset" FROM {parquet(bronze)}'
            if bronze
            else 'CREATE OR REPLACE TEMP TABLE came (file_hash VARCHAR, "offset" BIGINT)'
        )
        connection.execute('CREATE OR REPLACE TEMP TABLE became (class VARCHAR, file_hash VARCHAR, "offset" BIGINT)')

    def add_files(self, name: str, files: Sequence[Path | str]) -> None:
        """What became of the records in these Parquet files (file_hash, offset; a record may stand there often)."""
        if files:
            self._add(name, parquet(files))

    def add_rows(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """What became of these records."""
        listed = [{"file_hash": row["file_hash"], "offset": row["offset"]} for row in rows]
        self._connection.register("told_places", pa.Table.from_pylist(listed, PLACES))
        self._add(name, "told_places")

    def _add(self, name: str, source: str) -> None:
        self._connection.execute(
            f'INSERT INTO became SELECT DISTINCT {literal(name)}, file_hash, "offset" FROM {source} '
            'SEMI JOIN came USING (file_hash, "offset")'
        )

    @property
    def records(self) -> int:
        """Records that came, a place twice counts twice."""
        return int(self._one("SELECT count(*) FROM came"))

    def count(self, name: str) -> int:
        """Records of a class, by their places."""
        return int(self._one(f"SELECT count(*) FROM became WHERE class = {literal(name)}"))

    @property
    def must(self) -> Tally:
        """All places that came."""
        return tally_of(self._connection, "came", PLACE)

    @property
    def does(self) -> Tally:
        """The places of which it is told what became of them; one in two classes counts twice."""
        return tally_of(self._connection, "became", PLACE)

    def _one(self, sql: str) -> Any:
        return self._connection.execute(sql).fetchone()[0]
