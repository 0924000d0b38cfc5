"""FHIRPaths over a vocabulary, built by type: most of SQL on FHIR's subset, one item where one is asked for.

Left out, since the specifications leave it open or the typed rows cannot say it:
- operands of unlike kinds (`gender = 1`): FHIRPath calls them unequal or an error, by its release;
- criteria that are no boolean (`where(family)`): FHIRPath takes any one item for true, the compiler asks for a boolean;
- an operand of several items: an error, which short-circuit evaluation may or may not meet;
- boundaries of integers, which FHIRPath may take for decimals or not, and of what was computed: its precision is open;
- more than three digits of a second: FHIRPath's own types end there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from cohortlake.core.fhir.definitions import Element, elements, primitive_types
from tests.property.resources import VALUES
from tests.property.vocabulary import BASES, Vocabulary

KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "positiveInt": "integer",
    "unsignedInt": "integer",
    "decimal": "decimal",
    "date": "date",
    "dateTime": "date",
    "instant": "date",
    "time": "time",
}
PRECISIONS = {
    "decimal": range(9),
    "date": (4, 6, 8),
    "dateTime": (4, 6, 8, 10, 12, 14, 17),
    "instant": (4, 6, 8, 10, 12, 14, 17),
    "time": (2, 4, 6, 9),
}
# The precedence of FHIRPath's grammar: what binds less stands in parentheses.
BINDING = {
    "implies": 1,
    **dict.fromkeys(("or", "xor"), 2),
    "and": 3,
    **dict.fromkeys(("=", "!="), 4),
    **dict.fromkeys(("<", "<=", ">", ">="), 5),
    **dict.fromkeys(("+", "-", "&"), 6),
    **dict.fromkeys(("*", "/", "div", "mod"), 7),
}
SIGN, ATOM = 8, 9
LITERALS: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "integer": (0, 1, 2, 7, 2147483647),
    "decimal": (Decimal("0.5"), Decimal("1.5"), Decimal("2.25"), Decimal("1.0"), Decimal("120.4")),
    "string": ("a", "b", "", "O'Brien", "a\\b", "Zoë", "\U0001f9ec", "a\nb"),
    "date": (
        "2020",
        "2020-01",
        "2020-01-31",
        "2020-02-29",
        "2020-02-01T04",
        "2020-02-01T04:30Z",
        "2020-02-01T04:30:00Z",
        "2020-01-31T23:30:00.000-05:00",
    ),
    "time": ("10", "10:30", "10:30:00", "10:30:00.250"),
}


def kind(type_name: str) -> str:
    return KINDS.get(type_name, "string" if type_name in primitive_types() else "complex")


@dataclass(frozen=True)
class Expression:
    """A path's text, the FHIR type of its items, whether they may be many, and how strongly its last operator binds."""

    text: str
    type: str
    is_list: bool = False
    binding: int = ATOM

    @property
    def kind(self) -> str:
        return kind(self.type)


@dataclass(frozen=True)
class Focus:
    """Where paths start: the type of the item, whether it is the resource itself, and whether a `repeat` reached it."""

    type: str
    is_root: bool = False
    is_repeated: bool = False


@dataclass(frozen=True)
class Paths:
    """Draws expressions over a vocabulary and the constants of a view."""

    draw: DrawFn
    vocabulary: Vocabulary
    constants: Sequence[Expression] = field(default=())

    def one_of(self, options: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(options))

    def chance(self, of: int) -> bool:
        return bool(self.draw(st.integers(1, of)) == of)

    # Paths

    def steps(self, type_name: str, depth: int = 3) -> Iterator[tuple[Element, ...]]:
        """Every way down from a type."""
        for element in self.vocabulary.of(type_name):
            yield (element,)
            if depth > 1:
                yield from ((element, *further) for further in self.steps(element.type, depth - 1))

    def path(self, focus: Focus, wanted: Callable[[str], bool], depth: int) -> Expression | None:
        """A path to a type that is wanted, where the vocabulary has one. Its criteria have `depth`."""
        ways = [way for way in self.steps(focus.type) if wanted(way[-1].type)]
        # Extensions stand everywhere, and long ways end in nothing: the others are met more often.
        near = [way for way in ways if len(way) < 3 and "extension" not in {element.name for element in way}]
        if near and not self.chance(4):
            ways = near
        if wanted(focus.type) and (not ways or self.chance(8)):
            return Expression("$this", focus.type)
        if not ways:
            return None
        prefix = f"{focus.type}." if focus.is_root and self.chance(8) else ""
        found = Expression(prefix, focus.type)
        for element in self.one_of(ways):
            found = self.step(found, element, depth)
        return found

    def step(self, source: Expression, element: Element, depth: int) -> Expression:
        """A step down, some with a filter behind it."""
        text = f"`{element.name}`" if self.chance(20) else element.name
        if element.choice:
            namespace = "FHIR." if self.chance(10) else ""
            text = f"{element.choice}.ofType({namespace}{self.asked_type(source.type, element)})"
        elif element.name == "extension" and self.chance(2):
            text = f"extension({quoted(self.one_of(VALUES['uri']))})"
        separator = "" if not source.text or source.text.endswith(".") else "."
        found = Expression(f"{source.text}{separator}{text}", element.type, source.is_list or element.is_list)
        if depth and self.chance(5 if element.is_list else 15):
            return replace(found, text=f"{found.text}.where({self.boolean(Focus(found.type), depth - 1).text})")
        return self.first(found) if found.is_list and self.chance(6) else found

    def asked_type(self, type_name: str, element: Element) -> str:
        """The type of a choice's element, or its base where that names the element as well."""
        base = BASES.get(element.type)
        options = [option.type for option in elements(type_name).values() if option.choice == element.choice]
        is_clear = [base] == [BASES.get(option, option) for option in options if base in (option, BASES.get(option))]
        return base if base and is_clear and self.chance(2) else element.type

    def first(self, source: Expression) -> Expression:
        end = self.one_of((".first()", "[0]", "[1]", "[%rowIndex]"))
        return Expression(f"{source.text}{end}", source.type)

    def single(self, source: Expression) -> Expression:
        return self.first(source) if source.is_list else source

    def kinds(self, focus: Focus) -> list[str]:
        """The kinds of values below a focus, those that are met often more often; any kind where there is none."""
        return [kind(way[-1].type) for way in self.steps(focus.type, 2)] or [kind(focus.type)]

    def scalar(self, focus: Focus, of: Sequence[str] = tuple(LITERALS)) -> str:
        """A kind of values, most often one that paths lead to."""
        reached = [name for name in self.kinds(focus) if name in of]
        return self.one_of(reached if reached and not self.chance(5) else of)

    # Values

    def value(self, wanted: str, focus: Focus, depth: int) -> Expression:
        """One item of a kind: a path, a literal, a constant, or what operators and functions make of them."""
        constants = [constant for constant in self.constants if constant.kind == wanted]
        chosen = self.one_of(("path",) * 6 + ("computed",) * 3 * bool(depth) + ("literal", "constant"))
        if chosen == "constant" and constants:
            return self.one_of(constants)
        if chosen == "computed":
            return self.computed(wanted, focus, depth - 1)
        found = self.path(focus, lambda name: kind(name) == wanted, depth) if chosen == "path" else None
        return self.single(found) if found else self.literal(wanted)

    def literal(self, wanted: str) -> Expression:
        if wanted == "integer" and self.chance(4):
            return Expression("%rowIndex", "integer")
        value = self.one_of(LITERALS[wanted])
        match wanted:
            case "boolean":
                return Expression(str(value).lower(), "boolean")
            case "string":
                return Expression(quoted(value, is_ascii=self.chance(5)), "string")
            case "date":
                return Expression(f"@{value}", "dateTime" if "T" in value else "date")
            case "time":
                return Expression(f"@T{value}", "time")
        return Expression(str(value), wanted)

    def computed(self, wanted: str, focus: Focus, depth: int) -> Expression:
        match wanted:
            case "boolean":
                return self.boolean(focus, depth)
            case "integer" | "decimal":
                return self.number(wanted, focus, depth)
            case "string":
                return self.text(focus, depth)
        # A comparison names each operand many times, and a boundary its own: both together take long to compile.
        return self.boundary(wanted, focus, depth) if depth else self.value(wanted, focus, 0)

    def number(self, wanted: str, focus: Focus, depth: int) -> Expression:
        """Operands are plain, for products of products leave what decimals can hold."""
        if wanted == "decimal" and self.chance(4):
            return self.boundary("decimal", focus, depth)
        if self.chance(5):
            return Expression(f"-{self.parenthesised(self.value(wanted, focus, 0), SIGN)}", wanted, binding=SIGN)
        symbol = self.one_of(
            ("+", "-", "*", "/", "div", "mod") if wanted == "decimal" else ("+", "-", "*", "div", "mod")
        )
        operands = [self.value(wanted, focus, 0), self.value(wanted, focus, 0)]
        if wanted == "decimal" and self.chance(3):
            operands[self.draw(st.integers(0, 1))] = self.value("integer", focus, 0)
        return self.operation(symbol, operands[0], operands[1], "integer" if symbol == "div" else wanted)

    def boundary(self, wanted: str, focus: Focus, depth: int) -> Expression:
        types = ("Period",) if wanted == "date" and self.chance(3) else ()
        found = self.path(focus, lambda name: name in types or (not types and kind(name) == wanted), depth)
        if found is None and wanted == "decimal":
            found = Expression("2.25", "decimal")
        source = self.single(found) if found else self.literal(wanted)
        bounded = "dateTime" if source.type == "Period" else source.type
        function = self.one_of(("lowBoundary", "highBoundary"))
        precision = self.one_of(PRECISIONS[bounded]) if self.chance(3) else ""
        return Expression(f"{source.text}.{function}({precision})", bounded)

    def text(self, focus: Focus, depth: int) -> Expression:
        match self.one_of(("join", "&", "+", "reference", "key")):
            case "join":
                items = self.path(focus, lambda name: kind(name) == "string", depth)
                separator = self.one_of(("", "','", "''", "' - '"))
                return Expression(f"{items.text}.join({separator})", "string") if items else self.literal("string")
            case "reference":
                return self.single(self.references(focus, depth) or self.literal("string"))
            case "key" if focus.is_root:
                return Expression("getResourceKey()", "string")
            case symbol:
                operator = "+" if symbol == "+" else "&"
                return self.operation(
                    operator, self.value("string", focus, depth), self.value("string", focus, depth), "string"
                )

    def references(self, focus: Focus, depth: int) -> Expression | None:
        """The keys of a path to references."""
        found = self.path(focus, lambda name: name == "Reference", depth)
        target = self.one_of(("", "Patient", "Practitioner", "Organization"))
        return Expression(f"{found.text}.getReferenceKey({target})", "string", found.is_list) if found else None

    # Truths

    def boolean(self, focus: Focus, depth: int) -> Expression:
        simple = ("exists", "exists", "comparison", "equality", "equality", "path")
        chosen = self.one_of(simple + ("logic", "logic", "not", "criteria") * bool(depth))
        match chosen:
            case "exists":
                return self.existence(focus, depth)
            case "criteria":
                items = self.path(focus, lambda name: True, depth - 1)
                if items is None:
                    return self.literal("boolean")
                return Expression(f"{items.text}.exists({self.boolean(Focus(items.type), depth - 1).text})", "boolean")
            case "comparison":
                wanted = self.scalar(focus, ("integer", "decimal", "string", "date", "time"))
                symbol = self.one_of(("<", "<=", ">", ">="))
                left = self.value(wanted, focus, depth)
                return self.operation(symbol, left, self.value(self.comparable(wanted), focus, depth), "boolean")
            case "equality":
                return self.equality(focus, depth)
            case "logic":
                symbol = self.one_of(("and", "or", "xor", "implies"))
                return self.operation(symbol, self.truth(focus, depth - 1), self.truth(focus, depth - 1), "boolean")
            case "not":
                source = self.parenthesised(self.truth(focus, depth - 1), ATOM)
                return Expression(f"{source}.not()", "boolean")
        return self.value("boolean", focus, 0)

    def truth(self, focus: Focus, depth: int) -> Expression:
        """An operand of a boolean operator, which takes one item of any other type for true."""
        items = self.path(focus, lambda name: True, depth) if self.chance(6) else None
        return self.single(items) if items else self.boolean(focus, depth)

    def existence(self, focus: Focus, depth: int) -> Expression:
        items = self.path(focus, lambda name: True, depth)
        function = self.one_of(("exists()", "empty()"))
        if items is None:
            return Expression(f"$this.{function}", "boolean")
        # A choice may be asked for as a whole.
        text = items.text.rpartition(".ofType(")[0] if items.text.endswith(f"ofType({items.type})") else items.text
        return Expression(f"{text}.{function}", "boolean")

    def equality(self, focus: Focus, depth: int) -> Expression:
        wanted = self.scalar(focus)
        left = self.path(focus, lambda name: kind(name) == wanted, depth) or self.value(wanted, focus, depth)
        right = self.value(self.comparable(wanted), focus, depth)
        if left.is_list and self.chance(3):
            right = self.path(focus, lambda name: kind(name) == wanted, depth) or right
        return self.operation(self.one_of(("=", "!=")), left, right, "boolean")

    def comparable(self, wanted: str) -> str:
        return self.one_of(("integer", "decimal")) if wanted in ("integer", "decimal") else wanted

    def operation(self, symbol: str, left: Expression, right: Expression, type_name: str) -> Expression:
        """Operators bind to the left: an equal one on the right stands in parentheses."""
        binding = BINDING[symbol]
        text = f"{self.parenthesised(left, binding)} {symbol} {self.parenthesised(right, binding + 1)}"
        return Expression(text, type_name, binding=binding)

    def parenthesised(self, operand: Expression, least: int) -> str:
        return f"({operand.text})" if operand.binding < least or self.chance(12) else operand.text


def quoted(text: str, *, is_ascii: bool = False) -> str:
    """A string literal of FHIRPath, whose escapes are JSON's, save for the quotes."""
    return "'" + json.dumps(text, ensure_ascii=is_ascii)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
