"""One display a code: what gold calls a code is the same whoever sent it.

A display that a concept map declares comes first, being the code system's own words, checked by the map's steward. Else
it is the one that most codings in silver have; of two as frequent, the first in the order of their characters. So the
order of arrival does not matter. The sender's own words stay in silver, and in gold as `source_display`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog import Node
from cohortlake.core.gold import delta_connection
from cohortlake.core.sql import identifier, literal
from cohortlake.core.terminology.concept_maps import ConceptMap

SCHEMA = pa.schema([("system", pa.string()), ("code", pa.string()), ("display", pa.string())])
COUNTED = pa.schema([*SCHEMA, ("rows", pa.int64())])
NONE = SCHEMA.empty_table()
BATCH = 50_000


def displays(silver: Mapping[Path, tuple[int, Node]], concept_maps: Iterable[ConceptMap]) -> pa.Table:
    """The display of each code that has one (system, code, display).

    `silver` has for each table its version, and the elements that views touch: only codings among these are read.
    """
    connection = delta_connection()
    counted = [part for table, (at, tree) in silver.items() for part in _of_table(connection, table, at, tree)]
    return most_frequent(pa.concat_tables(counted) if counted else COUNTED.empty_table(), declared(concept_maps))


def declared(concept_maps: Iterable[ConceptMap]) -> dict[tuple[str, str], str]:
    """The displays that concept maps give to their targets, by system and code; where two differ, the first by name."""
    found: dict[tuple[str, str], str] = {}
    for one in sorted(concept_maps, key=lambda one: one.name):
        for group in one.groups:
            for target in group.codes.values():
                if target.code and target.display:
                    found.setdefault((group.target, target.code), target.display)
    return found


def most_frequent(counted: pa.Table, known: Mapping[tuple[str, str], str]) -> pa.Table:
    """One display for each system and code, of rows (system, code, display, rows); `known` ones come first."""
    total = counted.group_by(["system", "code", "display"]).aggregate([("rows", "sum")])
    ordered = total.sort_by([("rows_sum", "descending"), ("display", "ascending")])
    chosen = dict(known)
    for row in ordered.select(SCHEMA.names).to_pylist():
        chosen.setdefault((row["system"], row["code"]), row["display"])
    rows = [(system, code, display) for (system, code), display in sorted(chosen.items())]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)


def with_displays(rows: pa.Table, columns: Mapping[str, tuple[str, str]], displays: pa.Table) -> pa.Table:
    """Rows whose display columns have the lake's display of their code; a code without a system keeps the sender's."""
    if not displays.num_rows or not rows.num_rows:
        return rows
    known = _joined(displays["system"], displays["code"]).combine_chunks()
    for name, (code, system) in columns.items():
        at = pc.index_in(_joined(rows[system], rows[code]), known)
        found = displays["display"].combine_chunks().take(at.combine_chunks())
        made = pc.coalesce(pa.chunked_array([found]), rows[name].cast(pa.string()))
        rows = rows.set_column(rows.column_names.index(name), name, made)
    return rows


def _joined(system: pa.ChunkedArray, code: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(system.cast(pa.string()), code.cast(pa.string()), "\x1f")


def _of_table(connection: Any, table: Path, version: int, tree: Node) -> Iterator[pa.Table]:
    """The codings of a silver table's live rows that views show, counted: those that have all of a coding's parts."""
    scan = f"delta_scan({literal(table)}, version={version})"
    schema = connection.sql(f"FROM {scan} LIMIT 0").arrow().schema
    kinds = {field.name: field.type for field in schema}
    columns = [
        sql
        for name, node in tree.children.items()
        if name in kinds and (sql := _only_codings(identifier(name), kinds[name], node, 0))
    ]
    if columns:
        for batch in connection.execute(f"SELECT {', '.join(columns)} FROM {scan}").fetch_record_batch(BATCH):  # noqa: S608
            yield from (_counted(coding) for column in batch.columns for coding in _codings(column))


def _only_codings(value: str, kind: pa.DataType, node: Node, depth: int) -> str | None:
    """The SQL of a value with nothing but the codings inside it that a view touches, or None where there are none."""
    if pa.types.is_list(kind):
        item = f"x{depth}"
        inner = _only_codings(item, kind.value_type, node, depth + 1)
        return inner and f"list_transform({value}, lambda {item}: {inner})"
    if not pa.types.is_struct(kind):
        return None
    inside = {field.name: field.type for field in kind}
    if set(SCHEMA.names) <= set(inside) and "display" in node.children:
        parts = SCHEMA.names
        packed = [f"{identifier(part)} := {value}.{identifier(part)}" for part in parts]
    else:
        found = {
            name: _only_codings(f"{value}.{identifier(name)}", inside[name], child, depth)
            for name, child in node.children.items()
            if name in inside
        }
        packed = [f"{identifier(name)} := {sql}" for name, sql in found.items() if sql]
    return f"struct_pack({', '.join(packed)})" if packed else None


def _counted(codings: pa.Table) -> pa.Table:
    told = pc.and_(pc.and_(codings["system"].is_valid(), codings["code"].is_valid()), codings["display"].is_valid())
    grouped = codings.filter(told).group_by(SCHEMA.names).aggregate([([], "count_all")])
    return grouped.rename_columns([*SCHEMA.names, "rows"]).cast(COUNTED)


def _codings(column: pa.Array) -> Iterator[pa.Table]:
    """The codings inside a column of lists and structs, as tables of system, code, display."""
    if pa.types.is_list(column.type):
        yield from _codings(column.flatten())
    elif {field.name for field in column.type} == set(SCHEMA.names):
        told = column.filter(column.is_valid())
        yield pa.table({name: told.field(name) for name in SCHEMA.names}).cast(SCHEMA)
    else:
        told = column.filter(column.is_valid())
        for index in range(column.type.num_fields):
            yield from _codings(told.field(index))
