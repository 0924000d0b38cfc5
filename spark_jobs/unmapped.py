"""`ops/unmapped_codes`: every code that no map knows, where it came from, how often. The codes stay in the records."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import pyarrow as pa

from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal
from spark_jobs import delta

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("silo", "batch", "run_id", "map", "code")]
    + [("records", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))]
)


def keep(lake: Lake, silo: str, batch: str, run_id: str, counts: Mapping[str, int]) -> None:
    """Write a batch's codes, `map: code` with their count, in place of those that it wrote before."""
    at = datetime.datetime.now(datetime.UTC)
    rows = []
    for name, records in sorted(counts.items()):
        code_map, _, code = name.partition(": ")
        rows.append({"map": code_map, "code": code, "records": records, "silo": silo, "batch": batch})
    table = pa.Table.from_pylist([{**row, "run_id": run_id, "at": at} for row in rows], SCHEMA)
    if rows or delta.exists(lake.ops("unmapped_codes")):
        with lake.lock("unmapped_codes"):
            where = f"silo = {literal(silo)} AND batch = {literal(batch)}"
            delta.replace_rows(lake.ops("unmapped_codes"), table, where)
