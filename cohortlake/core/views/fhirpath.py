"""The FHIRPath of views: text to a syntax tree.

Sources: https://hl7.org/fhirpath (grammar, precedence), and the subset that SQL on FHIR names in
https://build.fhir.org/ig/HL7/sql-on-fhir/en/StructureDefinition-ShareableViewDefinition.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from cohortlake.core.errors import ViewError
from cohortlake.core.views.dates import sortable_date, sortable_time
from cohortlake.core.views.definition import placed, refusal


@dataclass(frozen=True)
class Literal:
    """A literal: `type` is its FHIR type."""

    value: str | bool | int | Decimal
    type: str


@dataclass(frozen=True)
class Variable:
    """`%name`: a constant of the view, or `%rowIndex`."""

    name: str


@dataclass(frozen=True)
class This:
    """`$this`: the item at hand."""


@dataclass(frozen=True)
class Step:
    """`source.name`; without a source, an element of the item at hand."""

    source: Syntax | None
    name: str


@dataclass(frozen=True)
class Call:
    """`source.name(arguments)`."""

    source: Syntax | None
    name: str
    arguments: tuple[Syntax, ...]


@dataclass(frozen=True)
class Index:
    """`source[index]`."""

    source: Syntax
    index: Syntax


@dataclass(frozen=True)
class Operation:
    """`left operator right`."""

    operator: str
    left: Syntax
    right: Syntax


@dataclass(frozen=True)
class Sign:
    """`-operand` or `+operand`."""

    operator: str
    operand: Syntax


Syntax = Literal | Variable | This | Step | Call | Index | Operation | Sign

# Binding strength by operator; a stronger one binds first.
BINDING = {
    "implies": 1,
    **dict.fromkeys(("or", "xor"), 2),
    "and": 3,
    **dict.fromkeys(("=", "!="), 4),
    **dict.fromkeys(("<", "<=", ">", ">="), 5),
    **dict.fromkeys(("+", "-", "&"), 6),
    **dict.fromkeys(("*", "/", "div", "mod"), 7),
}
BEYOND_THE_SUBSET = frozenset(("in", "contains", "~", "!~", "|", "is", "as"))

GREATEST_INTEGER = 2**31 - 1

_CLOCK = r"\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?"
_TOKEN = re.compile(
    rf"""
      (?P<space>   \s+ | //[^\n]* | /\*.*?\*/ )
    | (?P<time>    @T{_CLOCK} )
    | (?P<date>    @\d{{4}}(?:-\d{{2}}(?:-\d{{2}})?)?(?P<clock>T(?:{_CLOCK}(?:Z|[+-]\d{{2}}:\d{{2}})?)?)? )
    | (?P<number>  \d+(\.\d+)? )
    | (?P<string>  '(?:[^'\\]|\\.)*' )
    | (?P<variable>%(?:\w+ | `(?:[^`\\]|\\.)+` | '(?:[^'\\]|\\.)+') )
    | (?P<this>    \$this\b )
    | (?P<name>    [A-Za-z_]\w* | `(?:[^`\\]|\\.)+` )
    | (?P<symbol>  <=|>=|!=|!~|[-+*/&|=<>~()\[\].,] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


class Token(NamedTuple):
    kind: str
    text: str
    position: int


def parse_path(text: str, at: str) -> Syntax:
    """The syntax tree of a FHIRPath. Raises ViewError, which names `at`, for what is not of the subset."""
    return _Parser(text, at).whole()


class _Parser:
    def __init__(self, text: str, at: str) -> None:
        self.text = text
        self.at = at
        self.tokens = list(self._tokens())
        self.next = 0

    def _tokens(self) -> list[Token]:
        tokens, position = [], 0
        while position < len(self.text):
            found = _TOKEN.match(self.text, position)
            if found is None:
                raise self._wrong(f"{self.text[position]!r}", position, "a path, a literal, an operator or a function")
            kind = "dateTime" if found["clock"] else str(found.lastgroup)
            if kind != "space":
                tokens.append(Token(kind, found.group(), position))
            position = found.end()
        return [*tokens, Token("end", "the end", position)]

    def _wrong(self, found: str, position: int, allowed: str) -> ViewError:
        return refusal(placed(self.at, self.text), f"{found} at character {position + 1}", allowed)

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def _advance(self) -> Token:
        token = self.token
        self.next += 1
        return token

    def _take(self, symbol: str) -> bool:
        if self.token.kind == "symbol" and self.token.text == symbol:
            self.next += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._wrong(self.token.text, self.token.position, repr(symbol))

    def whole(self) -> Syntax:
        tree = self._expression(0)
        if self.token.kind != "end":
            raise self._wrong(self.token.text, self.token.position, f"the end, or one of {' '.join(BINDING)}")
        return tree

    def _expression(self, binding: int) -> Syntax:
        left = self._operand()
        while True:
            operator = self.token.text
            if self.token.kind in ("name", "symbol") and operator in BEYOND_THE_SUBSET:
                raise self._wrong(f"the operator {operator!r}", self.token.position, f"one of {' '.join(BINDING)}")
            strength = BINDING.get(operator, 0) if self.token.kind in ("name", "symbol") else 0
            if strength <= binding:
                return left
            self._advance()
            left = Operation(operator, left, self._expression(strength))

    def _operand(self) -> Syntax:
        for sign in "-+":
            if self._take(sign):
                return Sign(sign, self._operand())
        tree = self._term()
        while True:
            if self._take("."):
                if self.token.kind != "name":
                    raise self._wrong(self.token.text, self.token.position, "the name of an element or a function")
                tree = self._step(tree)
            elif self._take("["):
                tree = Index(tree, self._expression(0))
                self._expect("]")
            else:
                return tree

    def _term(self) -> Syntax:
        if self._take("("):
            tree = self._expression(0)
            self._expect(")")
            return tree
        token = self.token
        if token.kind == "name" and token.text not in ("true", "false"):
            return self._step(None)
        self._advance()
        match token.kind:
            case "name":
                return Literal(token.text == "true", "boolean")
            case "string":
                return Literal(self._text(token), "string")
            case "number" if "." in token.text:
                return Literal(Decimal(token.text), "decimal")
            case "number" if int(token.text) <= GREATEST_INTEGER:
                return Literal(int(token.text), "integer")
            case "number":
                raise self._wrong(token.text, token.position, f"an integer up to {GREATEST_INTEGER}")
            case "date" | "dateTime" if sortable_date(token.text[1:].rstrip("T")):
                return Literal(token.text[1:].rstrip("T"), token.kind)
            case "time" if sortable_time(token.text[2:]):
                return Literal(token.text[2:], "time")
            case "date" | "dateTime" | "time":
                raise self._wrong(token.text, token.position, "a date or time that exists")
            case "variable":
                return Variable(_identifier(token.text[1:]))
            case "this":
                return This()
        raise self._wrong(token.text, token.position, "a path, a literal or a function")

    def _text(self, token: Token) -> str:
        """A string's characters: one beyond U+FFFF is escaped as two, as in JSON, of which one alone is none."""
        try:
            return _unescaped(token.text[1:-1]).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self._wrong(token.text, token.position, "escapes of whole characters") from None

    def _step(self, source: Syntax | None) -> Syntax:
        name = _identifier(self._advance().text)
        if not self._take("("):
            return Step(source, name)
        arguments: list[Syntax] = []
        if not self._take(")"):
            arguments.append(self._expression(0))
            while self._take(","):
                arguments.append(self._expression(0))
            self._expect(")")
        return Call(source, name, tuple(arguments))


def _identifier(text: str) -> str:
    """A name, which may be delimited."""
    return _unescaped(text[1:-1]) if text[0] in "`'" else text


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2]), text)
