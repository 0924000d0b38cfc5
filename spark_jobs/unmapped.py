"""What no map knows, and what the maps did.

`phi/unmapped_codes` has every code that no map knows and every unit that cannot be read, where they came from and how
often; they stay in the records. A code is a value of a record, so outside the phi zone stand only counts of them:
`ops/unmapped_code_counts`, by silo, map and code system. `ops/mapped_codings`: how many codings each concept map added.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal
from spark_jobs import delta

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("silo", "batch", "run_id", "map", "code")]
    + [("records", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))]
)
COUNTS = pa.schema(
    [(name, pa.string()) for name in ("silo", "batch", "run_id", "map", "code_system")]
    + [("codes", pa.int64()), ("records", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))]
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


@dataclass
class Count:
    """The codes of one map: how many, and in how many records."""

    codes: int = 0
    records: int = 0


def by_map(counts: Mapping[str, int]) -> dict[str, Count]:
    """What a batch's codes, `map: code` with their count, come to by map."""
    found: dict[str, Count] = {}
    for name, records in counts.items():
        count = found.setdefault(name.partition(": ")[0], Count())
        count.codes += 1
        count.records += records
    return dict(sorted(found.items()))


def keep(lake: Lake, of: Kept, counts: Mapping[str, int], systems: Mapping[str, str | None] | None = None) -> None:
    """Write a batch's codes, `map: code` with their count, in place of those that it wrote before, and their counts.

    `systems` are the code systems that the maps read, by the map's name.
    """
    rows: list[dict[str, object]] = []
    for name, records in sorted(counts.items()):
        code_map, _, code = name.partition(": ")
        rows.append({"map": code_map, "code": code, "records": records})
    _move_into_phi(lake)
    _replace(lake, lake.unmapped_codes, SCHEMA, of, rows)
    summed: list[dict[str, object]] = [
        {"map": name, "code_system": (systems or {}).get(name), "codes": count.codes, "records": count.records}
        for name, count in by_map(counts).items()
    ]
    _replace(lake, lake.ops("unmapped_code_counts"), COUNTS, of, summed)


def _move_into_phi(lake: Lake) -> None:
    """Lakes of earlier releases have the codes outside the phi zone."""
    before = lake.ops("unmapped_codes")
    with lake.lock("unmapped_codes"):
        if before.is_dir() and not lake.unmapped_codes.exists():
            lake.unmapped_codes.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(before, lake.unmapped_codes)


def keep_mapped(lake: Lake, of: Kept, counts: Mapping[str, int]) -> None:
    """Write how many codings each map, named `map version`, added in a batch."""
    rows = []
    for label, codings in sorted(counts.items()):
        name, _, version = label.partition(" ")
        rows.append({"map": name, "version": version, "codings": codings})
    _replace(lake, lake.ops("mapped_codings"), MAPPED, of, rows)


def _replace(lake: Lake, place: Path, schema: pa.Schema, of: Kept, rows: list[dict[str, object]]) -> None:
    if rows or delta.exists(place):
        told = {"silo": of.silo, "batch": of.batch, "run_id": of.run_id, "at": datetime.datetime.now(datetime.UTC)}
        where = f"silo = {literal(of.silo)}" + ("" if of.is_all else f" AND batch = {literal(of.batch)}")
        with lake.lock(place.name):
            table = pa.Table.from_pylist([{**row, **told} for row in rows], schema)
            delta.replace_rows(place, table, where)
