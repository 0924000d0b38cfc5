"""DuckDB as a floor: files to Parquet with its own schema detection, and views as SQL over our Delta tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.hospital import SILO
from benchmarks.peers.worker import serve
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake


def ingest(data: str, target: str) -> Mapping[str, Any]:
    """Each NDJSON file to a Parquet file."""
    folder, resources = Path(target), 0
    folder.mkdir(parents=True)
    connection = duckdb.connect()
    for path in sorted((Path(data) / SILO).glob("*.ndjson")):
        source = f"read_json('{path}', format = 'newline_delimited')"
        copied = connection.execute(f"COPY (FROM {source}) TO '{folder / path.stem}.parquet' (FORMAT parquet)")
        resources += copied.fetchone()[0]  # type: ignore[index]
    return {"resources": resources}


def view(source: str, definition: str, sql: str, target: str) -> Mapping[str, Any]:
    """Write a query's rows to Parquet; it names a silver table as `{Type}`."""
    query = Path(sql).read_text(encoding="utf-8")
    for table in Lake(Path(source)).silver("x").parent.iterdir():
        query = query.replace(f"{{{table.name}}}", f"delta_scan('{table}')")
    Path(target).mkdir(parents=True)
    delta_connection().execute(f"COPY ({query}) TO '{target}/rows.parquet' (FORMAT parquet)")
    return {}


if __name__ == "__main__":
    serve({"ingest": ingest, "view": view})
