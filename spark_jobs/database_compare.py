"""What changed in a table since the last delivery: its rows, as text in Parquet, against the hashes that are known.

Known is, for each key, a hash of its row, or of all its rows where a key has several. Both sides stay on disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import duckdb

# Spark has its own; what does not fit is spilled.
MEMORY = "1GB"
CSV = "FORMAT csv, HEADER, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', COMPRESSION gzip"


@dataclass(frozen=True)
class Found:
    """What the comparison found. `known` are the keys that were known before; `why_whole` says why it cannot be told
    from the changes alone (None where it can)."""

    changed: int
    gone: int
    known: int
    why_whole: str | None = None


class Comparison:
    """One table's rows against what is known of it. Columns and key are the feed's names."""

    def __init__(
        self, rows: Path, columns: tuple[str, ...], key: tuple[str, ...], *,
        known: Path | None, present: Path | None = None, forget: bool = False,
    ) -> None:  # fmt: skip
        """`rows` is a folder of Parquet: the whole table, or, where `present` has the keys of all rows, a part of it.

        `known` is the file that an earlier comparison kept. `forget` takes every row as changed.
        """
        self._columns, self._key, self._is_part = columns, key, present is not None
        self._db = duckdb.connect(config={"temp_directory": str(rows.parent / "spill"), "memory_limit": MEMORY})
        self._db.execute("SET preserve_insertion_order = false")
        hashed = f"sha256(CAST(to_json([{_names(columns)}]) AS VARCHAR))"
        self._view("rows", f"SELECT *, {_packed(key)} AS _key, {hashed} AS _hash FROM {_parquet(rows)}")  # noqa: S608
        nothing = "SELECT '' AS _key, '' AS _hash, 0 AS _rows WHERE false"
        self._view("known", f"FROM {_literal(str(known))}" if known else nothing)
        self._db.execute(
            "CREATE TABLE read AS SELECT _key, count(*) AS _rows, CASE WHEN count(DISTINCT _hash) = 1 "
            "THEN min(_hash) ELSE sha256(string_agg(DISTINCT _hash, '' ORDER BY _hash)) END AS _hash "
            "FROM rows GROUP BY _key"
        )
        if present:
            of_all = f"FROM {_parquet(present)} SELECT {_packed(key)} AS _key, count(*) AS _rows GROUP BY _key"
            self._db.execute(f"CREATE TABLE present AS {of_all}")
        else:
            self._view("present", "FROM read SELECT _key, _rows")
        against = nothing if forget else "FROM known"
        self._view("changed", f"FROM read ANTI JOIN ({against}) AS before USING (_key, _hash)")
        self._view("gone", "FROM known ANTI JOIN present USING (_key)")
        kept = " UNION ALL BY NAME FROM known ANTI JOIN read USING (_key) SEMI JOIN present USING (_key)"
        self._view("next", "FROM read" + (kept if self._is_part else ""))

    def found(self) -> Found:
        """Counts of keys."""
        why = None
        if self._is_part:
            twice = self._count("FROM present LEFT JOIN known USING (_key) WHERE present._rows > 1 OR known._rows > 1")
            missed = self._count("FROM present ANTI JOIN known USING (_key) ANTI JOIN read USING (_key)")
            if twice:
                why = f"{twice:,} keys stand in several rows"
            elif missed:
                why = f"{missed:,} rows are new though their watermark is old"
        changed, gone, known = (self._count(f"FROM {name}") for name in ("changed", "gone", "known"))
        return Found(changed, gone, known, why)

    def write_rows(self, target: Path) -> int:
        """The rows of changed keys as gzipped CSV; how many there are."""
        rows = f"FROM rows SEMI JOIN changed USING (_key) SELECT {_names(self._columns)} ORDER BY _key, _hash"
        written = self._db.execute(f"COPY ({rows}) TO {_literal(str(target))} ({CSV})").fetchone()
        return int(written[0]) if written else 0

    def write_gone(self, target: Path) -> None:
        """The keys that are gone as gzipped CSV, a column for each part of the key."""
        shape = json.dumps(dict.fromkeys(self._key, "VARCHAR"))
        keys = f"SELECT unnest(from_json(_key, {_literal(shape)})) FROM (FROM gone ORDER BY _key)"  # noqa: S608
        self._db.execute(f"COPY ({keys}) TO {_literal(str(target))} ({CSV})")

    def keep(self, target: Path) -> None:
        """Keep what is known now."""
        self._db.execute(
            f"COPY (FROM next ORDER BY _key) TO {_literal(str(target))} (FORMAT parquet, COMPRESSION zstd)"
        )

    def close(self) -> None:
        self._db.close()

    def _view(self, name: str, sql: str) -> None:
        self._db.execute(f"CREATE VIEW {name} AS {sql}")

    def _count(self, of: str) -> int:
        row = self._db.execute(f"SELECT count(*) {of}").fetchone()
        return int(row[0]) if row else 0


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(_quoted(name) for name in columns)


def _packed(key: tuple[str, ...]) -> str:
    packed = ", ".join(f"{_quoted(name)} := {_quoted(name)}" for name in key)
    return f"CAST(to_json(struct_pack({packed})) AS VARCHAR)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _parquet(folder: Path) -> str:
    return f"read_parquet({_literal(str(folder / '*.parquet'))})"
