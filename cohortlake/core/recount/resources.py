"""The recount of FHIR JSON against silver's typed rows: each record is there once, with the content that it came with.

DuckDB's own JSON reader reads the records into the types that silver declares, and the two are compared element by
element; what silver keeps as text (`_rest`) is compared as JSON. A row that does not agree so is compared once more, as
whole JSON in Python, where numbers are equal by value; codings that a concept map added (they say so) do not count.

What it does not see: an element below the root that silver does not type and that was lost with all else right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cohortlake.core.catalog.resource import Node
from cohortlake.core.recount.tally import Tally, tally_of
from cohortlake.core.sql import identifier, literal

TYPES = {
    "boolean": "BOOLEAN",
    "integer": "INTEGER",
    "positiveInt": "INTEGER",
    "unsignedInt": "INTEGER",
    "decimal": "DOUBLE",
}
PLACE = ("file_hash", "place", "id")


@dataclass
class Compared:
    """Records and rows, as tallies: those that must be rows, and the rows that are; `refused` are none. By their texts
    alone, `payloads` tallies the records. `read_twice` counts those that were compared once more, in Python.
    """

    records: int = 0
    refused: int = 0
    must: Tally = field(default_factory=Tally)
    does: Tally = field(default_factory=Tally)
    payloads: Tally = field(default_factory=Tally)
    problems: list[str] = field(default_factory=list)
    read_twice: int = 0


def compare_json(connection: Any, tree: Node, added: str) -> Compared:
    """Compare the tables `records` (file_hash, offset, payload: JSON) and `rows` (silver's columns) of a connection.

    The table `refused` (file_hash, offset, id) has the records that are no rows. `added` is the URL of the extension of
    codings that are not the record's own.
    """
    _tell_json(connection, tree)
    found = _compared(connection, tree, added, "records", ["payload"], lambda row: _loaded(row["payload"]))
    found.payloads = tally_of(connection, "records", "md5_number_upper(payload)")
    return found


def compare_rows(connection: Any, tree: Node, added: str) -> Compared:
    """Compare the tables `expected` (silver's columns, typed elsewhere) and `rows`; else as `compare_json`."""
    _tell_rows(connection, tree)
    columns = list(tree.children)
    return _compared(connection, tree, added, "expected", columns, lambda row: _resource(tree.name, row))


def _compared(
    connection: Any, tree: Node, added: str, source: str, columns: Sequence[str], read: Callable[[Any], Any]
) -> Compared:
    found = Compared()
    _pair(connection, tree)
    one = connection.execute
    found.records = one(f"SELECT count(*) FROM {source}").fetchone()[0]
    found.refused = one("SELECT count(*) FROM pairs WHERE is_refused").fetchone()[0]
    listed = one("SELECT count(*) FROM refused").fetchone()[0]
    if listed != found.refused:
        found.problems.append(f"{listed:,} records were refused, of {found.refused:,} there is no row")
    place = "file_hash, place, id"
    agreed = tally_of(connection, "(FROM pairs WHERE is_same)", f"hash({place}, came)")
    found.must, found.does = agreed, agreed
    odd = one(f"SELECT {place}, record, row FROM pairs WHERE NOT is_same AND NOT is_refused").fetchall()
    # A record whose place and id another has is paired with each of the rows that have them.
    records, rows = ({pair[n]: tuple(pair[:3]) for pair in odd if pair[n] is not None} for n in (3, 4))
    found.read_twice = len(records)
    came, went = (
        _numbered(connection, source, columns, records),
        _numbered(connection, "rows", [*tree.children, "_rest"], rows),
    )
    for number, where in records.items():
        found.must += _hashed(where, _canonical(read(came[number]), added))
    for number, where in rows.items():
        found.does += _hashed(where, _canonical(_resource(tree.name, went[number]), added))
    return found


def _hashed(where: Sequence[Any], text: str) -> Tally:
    return Tally(1, int.from_bytes(hashlib.sha256("\0".join([*map(str, where), text]).encode()).digest()[:8], "big"))


def _tell_json(connection: Any, tree: Node) -> None:
    """Table `told`: the records by place and id, with their root elements' names and the hash of each typed one."""
    shape = literal(json.dumps({name: _shape(child) for name, child in tree.children.items()}))
    came = ", ".join(f"hash((r).{identifier(name)}) AS h{n}" for n, name in enumerate(tree.children))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE told AS
        SELECT *, count(*) OVER (PARTITION BY file_hash, place, id) AS times FROM (
          SELECT number, file_hash, "offset" AS place, json_extract_string(valid, '$.id') AS id, valid, keys, {came}
          FROM (SELECT *, json_keys(valid) AS keys, json_transform(valid, {shape}) AS r FROM (
            SELECT *, CASE WHEN json_valid(payload) THEN payload END AS valid, row_number() OVER () AS number
            FROM records)))"""
    )


def _tell_rows(connection: Any, tree: Node) -> None:
    """Table `told`, of rows that were typed elsewhere."""
    came = ", ".join(f"hash({_cast(child)}) AS h{n}" for n, child in enumerate(tree.children.values()))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE told AS
        SELECT *, count(*) OVER (PARTITION BY file_hash, place, id) AS times FROM (
          SELECT row_number() OVER () AS number, _file_hash AS file_hash, _offset AS place, id, NULL::JSON AS valid,
            []::VARCHAR[] AS keys, {came} FROM expected)"""
    )


def _pair(connection: Any, tree: Node) -> None:
    """Table `pairs`: a record of `told` and its row (their numbers); `is_same` where nothing more is to be asked.

    A record is paired by its place and id, and stands for itself where no other has these.
    """
    names = list(tree.children)
    went = ", ".join(f"hash({_cast(child)}) AS h{n}" for n, child in enumerate(tree.children.values()))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE made AS
        SELECT *, count(*) OVER (PARTITION BY file_hash, place, id) AS times FROM (
          SELECT row_number() OVER () AS number, _file_hash AS file_hash, _offset AS place, id, _rest AS rest,
            CASE WHEN _rest IS NOT NULL THEN json_keys(_rest) END AS kept, {went} FROM rows)"""
    )
    sides = (
        ", ".join(
            f"CASE WHEN list_contains(m.kept, {literal(name)}) THEN NULL ELSE {side}.h{n} END"
            for n, name in enumerate(names)
        )
        for side in "tm"
    )
    known = f"[{', '.join(map(literal, ['resourceType', *names]))}]"
    is_kept = "coalesce(list_contains(m.kept, k), false)"
    lost = f"list_filter(t.keys, lambda k: NOT list_contains({known}, k) AND NOT {is_kept})"
    text = "list_transform(m.kept, lambda k: json_extract({}, '$.\"' || k || '\"')::VARCHAR)"
    first, second = sides
    differs = f"{text.format('t.valid')} IS DISTINCT FROM {text.format('m.rest')}"
    same = f"t.times = 1 AND m.times = 1 AND hash({first}) = hash({second}) AND len({lost}) = 0"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE pairs AS
        SELECT coalesce(t.file_hash, m.file_hash) AS file_hash, coalesce(t.place, m.place) AS place,
          coalesce(t.id, m.id) AS id, t.number AS record, m.number AS row, hash({first}) AS came,
          coalesce({same} AND CASE WHEN m.kept IS NULL THEN true ELSE NOT ({differs}) END, false) AS is_same,
          m.number IS NULL AND EXISTS (SELECT 1 FROM refused f WHERE f.file_hash = t.file_hash AND f."offset" = t.place
            AND (f.id IS NULL OR t.id IS NULL OR f.id = t.id)) AS is_refused
        FROM told t FULL JOIN made m
          ON t.file_hash = m.file_hash AND t.place = m.place AND t.id IS NOT DISTINCT FROM m.id"""
    )


def _shape(node: Node) -> Any:
    """An element as `json_transform` is told it."""
    inner: Any = {name: _shape(child) for name, child in node.children.items()} or TYPES.get(node.type, "VARCHAR")
    return [inner] if node.is_list else inner


def _type(node: Node) -> str:
    fields = ", ".join(f"{identifier(name)} {_type(child)}" for name, child in node.children.items())
    inner = f"STRUCT({fields})" if fields else TYPES.get(node.type, "VARCHAR")
    return f"{inner}[]" if node.is_list else inner


def _has_decimal(node: Node) -> bool:
    return node.type == "decimal" or any(_has_decimal(child) for child in node.children.values())


def _cast(node: Node) -> str:
    """A column of silver, its decimals as JSON numbers are read."""
    return f"CAST({identifier(node.name)} AS {_type(node)})" if _has_decimal(node) else identifier(node.name)


def _numbered(connection: Any, table: str, columns: Sequence[str], numbers: Iterable[int | None]) -> dict[int, Any]:
    """Some rows of a table as Python has them, by their numbers."""
    wanted = sorted({number for number in numbers if number is not None})
    if not wanted:
        return {}
    picked = f"SELECT {', '.join(map(identifier, columns))}, row_number() OVER () AS number FROM {table}"
    found = connection.execute(f"FROM ({picked}) WHERE number IN ({', '.join(map(str, wanted))})").arrow().read_all()
    return {row.pop("number"): row for row in found.to_pylist()}


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        return text


def _resource(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of silver as the resource that it holds."""
    made = {"resourceType": kind} | {name: _without_nulls(value) for name, value in row.items() if value is not None}
    rest = made.pop("_rest", None)
    return made | (_loaded(rest) if rest else {})


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _canonical(value: Any, added: str) -> str:
    """One text for all JSON that says the same."""
    return json.dumps(_plain(value, added), sort_keys=True, ensure_ascii=False)


def _plain(value: Any, added: str) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item, added) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, added) for item in value if not _is_added(item, added)]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    number = Decimal(value).normalize()
    return f"\x00{number:f}"


def _is_added(item: Any, added: str) -> bool:
    extensions = item.get("extension") if isinstance(item, dict) else None
    return isinstance(extensions, list) and any(isinstance(one, dict) and one.get("url") == added for one in extensions)
