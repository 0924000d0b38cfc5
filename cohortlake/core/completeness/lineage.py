"""Where a column of gold comes from in FHIR, as far as its view's path says it.

A path is followed through names, `first()`, `ofType(T)`, `getReferenceKey(T)` and `where(system = %constant)`; another
function ends it there. `iif(c, a, b)` is one of `a` and `b`, and codings of one system, else any, are of that system. A
column that a table's SQL makes comes from the column of that name in a table that it reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cohortlake.core.catalog import Catalog, Node, Table
from cohortlake.core.forms import choices

STEP = re.compile(r"\.?([A-Za-z]\w*)(?:\(([^()]*)\))?")
SYSTEM = re.compile(r"system = %(\w+)")
# Codings of one system where there are some, else all.
PREFERRED = re.compile(r"iif\((\w+)(\.where\(system = %\w+\))\.exists\(\), \1\2, \1\)")
KEY = "getResourceKey"


@dataclass(frozen=True)
class Source:
    """An element of a resource type: its `path` below the type, and the code system that the column takes of it.

    A path `a | b` is one of two elements. `root` is its first element, by the name under which silver's profile has it
    (`value[x]` for a choice).
    """

    resource: str
    path: str
    root: str
    system: str | None = None

    @property
    def name(self) -> str:
        """`Encounter.class.code`."""
        return f"{self.resource}.{self.path}"


@dataclass(frozen=True)
class Coded:
    """The system that a column's codes should be in, and the columns that say a code's system and its source's code."""

    system: str
    system_column: str | None
    source_column: str | None


def source_of(catalog: Catalog, table: str, column: str) -> Source | None:
    """The element that a column of gold is read from, or None where that cannot be told."""
    declared = catalog.tables[table]
    if declared.is_view:
        view = catalog.views[table]
        found = [path for name, path in _columns(view.get("select", [])) if name == column]
        # Of a view that takes a record and its parts, the record's own.
        paths = sorted(found, key=lambda path: path.count("."))
        return _one_of(view, paths[0], catalog.resources[str(view["resource"])]) if paths else None
    for needed in declared.needs:
        if needed in catalog.tables and column in catalog.tables[needed].columns:
            return source_of(catalog, needed, column)
    return None


def key_of(catalog: Catalog, table: str) -> str | None:
    """The column of a view's table that is its resource's own key."""
    if not catalog.tables[table].is_view:
        return None
    return next((name for name, path in _columns(catalog.views[table].get("select", [])) if path == f"{KEY}()"), None)


def coded(catalog: Catalog, table: str, column: str) -> Coded | None:
    """How a column of codes is to be read; None for one that need not be in a system of its own."""
    declared = catalog.tables[table]
    source = source_of(catalog, table, column)
    system = declared.preferred_system(column) or (source.system if source else None)
    if not system or not column.endswith("_code"):
        return None
    beside = f"{column.removesuffix('_code')}_system"
    first = source_of(catalog, table, "source_code") if "source_code" in declared.columns else None
    is_of_same = source is not None and first is not None and source.root == first.root
    return Coded(system, beside if beside in declared.columns else None, "source_code" if is_of_same else None)


def roots(catalog: Catalog, table: str) -> dict[str, str]:
    """The first elements that a table's columns are read from, by column."""
    found = {name: source_of(catalog, table, name) for name in catalog.tables[table].columns}
    return {name: source.root for name, source in found.items() if source}


def resource_of(catalog: Catalog, table: Table) -> str | None:
    """The resource type of a table that is made from a view."""
    return str(catalog.views[table.name]["resource"]) if table.is_view else None


def _columns(selects: list[Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Every column of a view with its path from the resource."""
    for select in selects:
        each = select.get("forEach") or select.get("forEachOrNull")
        inside = f"{within}.{each}".strip(".") if each else within
        for column in select.get("column", []):
            yield column["name"], f"{inside}.{column['path']}".strip(".")
        yield from _columns([*select.get("select", []), *select.get("unionAll", [])], inside)


def _one_of(view: Mapping[str, Any], path: str, tree: Node) -> Source | None:
    """The source of a path, of which `iif` may take one of several."""
    found = [_source(view, one, tree) for one in _results(PREFERRED.sub(r"\1\2", path))]
    sources = list(dict.fromkeys(source for source in found if source))
    if not sources or len(sources) == 1:
        return sources[0] if sources else None
    systems = {source.system for source in sources}
    paths = " | ".join(dict.fromkeys(source.path for source in sources))
    return Source(tree.name, paths, sources[0].root, systems.pop() if len(systems) == 1 else None)


def _results(path: str) -> list[str]:
    """What an expression may give: of `iif(c, a, b)` what its two branches may, of another one itself."""
    path = path.strip()
    if not path.startswith("iif("):
        return [path]
    parts, depth, start = [], 0, len("iif(")
    for at in range(start, len(path)):
        depth += {"(": 1, ")": -1}.get(path[at], 0)
        if depth < 0 or (path[at] == "," and depth == 0):
            parts.append(path[start:at])
            start = at + 1
        if depth < 0:
            break
    return [one for branch in parts[1:] for one in _results(branch)]


def _source(view: Mapping[str, Any], path: str, tree: Node) -> Source | None:
    names: list[str] = []
    system, at = None, 0
    while at < len(path) and (step := STEP.match(path, at)):
        name, inside = step.group(1), step.group(2)
        at = step.end()
        if inside is None:
            names.append(name)
        elif name == "ofType" and names:
            names[-1] += inside[:1].upper() + inside[1:]
        elif name == "where" and (constant := SYSTEM.fullmatch(inside.strip())):
            system = _constant(view, constant.group(1))
        elif name == "getReferenceKey":
            names.append("reference")
        elif name != "first":
            break
    typed = _typed(tree, names)
    if not typed:
        return None
    grouped = {element: f"{choice}[x]" for choice, elements in choices(tree).items() for element in elements}
    return Source(tree.name, ".".join(typed), grouped.get(typed[0], typed[0]), system if typed == names else None)


def _typed(tree: Node, names: list[str]) -> list[str]:
    """The beginning of a path that silver types."""
    found, node = [], tree
    for name in names:
        if name not in node.children:
            break
        node = node.children[name]
        found.append(name)
    return found


def _constant(view: Mapping[str, Any], name: str) -> str | None:
    for constant in view.get("constant", []):
        if constant.get("name") == name:
            return next((str(value) for key, value in constant.items() if key != "name"), None)
    return None
