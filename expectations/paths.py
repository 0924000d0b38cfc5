"""FHIR paths as DuckDB's SQL over a staged row. Casts are tried, and an index out of bounds is null."""

from __future__ import annotations

from cohortlake.core.catalog import Node
from cohortlake.core.checks import choice_elements
from spark_jobs.fhir_types import ARROW


def find(tree: Node, path: str) -> Node:
    """The node at a path."""
    node = tree
    for name in path.split("."):
        node = node.children[name]
    return node


def element_sql(tree: Node, path: str) -> tuple[str, bool]:
    """The expression of an element, and whether it is a list (an element within lists is one flat list)."""
    sql, is_list, node = "", False, tree
    for name in path.split("."):
        node = node.children[name]
        if not sql:
            sql = f'"{name}"'
        elif is_list:
            sql = f'list_transform({sql}, lambda e: e."{name}")'
            sql = f"flatten({sql})" if node.is_list else sql
        else:
            sql = f'{sql}."{name}"'
        is_list = is_list or node.is_list
    return sql, is_list


def present_sql(tree: Node, path: str) -> str:
    """Whether the element (of a choice: one of its types) has a value; an empty text or object is none."""
    names = choice_elements(tree, path) if path.endswith("[x]") else [path]
    found = []
    for name in names:
        sql, is_list = element_sql(tree, name)
        found.append(_has_some(find(tree, name), sql) if is_list else _has_value(find(tree, name), sql))
    return "(" + " OR ".join(found) + ")"


def held_sql(tree: Node, path: str) -> str:
    """Whether the column `_rest` holds extensions of an element of the root, which its own column then does not.

    So it is where all that was said of it is why it is missing (https://hl7.org/fhir/R4/extension-data-absent-reason.html).
    """
    names = choice_elements(tree, path) if path.endswith("[x]") else [path]
    elements = (f"{mark}{name}{step}" for name in names for mark in ("", "_") for step in ("", "[0]"))
    held = (f"json_exists(_rest, '$.{element}.extension[0].url')" for element in elements)
    return f"coalesce({' OR '.join(held)}, false)"


def _has_some(node: Node, sql: str, depth: int = 0) -> str:
    """Whether a list has a value in it; `depth` is how many lists it lies in."""
    one = f"v{depth}"
    return f"coalesce(len(list_filter({sql}, lambda {one}: {_has_one(node, one, depth + 1)})) > 0, false)"


def _has_value(node: Node, sql: str, depth: int = 0) -> str:
    return _has_some(node, sql, depth) if node.is_list else _has_one(node, sql, depth)


def _has_one(node: Node, sql: str, depth: int) -> str:
    if node.children:
        within = (_has_value(child, f'{sql}."{child.name}"', depth) for child in node.children.values())
        return "(" + " OR ".join(within) + ")"
    return f"{sql} IS NOT NULL" if node.type in ARROW else f"coalesce({sql} <> '', false)"


def text_sql(sql: str) -> str:
    """A text; an empty one is none."""
    return f"nullif({sql}, '')"


def first_day(text: str) -> str:
    """The first day that a FHIR date or dateTime may mean: `2021` is 2021-01-01."""
    padded = f"CASE length({text}) WHEN 4 THEN {text} || '-01-01' WHEN 7 THEN {text} || '-01' ELSE {text}[:10] END"
    return f"TRY_CAST({padded} AS DATE)"


def last_day(text: str) -> str:
    """The last day that a FHIR date or dateTime may mean: `2021-02` is 2021-02-28."""
    first = first_day(text)
    return (
        f"CASE length({text}) WHEN 4 THEN make_date(year({first}), 12, 31) WHEN 7 THEN last_day({first}) "
        f"ELSE {first} END"
    )


def period_seconds(period: str) -> str:
    """How long a period lasts at most: whole days where one of its ends has no time."""
    start, end = f"{period}.start", f'{period}."end"'
    exact = f"epoch(TRY_CAST({end} AS TIMESTAMPTZ)) - epoch(TRY_CAST({start} AS TIMESTAMPTZ))"
    days = f"86400 * date_diff('day', {first_day(start)}, {last_day(end)})"
    return f"CASE WHEN length({start}) > 10 AND length({end}) > 10 THEN {exact} ELSE {days} END"
