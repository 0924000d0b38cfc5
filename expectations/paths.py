"""FHIR paths as DuckDB's SQL over a staged row. Casts are tried, and an index out of bounds is null."""

from __future__ import annotations

from cohortlake.core.catalog import Node
from cohortlake.core.checks import choice_elements
from cohortlake.core.sql import literal
from spark_jobs.fhir_types import ARROW

EXTENSIONS = ("extension", "modifierExtension")


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


# Code systems whose codes say only why there is no value: a concept of them has none.
# https://hl7.org/fhir/R4/codesystem-data-absent-reason.html, https://hl7.org/fhir/R4/v3/NullFlavor/cs.html
REASONS = (
    "http://terminology.hl7.org/CodeSystem/data-absent-reason",
    "http://hl7.org/fhir/data-absent-reason",
    "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
    "http://hl7.org/fhir/v3/NullFlavor",
)


def _elements(tree: Node, path: str) -> list[str]:
    """The typed elements that a path stands for: a choice (`value[x]`) stands for several."""
    return choice_elements(tree, path) if path.endswith("[x]") else [path]


def present_sql(tree: Node, path: str) -> str:
    """Whether the element (of a choice: one of its types) has a value; an empty text or object is none."""
    found = []
    for name in _elements(tree, path):
        sql, is_list = element_sql(tree, name)
        found.append(_has_some(find(tree, name), sql) if is_list else _has_value(find(tree, name), sql))
    return "(" + " OR ".join(found) + ")"


def answered_sql(tree: Node, path: str) -> str:
    """True where the element has a value, or says why it has none; else null.

    What it says is an extension of the element, or of one that it lies in, which its column or `_rest` then holds
    (https://hl7.org/fhir/R4/extension-data-absent-reason.html), or a code of `REASONS`. `_rest` is read only of rows
    without a value, since each look parses it.
    """
    said = [f"len(list_filter({one}, lambda e: e.url IS NOT NULL)) > 0" for one in _typed_extensions(tree, path)]
    said += [f"len(json_extract(_rest, '{at}.extension[*].url')) > 0" for at in _extended(tree, path)]
    coded = []
    for name in _elements(tree, path):
        sql, is_list = element_sql(tree, name)
        if codings := _codings(find(tree, name), sql, is_list):
            coded.append(f"len(list_filter({codings}, lambda c: {_is_reason('c')})) > 0")
    reasons = " OR ".join(f"coalesce({one}, false)" for one in (*said, *coded))
    return f"CASE WHEN {present_sql(tree, path)} THEN true WHEN {reasons} THEN true END"


def _extended(tree: Node, path: str) -> list[str]:
    """Where in `_rest` extensions of an element may stand, and of those that it lies in, as JSON paths."""
    found: dict[str, None] = {}
    for name in _elements(tree, path):
        node, at = tree, "$"
        for step in name.split("."):
            node = node.children[step]
            each = "[*]" if node.is_list else ""
            # Beside a primitive, its extensions stand under its name with an underscore.
            mark = "_" if not node.children else ""
            found[f"{at}.{mark}{step}{each}"] = None
            at = f"{at}.{step}{each}"
    return list(found)


def _typed_extensions(tree: Node, path: str) -> list[str]:
    """The columns of extensions of an element, and of those that it lies in, where silver types them."""
    found: dict[str, None] = {}
    for name in _elements(tree, path):
        steps = name.split(".")
        for depth in range(1, len(steps) + 1):
            at = ".".join(steps[:depth])
            extension = find(tree, at).children.get("extension")
            if extension is not None and "url" in extension.children:
                found[element_sql(tree, f"{at}.extension")[0]] = None
    return list(found)


def _codings(node: Node, sql: str, is_list: bool) -> str | None:
    """All codings of a Coding or CodeableConcept as one list; None for any other type."""
    if _is_coding(node):
        return sql if is_list else f"[{sql}]"
    if node.type == "CodeableConcept" and "coding" in node.children and _is_coding(node.children["coding"]):
        return f"flatten(list_transform({sql}, lambda e: e.coding))" if is_list else f"{sql}.coding"
    return None


def _is_reason(coding: str) -> str:
    return f"{coding}.code IS NOT NULL AND {coding}.system IN ({', '.join(literal(one) for one in REASONS)})"


def _has_some(node: Node, sql: str, depth: int = 0) -> str:
    """Whether a list has a value in it; `depth` is how many lists it lies in."""
    one = f"v{depth}"
    return f"coalesce(len(list_filter({sql}, lambda {one}: {_has_one(node, one, depth + 1)})) > 0, false)"


def _has_value(node: Node, sql: str, depth: int = 0) -> str:
    return _has_some(node, sql, depth) if node.is_list else _has_one(node, sql, depth)


def _has_one(node: Node, sql: str, depth: int) -> str:
    if node.children:
        # An extension says something about a value, and is none; but an Extension may be made of others.
        valued = [child for child in node.children.values() if node.type == "Extension" or child.name not in EXTENSIONS]
        has = "(" + (" OR ".join(_has_value(one, f'{sql}."{one.name}"', depth) for one in valued) or "false") + ")"
        return f"({has} AND NOT coalesce({_is_reason(sql)}, false))" if _is_coding(node) else has
    return f"{sql} IS NOT NULL" if node.type in ARROW else f"coalesce({sql} <> '', false)"


def _is_coding(node: Node) -> bool:
    return node.type == "Coding" and {"system", "code"} <= node.children.keys()


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
