"""The task of `standardise` that types FHIR: JSON of one resource type, from row groups, to one part of silver."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.catalog import Node
from cohortlake.core.readers.fhir_json import BlockReader
from cohortlake.core.terminology.translate import Translator
from spark_jobs import delta
from spark_jobs.fhir_types import LAKE_FIELDS, PARTITION, UNMAPPED, fhir_schema, with_intervals
from spark_jobs.parallel import Unit
from spark_jobs.terminology import map_codings

REJECTED = pa.schema(
    [
        (name, pa.int64() if name == "offset" else pa.string())
        for name in ("file", "file_hash", "offset", "id", "reason")
    ]
)
# What is read of a record. Where a format was converted, there is besides whether it was told only in passing, and the
# codes that no map knew.
COLUMNS = ["file", "file_hash", "file_modified_at", "offset", "payload"]
PASSING, CODES = "is_passing", "codes"
NO_MAPS = Translator(())
# A version that starts so is older than every one that starts with a year.
WEAK = "."


def record_version(last_updated: str | None, version_id: str | None) -> str:
    """The part of a version key that the record itself gives: its time in UTC, then its version number."""
    moment = ""
    if last_updated:
        try:
            parsed = datetime.datetime.fromisoformat(last_updated)
            parsed = parsed.replace(tzinfo=parsed.tzinfo or datetime.UTC).astimezone(datetime.UTC)
            moment = parsed.strftime("%Y-%m-%dT%H:%M:%S.%f")
        except ValueError:
            moment = ""
    number = version_id or ""
    return f"{moment}|{number.zfill(12) if number.isdigit() else number}"


def _same(column: pa.ChunkedArray) -> Any:
    """The column, or the one value that all its rows have: text is joined to one value twice as fast."""
    values = column.unique()
    return values[0] if len(values) == 1 else column


def _versions(meta: pa.ChunkedArray, records: pa.Table) -> pa.Array:
    """A version key a row: comparable as text, and the same whatever the order of arrival.

    The record's own time (its file's where it has none) and number, then its file's time, then its place, so that two
    rows are never equal. What was told in passing is older than whatever was not.
    """
    updated, number = pc.struct_field(meta, "lastUpdated"), pc.struct_field(meta, "versionId")
    modified = _same(records["file_modified_at"].cast(pa.timestamp("s")))
    modified = pc.strftime(modified, format="%Y-%m-%dT%H:%M:%S")
    if updated.null_count == len(updated) and number.null_count == len(number):
        own: Any = pc.binary_join_element_wise(modified, "", "|")
    else:
        pairs = zip(updated.to_pylist(), number.to_pylist(), strict=True)
        own = pa.array([record_version(*pair) for pair in pairs], pa.string())
        own = pc.if_else(pc.starts_with(own, "|"), pc.binary_join_element_wise(modified, own, ""), own)
    place = pc.utf8_lpad(records["offset"].cast(pa.string()), 15, "0")
    file = _same(records["file_hash"].cast(pa.string()))
    version = pc.binary_join_element_wise(own, modified, file, place, "|")
    if PASSING not in records.column_names:
        return version
    return pc.if_else(records[PASSING], pc.binary_join_element_wise(WEAK, version, ""), version)


def _shown_type(value: str | None) -> str:
    return value if value and re.fullmatch(r"[A-Za-z]{1,40}", value) else "(none)" if value is None else "(not a name)"


def _rejected(records: pa.Table, reasons: dict[int, str], ids: dict[int, str | None]) -> pa.Table:
    places = pa.array(sorted(reasons), pa.int64())
    taken = records.select(["file", "file_hash", "offset"]).take(places)
    taken = taken.cast(pa.schema([REJECTED.field(name) for name in taken.column_names]))
    return taken.append_column("id", pa.array([ids.get(i) for i in sorted(reasons)], pa.string())).append_column(
        "reason", pa.array([reasons[i] for i in sorted(reasons)], pa.string())
    )


def _typed(records: pa.Table, tree: Node, reader: BlockReader, unexpected: Counter[str]) -> tuple[pa.Table, pa.Table]:
    """Rows of the silver table, and the rejected records."""
    wanted, schema = tree.type, fhir_schema(tree)
    parsed = reader.parse(records["payload"].combine_chunks())
    unexpected.update(parsed.unexpected)
    table, kept, rest, reasons = parsed.table, parsed.kept, parsed.rest, dict(parsed.bad)
    ids: dict[int, str | None] = {}
    is_wanted = pc.fill_null(pc.equal(table["resourceType"], wanted), False)
    if not pc.all(is_wanted).as_py() and table.num_rows:
        for index in pc.indices_nonzero(pc.invert(is_wanted)).to_pylist():
            place = int(kept[index])
            found = _shown_type(table["resourceType"][index].as_py())
            reasons[place] = f"resource type: {found} in a feed of {wanted}"
            ids[place] = table["id"][index].as_py()
        table, rest = table.filter(is_wanted), rest.filter(is_wanted.combine_chunks())
        kept = kept[is_wanted.to_numpy().astype(bool)]
    rows = records.drop_columns(["payload"])
    if len(kept) < rows.num_rows:
        rows = rows.take(pa.array(kept, pa.int64()))
    lake = [
        _versions(table["meta"], rows),
        rows["file_hash"].cast(pa.string()),
        rows["offset"],
        rows[CODES] if CODES in rows.column_names else pa.nulls(table.num_rows, UNMAPPED),
        rest,
    ]
    names = [*schema.names, *(field.name for field in LAKE_FIELDS)]
    rows = pa.table([*(table[name] for name in schema.names), *lake], names=names)
    return with_intervals(tree, rows), _rejected(records, reasons, ids)


def _read(unit: Unit) -> Iterator[pa.Table]:
    for path, groups in unit["sources"]:
        source = pq.ParquetFile(path, read_dictionary=["file", "file_hash"])
        wanted = [name for name in source.schema_arrow.names if name in (*COLUMNS, PASSING, CODES)]
        for group in groups if groups is not None else range(source.num_row_groups):
            yield source.read_row_group(group, columns=wanted)


def standardise_part(unit: Unit, tree: Node, translator: Translator = NO_MAPS) -> Unit:
    """One task. Gives the silver part, the file of rejected records, and the values that silver does not type.

    The codings that the concept maps added, and the codes that they lack, are counted by map.

    `sources` of the unit are files with the row groups to read of each, all where they are None.
    """
    rows: list[pa.Table] = []
    rejects: list[pa.Table] = []
    unexpected: Counter[str] = Counter()
    reader = BlockReader(fhir_schema(tree).insert(0, pa.field("resourceType", pa.string())))
    for records in _read(unit):
        typed, rejected = _typed(records, tree, reader, unexpected)
        rows.append(typed)
        rejects.append(rejected)
    good, refused = pa.concat_tables(rows), pa.concat_tables(rejects)
    part, path = None, None
    mapped = map_codings(good, tree, translator)
    if good.num_rows:
        part = delta.write_part(Path(unit["table"]), mapped.rows, {PARTITION: unit["silo"]})
    if refused.num_rows:
        path = Path(unit["rejects"]) / delta.part_path({})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(refused, path)
    return {
        "part": asdict(part) if part else None,
        "rows": good.num_rows,
        "rejects": str(path) if path else None,
        "rejected": refused.num_rows,
        "unexpected": dict(unexpected),
        "mapped": dict(mapped.added),
        "unmapped": dict(mapped.unknown),
    }
