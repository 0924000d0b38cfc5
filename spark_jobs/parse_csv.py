"""The first task of `standardise` for CSV: a bronze part's records as columns of text, parsed once for all mappings.

Spark's `from_csv` is an expression like any other: its optimiser copied it into each filter and column that reads it,
and parsed a record dozens of times over (docs/performance.md).
"""

from __future__ import annotations

import csv
import io
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from cohortlake.core.readers.csv_text import csv_header, rows_of
from spark_jobs.delta import COMPRESSION
from spark_jobs.parallel import Unit

PLACE = [("_file_hash", pa.string()), ("_offset", pa.int64()), ("_version", pa.string())]
# Where a record stands, for mappings of feeds that give their records no id.
SOURCE = [("_file", pa.string()), ("_row", pa.int64())]
REJECTED = pa.schema([("file", pa.string()), *PLACE[:2], ("reasons", pa.list_(pa.string()))])
BRONZE = ["file", "file_hash", "file_modified_at", "offset", "header", "payload"]


def row_schema(columns: Sequence[str]) -> pa.Schema:
    """A parsed feed: its declared columns as text (empty is null), each record's place, version, file and number."""
    return pa.schema([*((name, pa.string()) for name in columns), *PLACE, *SOURCE])


def parse_part(
    unit: Unit, columns: Sequence[str], required: Sequence[str], value_sets: dict[str, list[str]],
    null_values: Sequence[str] = (),
) -> Unit:  # fmt: skip
    """One task: the good records of a bronze part to a file of `row_schema`, the others to one of `REJECTED`.

    A part holds a file's records, in their order; one that holds some of them names the parts that hold all (`wholes`).
    """
    good, bad, files, schema, done = [], [], {}, row_schema(columns), 0
    wholes = _offsets(unit["wholes"]) if unit.get("wholes") else None
    for batch in pq.ParquetFile(unit["source"]).iter_batches(columns=BRONZE):
        records = pa.Table.from_batches([batch])
        for row in records.select(["file_hash", "file"]).group_by(["file_hash", "file"]).aggregate([]).to_pylist():
            files[row["file_hash"]] = row["file"]
        header = csv_header(str(records["header"][0].as_py()))
        parsed, wrong = fields(records["payload"].to_pylist(), header, null_values)
        reasons = _reasons(parsed, header, required, value_sets)
        for index in wrong:
            reasons[index] = [f"fields: the record does not have {len(header)} of them"]
        place = _place(records, done, wholes)
        done += len(batch)
        made = {
            name: parsed[header.index(name)] if name in header else pa.nulls(len(batch), pa.string())
            for name in columns
        }
        table = pa.table({**made, **place}, schema=schema)
        if reasons:
            rows = sorted(reasons)
            where = {name: column.take(rows) for name, column in (*place.items(), ("file", records["file"]))}
            why = pa.array([reasons[row] for row in rows], REJECTED.field("reasons").type)
            bad.append(pa.table({**where, "reasons": why}).select(REJECTED.names))
            table = table.filter(pa.array([row not in reasons for row in range(table.num_rows)]))
        good.append(table)
    for kind, tables, of in (("target", good, schema), ("rejects", bad, REJECTED)):
        Path(unit[kind]).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables(tables) if tables else of.empty_table(), unit[kind], **COMPRESSION)
    counts = {"rows": sum(table.num_rows for table in good), "rejected": sum(table.num_rows for table in bad)}
    return {**counts, "files": files}


def _offsets(parts: Sequence[str]) -> dict[str, list[int]]:
    """Where records begin, by their file's hash."""
    table = ds.dataset(list(parts), format="parquet").to_table(columns=["file_hash", "offset"])
    found = table.group_by("file_hash").aggregate([("offset", "distinct")])
    return {row["file_hash"]: sorted(row["offset_distinct"]) for row in found.to_pylist()}


def fields(
    payloads: list[str], header: Sequence[str], null_values: Sequence[str] = ()
) -> tuple[list[pa.Array], list[int]]:
    """Records as columns of text, and the positions of those that do not have the header's fields.

    An empty text is null, and so is one of `null_values`.

    Arrow's reader takes all at once; where one of them is odd, each is read on its own.
    """
    data = "\n".join(payloads).encode()
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(data),
            arrow_csv.ReadOptions(use_threads=False, column_names=_numbered(header), block_size=len(data) + 1),
            arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(_numbered(header), pa.string()),
                null_values=["", *null_values],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        table = None
    if table is not None and table.num_rows == len(payloads):
        return [column.combine_chunks() for column in table.columns], []
    rows, wrong = [], []
    for position, payload in enumerate(payloads):
        found = _one(payload)
        if len(found) != len(header):
            wrong.append(position)
            found = [None] * len(header)
        rows.append([None if value in ("", *null_values) else value for value in found])
    return [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], wrong


def _numbered(header: Sequence[str]) -> list[str]:
    return [str(number) for number in range(len(header))]


def _one(payload: str) -> list[Any]:
    """A record's fields; none where its quotes do not close."""
    try:
        rows = rows_of(payload)
    except csv.Error:
        return []
    return rows[0] if len(rows) == 1 else []


def _reasons(
    parsed: list[pa.Array], header: list[str], required: Sequence[str], value_sets: dict[str, list[str]]
) -> dict[int, list[str]]:
    """Why records are rejected, by position."""
    found: dict[int, list[str]] = {}
    for name in required:
        if name in header and parsed[header.index(name)].null_count:
            for row in pc.indices_nonzero(pc.is_null(parsed[header.index(name)])).to_pylist():
                found.setdefault(row, []).append(f"required column: {name} is empty")
    for name, codes in value_sets.items():
        if name in header:
            values = parsed[header.index(name)]
            other = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(codes, pa.string()))))
            for row in pc.indices_nonzero(other).to_pylist():
                found.setdefault(row, []).append(f"value set: {name} has another value")
    return found


def _place(records: pa.Table, before: int, wholes: dict[str, list[int]] | None) -> dict[str, Any]:
    """Where records stand; a version is ordered by its file's time, then its place.

    Records are numbered from 1, after those `before`, or as `wholes` tells.
    """
    modified = pc.strftime(records["file_modified_at"].cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%S")
    offset = pc.utf8_lpad(records["offset"].cast(pa.string()), 15, "0")
    version = pc.binary_join_element_wise("|", modified, records["file_hash"], offset, "|")
    numbers = list(range(before + 1, before + 1 + records.num_rows))
    if wholes is not None:
        places = zip(records["file_hash"].to_pylist(), records["offset"].to_pylist(), strict=True)
        numbers = [bisect_left(wholes[file_hash], start) + 1 for file_hash, start in places]
    place = {"_file_hash": records["file_hash"], "_offset": records["offset"], "_version": version}
    return place | {"_file": records["file"], "_row": pa.array(numbers, pa.int64())}
