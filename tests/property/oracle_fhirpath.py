"""FHIRPath by fhirpathpy 2.2.4: its parser, its evaluator and its model of R4, and what it lacks supplied from outside.

Sources: https://hl7.org/fhirpath, https://hl7.org/fhir/R4/fhirpath.html, and the functions that SQL on FHIR adds in
https://build.fhir.org/ig/HL7/sql-on-fhir/en/StructureDefinition-ViewDefinition.html

An item of a collection is a ResourceNode (data of a resource or a typed literal; `path` is its FHIR type) or a plain
value that an operator or a function gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from unittest.mock import patch

from antlr4 import CommonTokenStream, InputStream, ParseTreeWalker, Token
from antlr4.error.Errors import RecognitionException
from fhirpathpy.engine import do_eval
from fhirpathpy.engine.evaluators import evaluators, member_invocation
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.invocations.logic import and_op, implies_op, or_op, xor_op
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.engine.util import get_data
from fhirpathpy.models import models
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

from tests.property import oracle_values as values
from tests.property.oracle_values import RefusedError

R4 = models["r4"]
Items = list[Any]
Context = dict[str, Any]
Node = dict[str, Any]
Criteria = Callable[[Any], Items]


def evaluate(path: str, focus: ResourceNode, variables: Mapping[str, Items]) -> Items:
    """The items of a path that starts at `focus`; `variables` are what `%name` may name.

    Raises RefusedError for what the specification calls an error.
    """
    context = {
        "dataRoot": [focus],
        "$this": [focus],
        "vars": variables,
        "model": R4,
        "userInvocationTable": FUNCTIONS,
    }
    with patch.dict(evaluators, EVALUATORS):
        try:
            return list(do_eval(context, [focus], parse(path)))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # These are faults of the library or of the oracle: a refusal of theirs would pass for an agreement.
            raise AssertionError(f"the oracle cannot evaluate {path!r}") from error
        except Exception as error:
            # The library raises bare Exceptions for what it refuses.
            if type(error) is Exception:
                raise RefusedError(f"{path}: {error}") from error
            raise


def check(path: Any, variables: Mapping[str, Items]) -> None:
    """Raises RefusedError for what is wrong in a path whatever the data: grammar, unknown functions and variables."""
    if not isinstance(path, str):
        raise RefusedError(f"a path is a string, not {path!r}")
    for node in _nodes(parse(path)):
        if node.get("type") == "ExternalConstant" and _name(node) not in variables:
            raise RefusedError(f"{path}: unknown variable {_name(node)}")
        if node.get("type") == "Functn" and _name(node) not in {**invocation_registry, **FUNCTIONS}:
            raise RefusedError(f"{path}: unknown function {_name(node)}")


@cache
def parse(path: str) -> Node:
    """The library's syntax tree. Its own parse() drops what follows the first expression, and syntax errors with it."""
    lexer = FHIRPathLexer(InputStream(path))
    lexer.removeErrorListeners()
    lexer.recover = _give_up
    tokens = CommonTokenStream(lexer)
    parser = FHIRPathParser(tokens)
    parser.removeErrorListeners()
    listener = ASTPathListener()
    try:
        tree = parser.expression()
    except RecognitionException as error:
        raise RefusedError(f"{path}: not FHIRPath") from error
    if parser.getNumberOfSyntaxErrors() or tokens.LA(1) != Token.EOF:
        raise RefusedError(f"{path}: not FHIRPath")
    ParseTreeWalker().walk(listener, tree)
    root: Node = listener.parentStack[0]["children"][0]
    return root


def _give_up(error: RecognitionException) -> None:
    raise error


def _step(name: str) -> Node:
    return {"type": "MemberInvocation", "children": [{"type": "Identifier", "text": name}]}


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("children", ()):
        yield from _nodes(child)


def _name(node: Node) -> str:
    return str(node["children"][0]["text"]).strip("`")


# The syntax nodes that the library evaluates otherwise than the specification says.


@cache
def _elements() -> Mapping[str, set[str]]:
    """The names of each type's elements in the library's model, choices (`value`) as they are called in paths."""
    found: dict[str, set[str]] = {}
    spelled_out = {f"{choice}{fhir_type}" for choice, types in R4["choiceTypePaths"].items() for fhir_type in types}
    for path in {*R4["path2Type"], *R4["choiceTypePaths"], *R4["pathsDefinedElsewhere"]} - spelled_out:
        # An inline type stands in the model only as the first part of its elements' paths.
        while "." in path:
            path, _, name = path.rpartition(".")
            found.setdefault(path, set()).add(name)
    return found


def _member(context: Context, parents: Items, node: Node) -> Items:
    """`Patient` at a Patient is that Patient: the library finds it in plain JSON only, not in a typed node. A name that
    the type does not have is refused: the library calls it empty, and takes `valueQuantity` for an element."""
    name = _name(node)
    if parents and all(getattr(parent, "path", None) == name for parent in parents):
        return parents
    for parent in parents:
        if name not in _elements().get(getattr(parent, "path", None), ()):
            raise RefusedError(f"{getattr(parent, 'path', type(parent).__name__)} has no element {name}")
    return [item for parent in parents for item in _children(context, parent, node, name)]


def _children(context: Context, parent: ResourceNode, node: Node, name: str) -> Items:
    """JSON keeps a primitive's extensions beside it (`_birthDate`): the library takes them for more items, where here
    they go with the item that they are of."""
    plain = {key: value for key, value in parent.data.items() if not key.startswith("_")}
    found: Items = member_invocation(context, [ResourceNode(plain, parent.path)], node)
    names = [name, *(f"{name}{fhir_type}" for fhir_type in R4["choiceTypePaths"].get(f"{parent.path}.{name}", ()))]
    beside = next((parent.data[f"_{each}"] for each in names if f"_{each}" in parent.data), [])
    for item, extended in zip(found, beside if isinstance(beside, list) else [beside], strict=False):
        item._data = extended
    return found


def _number_literal(context: Context, parents: Items, node: Node) -> Items:
    """The library makes an integer of 1.0, whose boundaries are others."""
    return [values.number(node["text"])]


def _string_literal(context: Context, parents: Items, node: Node) -> Items:
    r"""The library undoes escapes one kind after the other, so that \\n becomes a backslash and a line end."""
    return [values.unescaped(node["text"][1:-1])]


def _date_literal(context: Context, parents: Items, node: Node) -> Items:
    """Typed as elements are, so that both compare alike: the library compares an element's date as text."""
    text = node["text"].removeprefix("@")
    return [ResourceNode(text, "dateTime" if "T" in text else "date")]


def _time_literal(context: Context, parents: Items, node: Node) -> Items:
    return [ResourceNode(node["text"].removeprefix("@T"), "time")]


def _sign(context: Context, parents: Items, node: Node) -> Items:
    """The library refuses the sign of an empty collection and that of an element."""
    operands = values.single(map(get_data, do_eval(context, parents, node["children"][0])), "a sign")
    results = [values.calculate(node["terminalNodeText"][0], 0, operand) for operand in operands]
    return [result for result in results if result is not None]


EVALUATORS = {
    "MemberInvocation": _member,
    "NumberLiteral": _number_literal,
    "StringLiteral": _string_literal,
    "DateTimeLiteral": _date_literal,
    "TimeLiteral": _time_literal,
    "PolarityExpression": _sign,
}


# The functions and operators that the library lacks, or gives another meaning.


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


def _join(context: Context, items: Items, separator: str = "") -> Items:
    """The library gives nothing for an empty input. So does the build of FHIRPath, but SQL on FHIR's case "string join:
    default separator" asks for ''."""
    return [(separator or "").join(map(get_data, items))]


def _boundary(is_high: bool) -> Callable[..., Items]:
    def boundary(context: Context, items: Items, precision: int | None = None) -> Items:
        """Of the build of FHIRPath; SQL on FHIR adds those of a Period."""
        items = values.single(items, "a boundary")
        if items and getattr(items[0], "path", None) == "Period":
            name = "end" if is_high else "start"
            items = [item for period in items for item in _children(context, period, _step(name), name)]
        bounds = [(values.boundary(item, is_high, precision), item.type) for item in _typed(items)]
        return [
            ResourceNode(bound, fhir_type) if fhir_type in values.TEMPORAL else bound for bound, fhir_type in bounds
        ]

    return boundary


def _resource_key(context: Context, items: Items) -> Items:
    """Of SQL on FHIR: the id, the simplest of the keys that it suggests."""
    if any("resourceType" not in get_data(item) for item in items):
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
        result = values.are_equal(_typed(left), _typed(right))
        return [] if result is None else [result != is_negated]

    return equality


def _comparison(symbol: str) -> Callable[[Context, Items, Items], Items]:
    def comparison(context: Context, left: Items, right: Items) -> Items:
        """The library compares elements' dates as text, and decides where precisions differ."""
        operands = *values.single(_typed(left), symbol), *values.single(_typed(right), symbol)
        result = values.compare(symbol, *operands)
        return [] if result is None else [result]

    return comparison


def _arithmetic(symbol: str) -> Callable[[Context, Items, Items], Items]:
    def arithmetic(context: Context, left: Items, right: Items) -> Items:
        """The library divides integers as floats, gives a remainder the divisor's sign, and never overflows."""
        operands = *values.single(map(get_data, left), symbol), *values.single(map(get_data, right), symbol)
        result = values.calculate(symbol, *operands)
        return [] if result is None else [result]

    return arithmetic


def _logic(operator: Callable[..., Any]) -> Callable[[Context, Items, Items], Items]:
    def logic(context: Context, left: Items, right: Items) -> Items:
        """The library refuses an operand that is one item of another type, which FHIRPath takes for true."""
        result = operator(context, _truth(left), _truth(right))
        return result if isinstance(result, list) else [result]

    return logic


def _truth(items: Items) -> bool | Items:
    """ "Singleton Evaluation of Collections"."""
    truths = [get_data(item) for item in values.single(items, "a boolean operator")]
    return [] if not truths else truths[0] if isinstance(truths[0], bool) else True


def _typed(items: Items) -> list[values.Typed]:
    return [values.Typed(get_data(item), getattr(item, "path", None)) for item in items]


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
    "join": _function(_join, [], ["String"]),
    "lowBoundary": _function(_boundary(is_high=False), [], ["Integer"]),
    "highBoundary": _function(_boundary(is_high=True), [], ["Integer"]),
    "getResourceKey": _function(_resource_key, []),
    "getReferenceKey": _function(_reference_key, [], ["TypeSpecifier"]),
    **{name: _operator(_logic(operator), is_nullable=False) for name, operator in LOGIC.items()},
    "=": _operator(_equality(is_negated=False)),
    "!=": _operator(_equality(is_negated=True)),
    **{symbol: _operator(_comparison(symbol)) for symbol in values.ORDERINGS},
    **{symbol: _operator(_arithmetic(symbol)) for symbol in values.CALCULATIONS},
}
