"""A declared mapping as DuckDB's SQL, in two layers: each leaf's expression once, the resource's columns over them.

The rules of the template stand in `cohortlake.core.catalog.mapping`. Two more columns come with the resource's own:
`_unmapped` (codes that a map lacks) and `_bad` (values that are not of their element's type, by name): nothing is cast
away, a value that cannot be cast puts its row into `_bad`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cohortlake.core.catalog.mapping import CodeMap, Mapping
from cohortlake.core.catalog.resource import Node
from cohortlake.core.errors import CatalogError
from cohortlake.core.sql import literal

EACH = "$each"
NULL = "CAST(NULL AS VARCHAR)"
UNMAPPED_TYPE = "STRUCT(map VARCHAR, code VARCHAR)[]"


def struct(fields: Iterable[tuple[str, str]]) -> str:
    """A struct of named expressions."""
    return "{" + ", ".join(f"{literal(name)}: {sql}" for name, sql in fields) + "}"


def unpivoted(mapping: Mapping, *, with_empty: bool = False) -> str:
    """The rows of the view `source` that a mapping reads: with `unpivot` one for each of its values that is there."""
    if not mapping.unpivot:
        return "source"
    pairs = (
        struct([("_name", literal(name)), ("_value", f"CAST(({sql}) AS VARCHAR)")])
        for name, sql in mapping.unpivot.items()
    )
    rows = f"SELECT *, unnest([{', '.join(pairs)}], recursive := true) FROM source"  # noqa: S608
    return f"({rows})" if with_empty else f"(FROM ({rows}) WHERE _value IS NOT NULL)"


@dataclass
class _Value:
    """SQL of a value, and the expressions of which at least one must not be null for it to be there (none: always)."""

    sql: str
    needs: list[str]


@dataclass
class _Scope:
    """Where expressions are evaluated: the row, or a line of one of its children.

    `leaves` names each expression, so that it is computed once however often the columns mention it.
    """

    name: str = ""
    lines: str | None = None
    leaves: dict[str, str] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)

    def leaf(self, sql: str) -> str:
        """A reference to an expression."""
        name = self.leaves.setdefault(sql, f"_{self.name}e{len(self.leaves)}")
        return f"l.{name}" if self.lines else name


@dataclass
class Compiled:
    """`leaves` are computed first, over the source's columns; `columns` over them. Names to SQL, in order."""

    leaves: dict[str, str]
    columns: dict[str, str]


class MappingCompiler:
    """Compiles one mapping against its resource's tree. Raises CatalogError naming the element."""

    def __init__(self, mapping: Mapping, tree: Node, maps: dict[str, CodeMap], sql_type: Callable[[Node], str]) -> None:
        self.mapping, self.tree, self.maps, self.sql_type = mapping, tree, maps, sql_type
        self.row = _Scope()
        self.scopes = [self.row]

    def compile(self) -> Compiled:
        """The two layers; the columns are the table's, in its order."""
        made: dict[str, str] = {}
        self._known(self.mapping.elements, self.tree, "")
        for name, node in self.tree.children.items():
            if name == "id":
                made[name] = self.row.leaf(f"CAST(({self.mapping.id}) AS VARCHAR)")
                continue
            value = self._element(self.mapping.elements.get(name), node, self.row, name)
            made[name] = value.sql if value else f"CAST(NULL AS {self.sql_type(node)})"
        made["_unmapped"] = self._unmapped()
        made["_rest"] = NULL  # a mapping makes no element but those that silver types
        made["_bad"] = self._bad()
        leaves = {name: sql for sql, name in self.row.leaves.items()}
        for scope in self.scopes[1:]:
            fields = struct((name, sql) for sql, name in scope.leaves.items())
            leaves[scope.name] = f"list_transform({scope.lines}, lambda line, position: {fields})"
        return Compiled(leaves, made)

    def _fail(self, path: str, problem: str) -> CatalogError:
        return CatalogError(f"mapping {self.mapping.name}: {path}: {problem}")

    def _known(self, template: dict[str, Any], node: Node, path: str) -> None:
        for name in template:
            if name not in node.children and name != EACH:
                raise self._fail(
                    f"{path}{name}",
                    f"silver's {self.tree.name} does not type this element; typed here are {', '.join(node.children)}. "
                    f"Add it to catalog/resources/{self.tree.name}.yaml",
                )

    def _element(self, template: Any, node: Node, scope: _Scope, path: str) -> _Value | None:
        """An element with its cardinality; None where the template has nothing for it."""
        if template is None:
            return None
        if not node.is_list:
            if isinstance(template, list):
                raise self._fail(path, "this element does not repeat, but the template has a list")
            return self._single(template, node, scope, path)
        items = template if isinstance(template, list) else [template]
        if any(isinstance(item, dict) and EACH in item for item in items):
            if len(items) > 1:
                raise self._fail(path, "a list that repeats $each has no other entry")
            return self._repeated(items[0], node, path)
        values = [self._single(item, node, scope, path) for item in items]
        array = f"[{', '.join(value.sql for value in values)}]"
        if all(not value.needs for value in values):
            return _Value(array, [])
        needs = [] if any(not value.needs for value in values) else [need for v in values for need in v.needs]
        kept = f"list_filter({array}, lambda x: x IS NOT NULL)" if len(values) > 1 else array
        return _Value(self._guard(kept, needs), needs)

    def _single(self, template: Any, node: Node, scope: _Scope, path: str) -> _Value:
        if node.is_primitive:
            if isinstance(template, dict | list):
                raise self._fail(path, f"a {node.type} takes one value, not a {type(template).__name__}")
            return self._leaf(template, node, scope, path)
        if not isinstance(template, dict):
            raise self._fail(path, f"a {node.type} takes its elements, not {template!r}")
        self._known(template, node, f"{path}.")
        fields, needs, always = [], [], True
        for name, child in node.children.items():
            value = self._element(template.get(name), child, scope, f"{path}.{name}")
            if value is not None and value.needs:
                needs += value.needs
                always = False
            fields.append((name, value.sql if value else f"CAST(NULL AS {self.sql_type(child)})"))
        sql = struct(fields)
        return _Value(sql if always else self._guard(sql, needs), [] if always else needs)

    def _guard(self, sql: str, needs: list[str]) -> str:
        unique = list(dict.fromkeys(needs))
        if not unique:
            return sql
        return f"CASE WHEN {' OR '.join(f'{need} IS NOT NULL' for need in unique)} THEN {sql} END"

    def _repeated(self, template: dict[str, Any], node: Node, path: str) -> _Value:
        lines = str(template[EACH])
        if lines not in self.mapping.children:
            raise self._fail(
                path, f"$each names {lines!r}; the children declared are {', '.join(self.mapping.children)}"
            )
        scope = _Scope(f"_each{len(self.scopes)}", lines)
        self.scopes.append(scope)
        inner = self._single({k: v for k, v in template.items() if k != EACH}, node, scope, path)
        sql = f"list_filter(list_transform({scope.name}, lambda l: {inner.sql}), lambda x: x IS NOT NULL)"
        need = self.row.leaf(f"CASE WHEN len({lines}) > 0 THEN true END")
        return _Value(f"CASE WHEN {need} THEN {sql} END", [need])

    def _leaf(self, template: Any, node: Node, scope: _Scope, path: str) -> _Value:
        kind = self.sql_type(node) if not node.is_list else self.sql_type(Node(node.name, node.type, False))
        if not (isinstance(template, str) and template.startswith("=")):
            text = str(template).lower() if isinstance(template, bool) else str(template)
            return _Value(f"CAST({literal(text)} AS {kind})", [])
        expression, _, looked_up = template[1:].rpartition(" | ")
        if looked_up and expression:
            expression = self._look_up(expression.strip(), looked_up.strip(), scope, path)
        else:
            expression = f"({template[1:].strip()})"
        if kind == "VARCHAR":
            reference = scope.leaf(f"CAST({expression} AS VARCHAR)")
            return _Value(reference, [reference])
        raw, typed = scope.leaf(f"CAST({expression} AS VARCHAR)"), scope.leaf(f"TRY_CAST({expression} AS {kind})")
        scope.bad.append((f"{self.tree.name}.{path} is a {node.type}", f"{raw} IS NOT NULL AND {typed} IS NULL"))
        return _Value(typed, [raw])

    def _look_up(self, key: str, target: str, scope: _Scope, path: str) -> str:
        name, _, wanted = target.partition(".")
        wanted = wanted or "code"
        if name not in self.maps or wanted not in ("code", "display", "system"):
            raise self._fail(
                path, f"{target!r} is not a map's code, display or system; maps are {', '.join(self.maps)}"
            )
        key = f"CAST(({key}) AS VARCHAR)"
        code_map = self.maps[name]
        pairs = {code: getattr(entry, wanted) for code, entry in code_map.codes.items()}
        fallback: str | None = {"code": f"({key})", "display": None, "system": literal(code_map.source)}[wanted]
        if code_map.unmapped:
            fixed = getattr(code_map.unmapped, wanted) or (code_map.target if wanted == "system" else None)
            fallback = literal(fixed) if fixed is not None else None
        if wanted == "system":
            pairs = {code: value or code_map.target for code, value in pairs.items()}
        branches = " ".join(
            f"WHEN {literal(code)} THEN {literal(value) if value is not None else NULL}"
            for code, value in pairs.items()
        )
        is_known = f"({key}) IN ({', '.join(literal(code) for code in pairs)})" if pairs else "false"
        is_unknown = f"({key}) IS NOT NULL AND NOT {is_known}"
        unknown = scope.leaf(f"CASE WHEN {is_unknown} THEN ({key}) END")
        scope.unmapped.append(
            f"CASE WHEN {unknown} IS NOT NULL THEN {struct([('map', literal(name)), ('code', unknown)])} END"
        )
        if not pairs:
            return f"CASE WHEN ({key}) IS NOT NULL THEN {fallback or NULL} END"
        return f"CASE WHEN ({key}) IS NOT NULL THEN CASE ({key}) {branches} ELSE {fallback or NULL} END END"

    def _unmapped(self) -> str:
        found = []
        for scope in self.scopes:
            entries = list(dict.fromkeys(scope.unmapped))
            if not entries:
                continue
            array = f"[{', '.join(entries)}]"
            if scope.lines:
                array = f"flatten(list_transform({scope.name}, lambda l: {array}))"
            found.append(f"coalesce(list_filter({array}, lambda x: x IS NOT NULL), [])")
        if not found:
            return f"CAST(NULL AS {UNMAPPED_TYPE})"
        return f"CAST(list_sort(list_distinct({' || '.join(found)})) AS {UNMAPPED_TYPE})"

    def _bad(self) -> str:
        found = []
        for scope in self.scopes:
            for name, condition in dict.fromkeys(scope.bad):
                wrong = condition
                if scope.lines:
                    wrong = f"len(list_filter({scope.name}, lambda l: {condition})) > 0"
                found.append(f"CASE WHEN {wrong} THEN {literal(name)} END")
        if not found:
            return "CAST(NULL AS VARCHAR[])"
        return f"list_filter([{', '.join(found)}], lambda x: x IS NOT NULL)"
