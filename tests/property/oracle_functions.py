"""The functions and operators that fhirpathpy 2.2.4 lacks, or gives another meaning than the specifications.

Each says what is wrong with the library's. Sources: https://hl7.org/fhirpath, https://hl7.org/fhir/R4/fhirpath.html;
of the keys, https://build.fhir.org/ig/HL7/sql-on-fhir/en/StructureDefinition-ViewDefinition.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhirpathpy.engine.invocations.logic import and_op, implies_op, or_op, xor_op
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.engine.util import get_data

from tests.property import oracle_values as values
from tests.property.oracle_items import Context, Items, ancestry, members, typed
from tests.property.oracle_values import RefusedError

Criteria = Callable[[Any], Items]


def _where(context: Context, items: Items, criteria: Criteria) -> Items:
    """The library takes a false element for true, and leaves `$this` at the last item."""
    outer = context["$this"]
    found = []
    for item in items:
        truths = values.single(map(get_data, criteria(item)), "criteria")
        if any(not isinstance(truth, bool) for truth in truths):
            raise RefusedError("criteria must be boolean")
        if truths == [True]:
            found.append(item)
    context["$this"] = outer
    return found


def _exists(context: Context, items: Items, criteria: Criteria | None = None) -> Items:
    """Over the where() above."""
    return [bool(items if criteria is None else _where(context, items, criteria))]


def _extension(context: Context, items: Items, url: str) -> Items:
    """The library gives the first extension of a url only, and none of a primitive."""
    found = [item.data if isinstance(item.data, Mapping) else item._data or {} for item in items]
    extensions = [extension for element in found for extension in element.get("extension", ())]
    return [ResourceNode(extension, "Extension") for extension in extensions if extension.get("url") == url]


def _of_type(context: Context, items: Items, wanted: Any) -> Items:
    """Items "of the given type or a subclass thereof": the library compares names, for it sets its model too late."""
    return [item for item in items if wanted.name in ancestry(getattr(item, "path", None))]


def _join(context: Context, items: Items, separator: str = "") -> Items:
    """The library gives nothing for an empty input. So does the build of FHIRPath, but SQL on FHIR's case "string join:
    default separator" asks for ''."""
    return [(separator or "").join(values.texts(typed(items)))]


def _boundary(is_high: bool) -> Callable[..., Items]:
    def boundary(context: Context, items: Items, precision: int | None = None) -> Items:
        """Of the build of FHIRPath; SQL on FHIR adds those of a Period."""
        items = values.single(items, "a boundary")
        if items and getattr(items[0], "path", None) == "Period":
            items = members(context, items, "end" if is_high else "start")
        # "Returns the same type as the value in the input collection."
        return [ResourceNode(values.boundary(item, is_high, precision), item.type) for item in typed(items)]

    return boundary


def _resource_key(context: Context, items: Items) -> Items:
    """Of SQL on FHIR: the id, the simplest of the keys that it suggests."""
    if any(not isinstance(get_data(item), Mapping) or "resourceType" not in get_data(item) for item in items):
        raise RefusedError("getResourceKey() of something else than a resource")
    return [get_data(item)["id"] for item in items if "id" in get_data(item)]


def _reference_key(context: Context, items: Items, target: Any = None) -> Items:
    """Of SQL on FHIR: the id of what a literal reference points at, where it is of the target type."""
    if any(getattr(item, "path", None) != "Reference" for item in items):
        raise RefusedError("getReferenceKey() of something else than a Reference")
    pointed = [values.literal_reference(item.data.get("reference")) for item in items]
    return [found[1] for found in pointed if found and (target is None or found[0] == target.name)]


def _equality(is_negated: bool) -> Callable[[Context, Items, Items], Items]:
    def equality(context: Context, left: Items, right: Items) -> Items:
        """The library compares first items only, and elements' dates as text."""
        result = values.are_equal(typed(left), typed(right))
        return [] if result is None else [result != is_negated]

    return equality


def _comparison(symbol: str) -> Callable[[Context, Items, Items], Items]:
    def comparison(context: Context, left: Items, right: Items) -> Items:
        """The library compares elements' dates as text, and decides where precisions differ."""
        operands = *values.single(typed(left), symbol), *values.single(typed(right), symbol)
        result = values.compare(symbol, *operands)
        return [] if result is None else [result]

    return comparison


def _arithmetic(symbol: str) -> Callable[[Context, Items, Items], Items]:
    def arithmetic(context: Context, left: Items, right: Items) -> Items:
        """The library divides integers as floats, gives a remainder the divisor's sign, and never overflows."""
        operands = *values.single(typed(left), symbol), *values.single(typed(right), symbol)
        result = values.calculate(symbol, *operands)
        return [] if result is None else [result]

    return arithmetic


def _concatenation(context: Context, left: Items, right: Items) -> Items:
    """The library cannot say which item it refuses, where that holds a decimal."""
    return ["".join(values.texts(typed([*values.single(left, "&"), *values.single(right, "&")])))]


def _logic(operator: Callable[..., Any]) -> Callable[[Context, Items, Items], Items]:
    def logic(context: Context, left: Items, right: Items) -> Items:
        """The library refuses an operand that is one item of another type, which FHIRPath takes for true."""
        result = operator(context, _truth(left), _truth(right))
        return result if isinstance(result, list) else [result]

    return logic


def _truth(items: Items) -> bool | Items:
    """By "Singleton Evaluation of Collections"."""
    truths = [get_data(item) for item in values.single(items, "a boolean operator")]
    return [] if not truths else truths[0] if isinstance(truths[0], bool) else True


def _function(function: Callable[..., Items], *parameters: Sequence[str]) -> Mapping[str, Any]:
    return {"fn": function, "arity": {len(types): list(types) for types in parameters}}


def _operator(function: Callable[..., Items], *, is_nullable: bool = True) -> Mapping[str, Any]:
    """Empty where an operand is, if it `is_nullable`."""
    return {"fn": function, "arity": {2: ["Any", "Any"]}} | ({"nullable": True} if is_nullable else {})


LOGIC = {"and": and_op, "or": or_op, "xor": xor_op, "implies": implies_op}
FUNCTIONS: dict[str, Mapping[str, Any]] = {
    "where": _function(_where, ["Expr"]),
    "exists": _function(_exists, [], ["Expr"]),
    "extension": _function(_extension, ["String"]),
    "ofType": _function(_of_type, ["TypeSpecifier"]),
    "join": _function(_join, [], ["String"]),
    "lowBoundary": _function(_boundary(is_high=False), [], ["Integer"]),
    "highBoundary": _function(_boundary(is_high=True), [], ["Integer"]),
    "getResourceKey": _function(_resource_key, []),
    "getReferenceKey": _function(_reference_key, [], ["TypeSpecifier"]),
    **{name: _operator(_logic(operator), is_nullable=False) for name, operator in LOGIC.items()},
    "&": _operator(_concatenation, is_nullable=False),
    "=": _operator(_equality(is_negated=False)),
    "!=": _operator(_equality(is_negated=True)),
    **{symbol: _operator(_comparison(symbol)) for symbol in values.ORDERINGS},
    **{symbol: _operator(_arithmetic(symbol)) for symbol in values.CALCULATIONS},
}
