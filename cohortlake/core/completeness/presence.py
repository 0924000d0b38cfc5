"""Whether a column of silver has a value, and why not, in DuckDB's SQL: from the files' own types, not the catalog's.

FHIR: an element has a value or children; an extension alone is neither. A coding of the systems that say why there is
no value (data-absent-reason, null flavors) is no value, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cohortlake.core.completeness.cells import ABSENT, ABSENT_SYSTEM, FLAVORS, NULL_FLAVOR_SYSTEM, OTHER, REASONS
from cohortlake.core.sql import identifier, literal

# A column that `reasons_sql` makes: the elements of the row whose rest says why they are absent.
WHY = "_why"
BESIDE = frozenset({"extension", "modifierExtension", "id"})
SAYING = frozenset({"code", "display"})
CODING = frozenset({"system", "version", "code", "display", "userSelected"})


def _children(kind: Any) -> dict[str, Any]:
    return {name: child for name, child in kind.children if name not in BESIDE}


def _is_coding(kind: Any) -> bool:
    names = {name for name, _ in kind.children} if kind.id == "struct" else set()
    return {"system", "code"} <= names <= CODING | BESIDE


def _is_concept(kind: Any) -> bool:
    return kind.id == "struct" and any(name == "coding" for name, _ in kind.children)


def says_absent(system: str, code: str) -> str:
    """Whether a code says why there is no value. Null flavors that do say something (a trace) do not."""
    flavors = ", ".join(literal(flavor) for flavor in FLAVORS)
    return (
        f"coalesce({system} = {literal(ABSENT_SYSTEM)} "
        f"OR ({system} = {literal(NULL_FLAVOR_SYSTEM)} AND {code} IN ({flavors})), false)"
    )


def reason_of_code(system: str, code: str) -> str:
    """The reason that such a code gives: one of `REASONS`, or other."""
    flavors = " ".join(f"WHEN {literal(flavor)} THEN {literal(reason)}" for flavor, reason in FLAVORS.items())
    flavor = f"CASE {code} {flavors} ELSE {literal(OTHER)} END"
    return f"CASE WHEN {system} = {literal(NULL_FLAVOR_SYSTEM)} THEN {flavor} ELSE {_listed(code)} END"


def _listed(reason: str) -> str:
    """A reason of the code system's; another text, which could be a value, as `other`."""
    known = ", ".join(literal(one) for one in REASONS)
    return f"CASE WHEN {reason} IN ({known}) THEN {reason} WHEN {reason} IS NOT NULL THEN {literal(OTHER)} END"


def has_value(sql: str, kind: Any, depth: int = 0) -> str:
    """Whether an expression of a DuckDB type has a value somewhere in it; `depth` is how many lists it lies in."""
    one = f"v{depth}"
    if kind.id in ("list", "array"):
        inner = has_value(one, kind.children[0][1], depth + 1)
        return f"coalesce(len(list_filter({sql}, lambda {one}: {inner})) > 0, false)"
    if kind.id == "struct":
        # What a coding means is its code, or words for it: a system alone says nothing.
        ours = {name: child for name, child in _children(kind).items() if not _is_coding(kind) or name in SAYING}
        parts = [has_value(f"{sql}.{identifier(name)}", child, depth) for name, child in ours.items()]
        there = f"({' OR '.join(parts) or 'false'})"
        return f"({there} AND NOT {says_absent(f'{sql}.system', f'{sql}.code')})" if _is_coding(kind) else there
    if kind.id == "map":
        return f"coalesce(cardinality({sql}) > 0, false)"
    return f"coalesce(trim({sql}) <> '', false)" if kind.id == "varchar" else f"({sql} IS NOT NULL)"


def codings_of(sql: str, kind: Any) -> str | None:
    """The codings of a coding, a concept, or a list of them, as one list; None for a column of another type."""
    if kind.id in ("list", "array"):
        inner = kind.children[0][1]
        if _is_coding(inner):
            return sql
        return f"flatten(list_transform({sql}, lambda w: w.coding))" if _is_concept(inner) else None
    if _is_concept(kind):
        return f"{sql}.coding"
    return f"[{sql}]" if _is_coding(kind) else None


def path_of(columns: Mapping[str, Any], path: str) -> tuple[str, Any] | None:
    """The SQL and the type of what a dotted path reaches, through lists as one flat list; None where it ends before."""
    names = path.split(".")
    if names[0] not in columns:
        return None
    sql, kind, is_list = identifier(names[0]), columns[names[0]], False
    for name in names[1:]:
        inner = kind.children[0][1] if kind.id in ("list", "array") else kind
        found = dict(inner.children).get(name) if inner.id == "struct" else None
        if found is None:
            return None
        is_list = is_list or kind.id in ("list", "array")
        if kind.id in ("list", "array"):
            sql = f"list_transform({sql}, lambda w: w.{identifier(name)})"
            if found.id in ("list", "array"):
                sql, kind = f"flatten({sql})", found
            else:
                kind = _ListOf(found)
        else:
            sql, kind = f"{sql}.{identifier(name)}", found
    return sql, kind


class _ListOf:
    """The type of a list, as DuckDB's types say it of themselves."""

    id = "list"

    def __init__(self, inner: Any) -> None:
        self.children = [("child", inner)]


def reasons_sql(rest: str = "_rest") -> str:
    """The elements of a row for which its rest has a data-absent-reason, each with the reason: a list of structs.

    The rest is parsed once a row, and only where it names the extension.
    """
    entries = f"map_entries(TRY_CAST(TRY_CAST({rest} AS JSON) AS MAP(VARCHAR, JSON)))"
    naming = f"list_filter({entries}, lambda e: contains(CAST(e.value AS VARCHAR), {literal(ABSENT)}))"
    url, code = f'"url":"{ABSENT}"', '"valueCode":"([^"]*)"'
    text = "CAST(e.value AS VARCHAR)"
    after, before = (literal(f"{url},{code}"), literal(f"{code},{url}"))
    found = f"coalesce(nullif(regexp_extract({text}, {after}, 1), ''), regexp_extract({text}, {before}, 1))"
    return (
        f"CASE WHEN contains({rest}, {literal(ABSENT)}) THEN list_transform({naming}, "
        f"lambda e: {{'element': ltrim(e.key, '_'), 'reason': {_listed(found)}}}) END"
    )


def reason_sql(elements: Iterable[str], columns: Mapping[str, Any], has_why: bool) -> str:
    """Why an element (of a choice: each of its types) has no value, as far as the row says it; else null."""
    found = []
    for name in elements:
        kind, sql = columns[name], identifier(name)
        codings = codings_of(sql, kind)
        if codings:
            absent = f"list_filter({codings}, lambda c: {says_absent('c.system', 'c.code')})[1]"
            why = reason_of_code(f"{absent}.system", f"{absent}.code")
            found.append(f"CASE WHEN {absent} IS NOT NULL THEN {why} END")
        typed = kind.children[0][1] if kind.id in ("list", "array") else kind
        if typed.id == "struct" and any(child == "extension" for child, _ in typed.children):
            first = f"{sql}[1]" if kind.id in ("list", "array") else sql
            why = f"list_filter({first}.extension, lambda e: e.url = {literal(ABSENT)})[1].valueCode"
            found.append(_listed(why))
        if has_why:
            found.append(f"list_filter({WHY}, lambda y: y.element = {literal(name)})[1].reason")
    return f"coalesce({', '.join(found)})" if found else "CAST(NULL AS VARCHAR)"
