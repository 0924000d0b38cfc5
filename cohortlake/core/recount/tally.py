"""Rows counted, and a digest of what they hold that does not depend on their order.

A row's hash is DuckDB's `hash` of its columns, 64 bits; a digest is the sum of its rows' hashes, modulo 2**64. A row
that is lost, doubled or altered changes it; rows that change places do not. It is no proof against someone who makes
rows to fit it: it finds faults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortlake.core.sql import identifier, literal

MODULUS = 2**64


@dataclass(frozen=True)
class Tally:
    """So many rows, and the sum of their hashes modulo 2**64."""

    rows: int = 0
    digest: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.rows + other.rows, (self.digest + other.digest) % MODULUS)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.rows - other.rows, (self.digest - other.digest) % MODULUS)

    @property
    def hex(self) -> str:
        """The digest in 16 hexadecimal digits."""
        return f"{self.digest:016x}"


def tally(connection: Any, relation: str, columns: Sequence[str]) -> Tally:
    """The tally of a relation (SQL that can stand after FROM) over the named columns."""
    hashed = f"hash({', '.join(map(identifier, columns))})" if columns else "0"
    return tally_of(connection, relation, hashed)


def tally_of(connection: Any, relation: str, hashed: str) -> Tally:
    """The tally of a relation whose rows have the hash that the expression `hashed` gives."""
    found = connection.execute(f"SELECT count(*), sum(({hashed})::UBIGINT) FROM {relation}").fetchone()
    return Tally(int(found[0]), int(found[1] or 0) % MODULUS)


def parquet(files: Iterable[Path | str], *, numbered: bool = False) -> str:
    """The SQL that reads Parquet files as they are; `numbered` adds `filename` and `file_row_number`."""
    listed = ", ".join(literal(str(file)) for file in files)
    extra = ", filename = true, file_row_number = true" if numbered else ""
    return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true{extra})"


def live_rows(connection: Any, table: Path, silo: str) -> int:
    """The live rows of a silo in a table of silver; `connection` reads Delta, with its deletion vectors."""
    scan = f"delta_scan({literal(table)})"
    return int(connection.execute(f"SELECT count(*) FROM {scan} WHERE silo = {literal(silo)}").fetchone()[0])


def file_digest(path: Path) -> str:
    """A file's SHA-256: what tells that a file which is moved on as it is was not changed."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_tally(digests: Iterable[str], rows: int) -> Tally:
    """A tally of whole files by their SHA-256."""
    return Tally(rows, sum(int(digest[:16], 16) for digest in digests) % MODULUS)
