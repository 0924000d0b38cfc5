"""Two tables of the books. `ops/unmapped_codes`: every code that no map knows and every unit that cannot be read, where
they came from and how often; they stay in the records. `ops/mapped_codings`: how many codings each concept map added.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal
from spark_jobs import delta

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("silo", "batch", "run_id", "map", "code")]
    + [("records", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))]
)
MAPPED = pa.schema(
    [(name, pa.string()) for name in ("silo", "batch", "run_id", "map", "version")]
    + [("codings", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))]
)


@dataclass(frozen=True)
class Kept:
    """The batch that rows are of. Where it `is_all` of the silo, they stand in place of all that were kept before."""

    silo: str
    batch: str
    run_id: str
    is_all: bool = False


def keep(lake: Lake, of: Kept, counts: Mapping[str, int]) -> None:
    """Write a batch's codes, `map: code` with their count, in place of those that it wrote before."""
    rows = []
    for name, records in sorted(counts.items()):
        code_map, _, code = name.partition(": ")
        rows.append({"map": code_map, "code": code, "records": records})
    _replace(lake, "unmapped_codes", SCHEMA, of, rows)


def keep_mapped(lake: Lake, of: Kept, counts: Mapping[str, int]) -> None:
    """Write how many codings each map, named `map version`, added in a batch."""
    rows = []
    for label, codings in sorted(counts.items()):
        name, _, version = label.partition(" ")
        rows.append({"map": name, "version": version, "codings": codings})
    _replace(lake, "mapped_codings", MAPPED, of, rows)


def _replace(lake: Lake, name: str, schema: pa.Schema, of: Kept, rows: list[dict[str, object]]) -> None:
    if rows or delta.exists(lake.ops(name)):
        told = {"silo": of.silo, "batch": of.batch, "run_id": of.run_id, "at": datetime.datetime.now(datetime.UTC)}
        where = f"silo = {literal(of.silo)}" + ("" if of.is_all else f" AND batch = {literal(of.batch)}")
        with lake.lock(name):
            table = pa.Table.from_pylist([{**row, **told} for row in rows], schema)
            delta.replace_rows(lake.ops(name), table, where)
