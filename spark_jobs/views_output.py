"""A view's rows for people: the first ones to show, or all of them as one file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, DecimalType, StructType

from cohortlake.core.lake import write_error
from cohortlake.core.sql import identifier, literal

COPY_OPTIONS = {"csv": "FORMAT csv, HEADER", "ndjson": "FORMAT json", "parquet": "FORMAT parquet"}


@dataclass(frozen=True)
class Shown:
    """The first rows, and whether there are more."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    is_cut: bool


def first_rows(frame: DataFrame, limit: int) -> Shown:
    """The first rows, at most `limit` of them."""
    found = frame.limit(limit + 1).toArrow()
    rows = [tuple(row.values()) for row in found.slice(0, limit).to_pylist()]
    return Shown(found.column_names, rows, found.num_rows > limit)


def write(frame: DataFrame, kind: str, to: Path | None) -> None:
    """Write the rows as one file of a kind of `COPY_OPTIONS`, or to standard output.

    Spark writes parts, and DuckDB streams them into the file: no process holds all rows. The file appears whole or not
    at all. Raises LakeWriteError where the disk refuses.
    """
    try:
        with tempfile.TemporaryDirectory(dir=to.parent if to else None, prefix=".view-") as scratch:
            parts, whole = Path(scratch) / "parts", Path(scratch) / "whole"
            frame.write.parquet(str(parts))
            columns = ", ".join(_shown(field, kind) for field in frame.schema.fields)
            rows = f"SELECT {columns} FROM read_parquet({literal(parts / '*.parquet')})"  # noqa: S608
            target = whole if to else Path("/dev/stdout")
            duckdb.connect().execute(f"COPY ({rows}) TO {literal(target)} ({COPY_OPTIONS[kind]})")
            if to:
                whole.replace(to)
    except OSError as error:
        raise write_error(error, to or "standard output") from error


def _shown(field: Any, kind: str) -> str:
    """A column as it stands in a file: a decimal has the places that it needs, not all of its type, and CSV holds lists
    and structs as JSON."""
    name = identifier(field.name)
    if kind == "csv" and isinstance(field.dataType, ArrayType | StructType):
        return f"to_json({name})::VARCHAR AS {name}"
    if kind == "parquet" or not isinstance(field.dataType, DecimalType) or field.dataType.scale == 0:
        return name
    text = f"rtrim(rtrim({name}::VARCHAR, '0'), '.')"
    return f"{text if kind == 'csv' else f'{text}::JSON'} AS {name}"
