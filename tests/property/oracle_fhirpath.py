"""FHIRPath by fhirpathpy 2.2.4: its grammar, its evaluator and its model of R4, and what it gets wrong supplied here.

Source: https://hl7.org/fhirpath
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from unittest.mock import patch

from antlr4 import CommonTokenStream, InputStream, ParseTreeWalker, Token
from antlr4.error.Errors import LexerNoViableAltException, ParseCancellationException
from antlr4.error.ErrorStrategy import BailErrorStrategy
from fhirpathpy.engine import do_eval
from fhirpathpy.engine.evaluators import evaluators
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

from tests.property import oracle_values as values
from tests.property.oracle_functions import FUNCTIONS
from tests.property.oracle_items import R4, Context, Items, members, typed
from tests.property.oracle_values import RefusedError

Node = dict[str, Any]


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
        if node.get("type") == "ExternalConstant" and _variable_name(node) not in variables:
            raise RefusedError(f"{path}: unknown variable {_variable_name(node)}")
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
    parser._errHandler = BailErrorStrategy()
    try:
        tokens.fill()
        tree = parser.expression()
        is_whole = tokens.LA(1) == Token.EOF
    except (LexerNoViableAltException, ParseCancellationException):
        is_whole = False
    if not is_whole:
        raise RefusedError(f"{path}: not FHIRPath")
    listener = ASTPathListener()
    ParseTreeWalker().walk(listener, tree)
    root: Node = listener.parentStack[0]["children"][0]
    return root


def _give_up(error: LexerNoViableAltException) -> None:
    raise error


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("children", ()):
        yield from _nodes(child)


def _name(node: Node) -> str:
    return str(node["children"][0]["text"]).strip("`")


def _variable_name(node: Node) -> str:
    """`%name`, `%`name``, and `%'name'`, which stands in the tree as it is written."""
    return _name(node) if "children" in node else str(node["terminalNodeText"][1]).strip("'")


# The syntax nodes that the library evaluates otherwise than the specification says.


def _member(context: Context, parents: Items, node: Node) -> Items:
    """`Patient` at a Patient is that Patient: the library finds it in plain JSON only, not in a typed node."""
    name = _name(node)
    is_itself = parents and all(getattr(parent, "path", None) == name for parent in parents)
    return parents if is_itself else members(context, parents, name)


def _variable(context: Context, parents: Items, node: Node) -> Items:
    """The library does not know `%'name'`."""
    found: Items = context["vars"][_variable_name(node["children"][0])]
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
    operands = values.single(typed(do_eval(context, parents, node["children"][0])), "a sign")
    zero = values.Typed(0, None)
    results = [values.calculate(node["terminalNodeText"][0], zero, operand) for operand in operands]
    return [result for result in results if result is not None]


EVALUATORS = {
    "MemberInvocation": _member,
    "ExternalConstantTerm": _variable,
    "NumberLiteral": _number_literal,
    "StringLiteral": _string_literal,
    "DateTimeLiteral": _date_literal,
    "TimeLiteral": _time_literal,
    "PolarityExpression": _sign,
}
