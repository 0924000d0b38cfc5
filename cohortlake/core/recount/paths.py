"""FHIRPath over silver's typed columns as DuckDB's SQL: the part of it that curated tables use.

It shares the syntax tree with what compiles views to Spark, and no meaning. What it does not know raises
`NotCountedError`; then a column is named as not recounted, and nothing is guessed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cohortlake.core.catalog.resource import Node, whole_tree
from cohortlake.core.sql import identifier, literal
from cohortlake.core.views.fhirpath import (
    Call,
    Index,
    Literal,
    Operation,
    Step,
    Syntax,
    This,
    Variable,
    parse_path,
)

REFERENCE = r"^(?:https?://.+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.\-]{1,64})(?:/_history/[A-Za-z0-9.\-]{1,64})?$"
COMPARISONS = {"=": "=", "!=": "<>"}
Key = Callable[[str, str], str]


class NotCountedError(Exception):
    """The recount has no meaning for a path; the message says which part."""


@dataclass(frozen=True)
class Value:
    """A value in SQL: `node` is its element (None for what is computed); a list has no nulls in it, and may be null."""

    sql: str
    node: Node | None = None
    is_list: bool = False


@dataclass
class Scope:
    """Where a path begins: an item, or (`focus` None) the resource, whose elements are columns.

    `key` makes the SQL of a resource's key from that of its type and id; `index` is that of `%rowIndex`.
    """

    node: Node
    key: Key
    constants: Mapping[str, str] = field(default_factory=dict)
    focus: str | None = None
    index: str = "0"
    names: itertools.count[int] = field(default_factory=itertools.count)

    def on(self, focus: str, node: Node, index: str | None = None) -> Scope:
        """The scope of an item."""
        return Scope(node, self.key, self.constants, focus, index or self.index, self.names)

    def evaluate(self, text: str) -> Value:
        """A path as SQL. Raises NotCountedError."""
        return self._value(parse_path(text, "recount"))

    def _value(self, syntax: Syntax) -> Value:
        match syntax:
            case Literal(value=value):
                return Value(literal(value) if isinstance(value, str) else str(value).lower())
            case Variable(name="rowIndex"):
                return Value(self.index)
            case Variable(name=name) if name in self.constants:
                return Value(literal(self.constants[name]))
            case This():
                return self._this()
            case Step(source=None, name=name):
                return self._member(None, name)
            case Step(source=source, name=name):
                return self._member(self._source(source), name)
            case Index(source=source, index=Literal(value=int(place))):
                return self._item(self._value(source), place)
            case Operation(operator=operator, left=left, right=right):
                return self._operation(operator, self._value(left), self._value(right))
            case Call():
                return self._call(syntax)
        raise NotCountedError(type(syntax).__name__)

    def _source(self, syntax: Syntax | None) -> Value | None:
        return None if syntax is None else self._value(syntax)

    def _this(self) -> Value:
        if self.focus is None:
            raise NotCountedError("$this of a resource")
        return Value(self.focus, self.node)

    def _member(self, source: Value | None, name: str) -> Value:
        """An element of the item at hand, or of each of a value's items."""
        node = self.node if source is None else source.node
        child = None if node is None else node.children.get(name)
        if child is None and source is None and self.focus is None:
            return _beside(self.node, name)
        if child is None:
            raise NotCountedError(f"{node.type if node else 'a primitive'}.{name} is not a column of silver")
        if source is None and self.focus is None:
            return Value(_listed(identifier(name), child.is_list), child, child.is_list)
        of = self.focus if source is None else source.sql
        if source is None or not source.is_list:
            return Value(_listed(f"struct_extract({of}, {literal(name)})", child.is_list), child, child.is_list)
        item = self._name()
        items = f"list_transform({of}, lambda {item}: struct_extract({item}, {literal(name)}))"
        items = f"flatten({_listed(items, True)})" if child.is_list else items
        return Value(_listed(items, True), child, True)

    def _name(self) -> str:
        return f"v{next(self.names)}"

    def _item(self, value: Value, place: int) -> Value:
        if not value.is_list:
            return value if place == 0 else Value("NULL", value.node)
        return Value(f"({value.sql})[{place + 1}]", value.node)

    def _operation(self, operator: str, left: Value, right: Value) -> Value:
        if left.is_list or right.is_list:
            raise NotCountedError(f"{operator} of lists")
        if operator in ("and", "or"):
            return Value(f"(({left.sql}) {operator} ({right.sql}))")
        if operator in COMPARISONS and not _is_dated(left) and not _is_dated(right):
            return Value(f"(({left.sql}) {COMPARISONS[operator]} ({right.sql}))")
        if operator in ("+", "-") and left.node is None and right.node is None:
            return Value(f"({left.sql} {operator} {right.sql})")
        raise NotCountedError(f"the operator {operator}")

    def _call(self, call: Call) -> Value:
        if call.name == "ofType" and isinstance(call.source, Step):
            return self._of_type(call.source, call.arguments)
        if call.name == "getResourceKey" and call.source is None and self.focus is None:
            return Value(self.key(literal(self.node.type), identifier("id")))
        source = self._source(call.source)
        if call.name == "iif":
            return self._iif(source, call.arguments)
        match call.name, call.arguments:
            case "extension", (Literal(value=str(url)),):
                return self._extension(self._member(source, "extension"), url)
        if source is None:
            raise NotCountedError(f"{call.name}() of the item at hand")
        match call.name, call.arguments:
            case "first", ():
                return self._item(source, 0)
            case "where", (condition,):
                return self._where(source, condition)
            case "exists", ():
                return Value(_exists(source))
            case "exists", (condition,):
                return Value(_exists(self._where(source, condition)))
            case "empty", ():
                return Value(f"(NOT {_exists(source)})")
            case "not", ():
                return Value(f"(NOT ({source.sql}))")
            case "getReferenceKey", _:
                return self._reference_key(self._member(source, "reference"), call.arguments)
        raise NotCountedError(f"{call.name}()")

    def _iif(self, source: Value | None, arguments: tuple[Syntax, ...]) -> Value:
        """`iif(criterion, value[, otherwise])`, whose paths begin at the source, or else at the item at hand."""
        scope = self
        if source is not None:
            if source.is_list or source.node is None:
                raise NotCountedError("iif() of a list")
            scope = self.on(source.sql, source.node)
        criterion, value, *rest = (scope._value(argument) for argument in arguments)
        other = rest[0] if rest else Value("NULL", value.node, value.is_list)
        if value.is_list != other.is_list:
            raise NotCountedError("iif() of a list and of one value")
        node = value.node or other.node
        return Value(f"CASE WHEN ({criterion.sql}) THEN {value.sql} ELSE {other.sql} END", node, value.is_list)

    def _of_type(self, source: Step, arguments: tuple[Syntax, ...]) -> Value:
        """An element of several types in one of them: `value.ofType(Quantity)` is `valueQuantity`."""
        match arguments:
            case (Step(source=None, name=kind),):
                return self._member(self._source(source.source), f"{source.name}{kind[0].upper()}{kind[1:]}")
        raise NotCountedError("ofType() of something else than a type")

    def _where(self, source: Value, condition: Syntax) -> Value:
        if source.node is None:
            raise NotCountedError("where() of what is computed")
        if not source.is_list:
            met = self.on(source.sql, source.node)._value(condition).sql
            return Value(f"CASE WHEN ({source.sql}) IS NOT NULL AND ({met}) THEN {source.sql} END", source.node)
        item = self._name()
        met = self.on(item, source.node)._value(condition).sql
        return Value(f"list_filter({source.sql}, lambda {item}: coalesce({met}, false))", source.node, True)

    def _extension(self, source: Value, url: str) -> Value:
        item = self._name()
        return Value(
            f"list_filter({source.sql}, lambda {item}: struct_extract({item}, 'url') = {literal(url)})",
            source.node,
            True,
        )

    def _reference_key(self, text: Value, arguments: tuple[Syntax, ...]) -> Value:
        if text.is_list:
            raise NotCountedError("getReferenceKey() of a list")
        kind, key = (f"nullif(regexp_extract({text.sql}, {literal(REFERENCE)}, {n}), '')" for n in (1, 2))
        made = self.key(kind, key)
        match arguments:
            case ():
                return Value(made)
            case (Step(source=None, name=wanted),):
                return Value(f"CASE WHEN {kind} = {literal(wanted)} THEN {made} END")
        raise NotCountedError("getReferenceKey() of something else than a type")


def _beside(node: Node, name: str) -> Value:
    """An element of the resource that silver does not type: it stands in `_rest`, as JSON. Its own primitives only."""
    whole = whole_tree(node.type).children.get(name)
    if whole is None or whole.is_list:
        raise NotCountedError(f"{node.type}.{name} is not a column of silver")
    place = f"_rest, {literal(f'$.{identifier(name)}')}"
    if not whole.children:
        return Value(f"json_extract_string({place})", whole)
    parts = {child.name: child for child in whole.children.values() if not child.children and not child.is_list}
    wanted = literal(json.dumps(dict.fromkeys(parts, "VARCHAR")))
    return Value(f"from_json(json_extract({place}), {wanted})", replace(whole, children=parts))


def _listed(sql: str, is_list: bool) -> str:
    return f"list_filter({sql}, lambda x: x IS NOT NULL)" if is_list else sql


def _exists(value: Value) -> str:
    return f"(coalesce(len({value.sql}), 0) > 0)" if value.is_list else f"(({value.sql}) IS NOT NULL)"


def _is_dated(value: Value) -> bool:
    return value.node is not None and value.node.type in ("date", "dateTime", "instant", "time")


def typed(value: Value, tag: str | None, declared: str) -> str:
    """A value as a curated column: as the view's SQL type (`tag`), then as the table's. Raises NotCountedError."""
    if value.is_list:
        raise NotCountedError("a column of lists")
    kind = value.node.type if value.node else None
    if value.node and value.node.children:
        raise NotCountedError("a column that is no primitive")
    if kind == "decimal":
        if declared not in ("DOUBLE", "DECIMAL(18,2)") or tag not in (None, declared):
            raise NotCountedError(f"a decimal as {tag or declared}")
        # Through text: the nearest double, where a division would give one beside it.
        return f"TRY_CAST(CAST({value.sql} AS VARCHAR) AS {declared})"
    if declared in ("DATE", "TIMESTAMP"):
        if tag != declared:
            raise NotCountedError(f"{tag or 'text'} as {declared}")
        return _moment(value.sql, declared)
    if tag not in (None, declared, {"STRING": "VARCHAR"}.get(declared), {"INT": "INTEGER"}.get(declared)):
        raise NotCountedError(f"{tag} as {declared}")
    return f"TRY_CAST({value.sql} AS {'VARCHAR' if declared == 'STRING' else declared})"


def _moment(text: str, declared: str) -> str:
    """A FHIR date or time as SQL's: a partial one is its first day or instant, in UTC where it names no zone."""
    whole = f"CASE length({text}) WHEN 4 THEN {text} || '-01-01' WHEN 7 THEN {text} || '-01' ELSE {text} END"
    if declared == "DATE":
        return f"TRY_CAST(left({whole}, 10) AS DATE)"
    return f"TRY_CAST({whole} AS TIMESTAMPTZ)"


def constants(view: Mapping[str, Any]) -> dict[str, str]:
    """The texts among a view's constants, by name."""
    found = {}
    for one in view.get("constant", ()):
        value = next((one[name] for name in one if name.startswith("value")), None)
        if isinstance(value, str):
            found[one["name"]] = value
    return found
