"""What R4 says of a record's form, as DuckDB's SQL over a staged row: whether it holds. Absent values hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cohortlake.core.catalog import Node
from cohortlake.core.catalog.resource import leaves
from cohortlake.core.forms import choices
from cohortlake.core.rules import (
    FHIR_FORMS,
    FHIR_ID,
    FHIR_LEAST,
    INK,
    Check,
    Form,
    HasRequired,
    NoEmptyList,
    OneType,
    Refers,
    ValuesWellFormed,
)
from cohortlake.core.sql import literal
from expectations.paths import element_sql, find

# Of a record's own server, of another one, contained (`#id`), or conditional (`Patient?identifier=...`).
ELSEWHERE = rf"#({INK})?|[A-Za-z][A-Za-z0-9+.\-]*:{INK}"
_Breaks = Callable[[str], str]


def form_sql(tree: Node, check: Check) -> str:
    """Whether a row keeps a rule of form."""
    rule = check.rule
    if not isinstance(rule, Form):
        raise TypeError(f"{type(rule).__name__} is not a rule of form")
    return f"NOT ({' OR '.join(_broken(tree, check.element, rule))})"


def _broken(tree: Node, path: str, rule: Form) -> Iterator[str]:
    if isinstance(rule, ValuesWellFormed):
        for at, leaf in leaves(tree):
            if leaf.type == rule.type and at != ("id",):
                yield _any(tree, at, lambda value: _is_malformed(value, rule.type))
    elif isinstance(rule, NoEmptyList):
        for at in _lists(tree):
            *above, last = at
            yield _any(tree, above, partial(_is_empty, last))
    elif isinstance(rule, Refers):
        pattern = literal(_reference(rule.targets))
        yield _any(tree, path.split("."), lambda value: f"NOT regexp_full_match({value}.reference, {pattern})")
    elif isinstance(rule, HasRequired):
        yield _any(tree, path.split("."), lambda value: _lacks(find(tree, path), value, rule.elements))
    elif isinstance(rule, OneType):
        *above, choice = path.split(".")
        node = find(tree, ".".join(above)) if above else tree
        names = choices(node)[choice.removesuffix("[x]")]
        yield _any(tree, above, lambda value: f"{' + '.join(_is_there(value, name) for name in names)} > 1")


def _any(tree: Node, path: Iterable[str], breaks: _Breaks) -> str:
    """Whether some value at a path breaks a rule; the row itself stands at an empty one."""
    at = ".".join(path)
    if not at:
        return f"coalesce({breaks('')}, false)"
    sql, is_list = element_sql(tree, at)
    if is_list:
        return f"coalesce(len(list_filter({sql}, lambda x: {breaks('x')})) > 0, false)"
    return f"coalesce({breaks(sql)}, false)"


def _is_empty(name: str, value: str) -> str:
    return f"len({_child(value, name)}) = 0"


def _child(value: str, name: str) -> str:
    return f'{value}."{name}"' if value else f'"{name}"'


def _is_there(value: str, name: str) -> str:
    return f"CAST({_child(value, name)} IS NOT NULL AS INTEGER)"


def _is_malformed(value: str, kind: str) -> str:
    if kind in FHIR_LEAST:
        return f"{value} < {FHIR_LEAST[kind]}"
    return f"NOT regexp_full_match({value}, {literal(FHIR_FORMS[kind])})"


def _reference(targets: tuple[str, ...]) -> str:
    types = "[A-Z][A-Za-z]+" if not targets or "Resource" in targets else "|".join(targets)
    return rf"{ELSEWHERE}|({types})(/{FHIR_ID}(/_history/{FHIR_ID})?|\?{INK})"


def _lacks(node: Node, value: str, names: Iterable[str]) -> str:
    """Whether an element that is there lacks one of its required elements."""
    absent = []
    for name in names:
        typed = choices(node)[name.removesuffix("[x]")] if name.endswith("[x]") else (name,)
        absent.append(" AND ".join(_is_absent(node.children[one], _child(value, one)) for one in typed))
    return f"{value} IS NOT NULL AND ({' OR '.join(f'({one})' for one in absent)})"


def _is_absent(node: Node, value: str) -> str:
    return f"coalesce(len({value}), 0) = 0" if node.is_list else f"{value} IS NULL"


def _lists(node: Node, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for child in node.children.values():
        if child.is_list:
            yield (*at, child.name)
        yield from _lists(child, (*at, child.name))
