"""The completeness profile, counted by DuckDB over the files: one scan a table, a cell a silo and column.

What counts here had no part in writing the files. Nothing but counts and reason codes leaves a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cohortlake.core.catalog import Catalog, Node
from cohortlake.core.completeness.cells import ABSENT, Cell, Zone
from cohortlake.core.completeness.lineage import Coded, coded, key_of, resource_of, roots
from cohortlake.core.completeness.presence import (
    WHY,
    codings_of,
    has_value,
    path_of,
    reason_of_code,
    reason_sql,
    reasons_sql,
    says_absent,
)
from cohortlake.core.forms import choices
from cohortlake.core.sql import identifier, literal

# Columns of silver that say what a record is, not what is known.
KEYS = frozenset({"id", "meta", "silo"})
WITH_WHY = "_with_why"


@dataclass(frozen=True)
class Column:
    """A column to be counted, in SQL: whether a row has it, else why not, its code, and what makes it coded, mapped."""

    name: str
    present: str
    reason: str = ""
    code: str = ""
    coded: str = ""
    mapped: str = ""

    def aggregates(self) -> list[str]:
        """Rows with it; rows without it by reason; different codes; coded and mapped rows."""
        absent = f"histogram(CASE WHEN NOT {self.present} THEN {self.reason} END)" if self.reason else "NULL"
        distinct = f"count(DISTINCT CASE WHEN {self.present} THEN {self.code} END)" if self.code else "NULL"
        both = [f"count(*) FILTER ({one})" if one else "NULL" for one in (self.coded, self.mapped)]
        return [f"count(*) FILTER ({self.present})", absent, distinct, *both]


def count(connection: Any, zone: Zone, table: str, relation: str, columns: Sequence[Column], silo: str) -> list[Cell]:
    """The cells of a relation (SQL that may follow FROM); `silo` is an expression that says whose a row is."""
    listed = ", ".join(part for column in columns for part in column.aggregates())
    sql = f"SELECT {silo} AS silo, count(*){', ' + listed if listed else ''} FROM {relation} GROUP BY 1 ORDER BY 1"  # noqa: S608
    cells = []
    for name, rows, *found in connection.execute(sql).fetchall():
        for at, column in enumerate(columns):
            present, absent, distinct, is_coded, mapped = found[5 * at : 5 * at + 5]
            reasons = dict(sorted((absent or {}).items()))
            cells.append(Cell(zone, str(name), table, column.name, rows, present, reasons, distinct, is_coded, mapped))
    return cells


def profile_resources(
    connection: Any, zone: Zone, tree: Node, relation: str, silo: str, paths: Mapping[str, str | None] | None = None
) -> list[Cell]:
    """The cells of a resource type in silver, or of a delivery of it: its top-level elements, choices as one.

    `paths` are further ones, below these or choices, with the code system that one is expected in, if any.
    """
    found = connection.sql(f"SELECT * FROM {relation} LIMIT 0")  # noqa: S608
    kinds = dict(zip(found.columns, found.types, strict=True))
    has_why = "_rest" in kinds
    typed = {name: kind for name, kind in kinds.items() if name not in KEYS and not name.startswith("_")}
    groups = _groups(tree, typed)
    columns = [_element(name, members, typed, has_why, tree.name) for name, members in groups.items()]
    for path, system in sorted((paths or {}).items()):
        columns += [one for one in _path(path, system, typed, groups, has_why) if one.name not in groups]
    wanted = ", ".join(identifier(name) for name in typed)
    why = f", {reasons_sql()} AS {WHY}" if has_why else ""
    inner = f"(SELECT {silo} AS _of{', ' + wanted if wanted else ''}{why} FROM {relation})"  # noqa: S608
    return count(connection, zone, tree.name, inner, columns, "_of")


def _groups(tree: Node, typed: Mapping[str, Any]) -> dict[str, list[str]]:
    """The top-level elements by the name of their choice, or their own."""
    of = {element: f"{choice}[x]" for choice, elements in choices(tree).items() for element in elements}
    groups: dict[str, list[str]] = {}
    for name in typed:
        groups.setdefault(of.get(name, name), []).append(name)
    return groups


def _element(name: str, members: Sequence[str], kinds: Mapping[str, Any], has_why: bool, resource: str) -> Column:
    there = f"({' OR '.join(has_value(identifier(one), kinds[one]) for one in members)})"
    # An Observation says in an element of its own why its value is absent.
    beside = ["dataAbsentReason"] if (resource, name) == ("Observation", "value[x]") else []
    reason = reason_sql(members, kinds, has_why)
    for one in beside:
        if one in kinds and (codings := codings_of(identifier(one), kinds[one])):
            reason = f"coalesce({reason}, CASE WHEN {codings}[1].code IS NOT NULL THEN {_of_coding(codings)} END)"
    codings = codings_of(identifier(members[0]), kinds[members[0]]) if len(members) == 1 else None
    return Column(name, there, reason, code=f"{codings}[1].code" if codings else "")


def _of_coding(codings: str) -> str:
    return reason_of_code(f"{codings}[1].system", f"{codings}[1].code")


def _path(
    path: str, system: str | None, kinds: Mapping[str, Any], groups: Mapping[str, Sequence[str]], has_why: bool
) -> list[Column]:
    """A path below a top-level element; nothing where it is one of these, or is not typed."""
    if " | " in path:
        parts = [_path(one, system, kinds, groups, has_why) for one in path.split(" | ")]
        return _any_of(path, [one for part in parts for one in part])
    root = path.partition(".")[0]
    reached = path_of(kinds, path)
    if reached is None or (path in groups and system is None):
        return [_element(path, groups[path], kinds, has_why, "")] if path in groups else []
    sql, kind = reached
    there = has_value(sql, kind)
    reason = reason_sql([root], kinds, has_why)
    parent = path_of(kinds, path.rpartition(".")[0]) if path.endswith(".code") else None
    codings = codings_of(*parent) if parent else None
    if not codings:
        return [Column(path, there, reason)]
    real = f"NOT {says_absent('c.system', 'c.code')} AND trim(c.code) <> ''"
    some = f"coalesce(len(list_filter({codings}, lambda c: {real})) > 0, false)"
    of_system = f"c.system = {literal(system)} AND trim(c.code) <> ''" if system else ""
    mapped = f"coalesce(len(list_filter({codings}, lambda c: {of_system})) > 0, false)" if system else ""
    return [Column(path, some, reason, f"{codings}[1].code", some if system else "", mapped)]


def _any_of(name: str, columns: Sequence[Column]) -> list[Column]:
    """Several columns as one, of which a row has any."""
    if not columns:
        return []
    there = " OR ".join(column.present for column in columns)
    reasons = ", ".join(column.reason for column in columns if column.reason)
    mapped = " OR ".join(column.mapped for column in columns) if all(column.mapped for column in columns) else ""
    return [
        Column(
            name, f"({there})", f"coalesce({reasons})" if reasons else "", "", f"({there})" if mapped else "", mapped
        )
    ]


def why_absent(connection: Any, tree: Node, relation: str, key: str, name: str) -> bool:
    """Make the table `name` (key, element, reason) of what a resource type's rows say is absent for a reason.

    `key` is the SQL of a row's key in gold. Gives whether there is any such row.
    """
    found = connection.sql(f"SELECT * FROM {relation} LIMIT 0")  # noqa: S608
    kinds = dict(zip(found.columns, found.types, strict=True))
    of = {element: f"{choice}[x]" for choice, elements in choices(tree).items() for element in elements}
    grouped = "".join(f" WHEN {literal(one)} THEN {literal(choice)}" for one, choice in of.items())
    element = f"CASE y.element{grouped} ELSE y.element END" if grouped else "y.element"
    parts = []
    if "_rest" in kinds:
        named = f"FROM {relation} WHERE contains(_rest, {literal(ABSENT)})"
        rows = f"SELECT {key} AS key, unnest({reasons_sql()}) AS y {named}"
        parts.append(f"SELECT key, {element} AS element, y.reason AS reason FROM ({rows})")  # noqa: S608
    if tree.name == "Observation" and "dataAbsentReason" in kinds:
        codings = codings_of("dataAbsentReason", kinds["dataAbsentReason"])
        if codings:
            said = f"FROM {relation} WHERE {codings}[1].code IS NOT NULL"
            parts.append(f"SELECT {key}, 'value[x]', {_of_coding(codings)} {said}")
    if not parts:
        return False
    made = " UNION ALL ".join(parts)
    pairs = f"SELECT key, element, any_value(reason) AS reason FROM ({made}) GROUP BY ALL"  # noqa: S608
    whys = f"SELECT key, map_from_entries(list((element, reason))) AS why FROM ({pairs}) GROUP BY key"  # noqa: S608
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {identifier(name)} AS {whys}")
    return bool(connection.execute(f"SELECT count(*) FROM {identifier(name)}").fetchone()[0])  # noqa: S608


def profile_table(
    connection: Any, catalog: Catalog, table: str, relation: str, reasons: Mapping[str, str] | None = None
) -> list[Cell]:
    """The cells of a table of gold; of one that does not say its rows' silo there are none.

    `reasons` names tables of `why_absent` by resource type.
    """
    declared = catalog.tables[table]
    found = connection.sql(f"SELECT * FROM {relation} LIMIT 0")  # noqa: S608
    kinds = dict(zip(found.columns, found.types, strict=True))
    if "silo" not in kinds:
        return []
    key, of = _reasons_of(catalog, table)
    why = (reasons or {}).get(of) if of and key in kinds else None
    if why:
        relation = f"(SELECT t.*, r.why AS {WITH_WHY} FROM {relation} AS t LEFT JOIN {identifier(why)} AS r ON r.key = t.{identifier(str(key))})"  # noqa: S608,E501
    read = roots(catalog, table)
    columns = [
        gold_column(name, kinds, coded(catalog, table, name), read.get(name) if why else None)
        for name in declared.columns
        if name in kinds and name != "silo"
    ]
    return count(connection, "gold", table, relation, columns, "silo")


def _reasons_of(catalog: Catalog, table: str) -> tuple[str | None, str | None]:
    """The column that is the key of a table's resources, and their type.

    A table made by SQL keeps the key of the first table that it reads.
    """
    declared = catalog.tables[table]
    if declared.is_view:
        return key_of(catalog, table), resource_of(catalog, declared)
    first = next((catalog.tables[name] for name in declared.needs if name in catalog.tables), None)
    if first is None or not first.is_view or len(declared.key) != 1:
        return None, None
    return declared.key[0], resource_of(catalog, first)


def gold_column(name: str, kinds: Mapping[str, Any], as_coded: Coded | None, root: str | None = None) -> Column:
    """A column of gold, of a table whose rows have the columns `kinds` (their DuckDB types by name)."""
    here = identifier(name)
    there = f"coalesce(trim({here}) <> '', false)" if kinds[name].id == "varchar" else f"({here} IS NOT NULL)"
    reasons = []
    stem, _, last = name.rpartition("_")
    system, code = f"{stem}_system", f"{stem}_code"
    if last in ("code", "system", "display") and system in kinds and code in kinds:
        absent = says_absent(identifier(system), identifier(code))
        there = f"({there} AND NOT {absent})"
        reasons.append(f"CASE WHEN {absent} THEN {reason_of_code(identifier(system), identifier(code))} END")
    if root:
        reasons.append(f"{WITH_WHY}[{literal(root)}]")
    reason = f"coalesce({', '.join(reasons)})" if reasons else ""
    is_coded = mapped = ""
    if as_coded:
        is_coded = mapped = there
        if as_coded.source_column in kinds:
            is_coded = f"({there} OR coalesce(trim({identifier(str(as_coded.source_column))}) <> '', false))"
        if as_coded.system_column in kinds:
            in_system = f"{identifier(str(as_coded.system_column))} = {literal(as_coded.system)}"
            mapped = f"({there} AND coalesce({in_system}, false))"
    return Column(name, there, reason, here if last == "code" else "", is_coded, mapped)
