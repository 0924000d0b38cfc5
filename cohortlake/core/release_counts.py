"""The counts of a release, from its files alone: DuckDB reads the Parquet, and had no part in the writing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

from cohortlake.core.release_facts import Cell, Counted, Counts
from cohortlake.core.releases import SPLITS

COUNTS = "count(*), count(DISTINCT person_key), count(*) FILTER (WHERE outcome)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _grouped(connection: duckdb.DuckDBPyConnection, column: str) -> dict[str, Counts]:
    rows = connection.execute(f"SELECT {column}, {COUNTS} FROM real GROUP BY 1 ORDER BY 1").fetchall()  # noqa: S608
    return {str(name): _counts(row) for name, *row in rows}


def _counts(row: Iterable[Any]) -> Counts:
    return Counts(**dict(zip(("rows", "persons", "events"), row, strict=True)))


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    return row if row is not None else ()


def count_release(folder: Path, features: Iterable[str]) -> Counted:
    """Count the Parquet of a folder's splits; `features` are those whose missing rows are counted."""
    names = list(features)
    with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
        for split in SPLITS:
            rows = connection.read_parquet(str(folder / f"{split}.parquet"))
            rows.project(f"*, '{split}' AS split").create_view(split)
        every = " UNION ALL BY NAME ".join(f"FROM {split}" for split in SPLITS)
        connection.execute(f"CREATE TEMP TABLE every AS {every}")
        connection.execute("CREATE TEMP VIEW real AS SELECT * FROM every WHERE NOT is_synthetic")
        missing = ", ".join(f"count(*) FILTER (WHERE {_quoted(name)} IS NULL)" for name in names)
        by_split = _grouped(connection, "split")
        cells = connection.execute(
            f"SELECT split, stratum, {COUNTS} FROM real GROUP BY 1, 2 ORDER BY 1, 2"  # noqa: S608
        ).fetchall()
        split = "SELECT person_key FROM real GROUP BY 1 HAVING count(DISTINCT split) > 1"
        made = "SELECT split, count(*) FROM every WHERE is_synthetic GROUP BY 1"
        return Counted(
            counts=_counts(_one(connection, f"SELECT {COUNTS} FROM real")),  # noqa: S608
            patients=_one(connection, "SELECT count(DISTINCT patient_key) FROM real")[0],
            by_split=by_split,
            by_silo=_grouped(connection, "silo"),
            by_stratum=_grouped(connection, "stratum"),
            by_split_and_stratum=[
                Cell(split=split, stratum=stratum, **_counts(row).model_dump()) for split, stratum, *row in cells
            ],
            missing=dict(zip(names, _one(connection, f"SELECT {missing} FROM real"), strict=True)),  # noqa: S608
            persons_in_several_splits=_one(connection, f"SELECT count(*) FROM ({split})")[0],  # noqa: S608
            synthetic_rows=dict(connection.execute(made).fetchall()),
        )
