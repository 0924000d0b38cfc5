"""From a FHIRPath's syntax tree to a typed expression, held against FHIR's own type definitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cohortlake.core.errors import ViewError
from cohortlake.core.fhir.definitions import elements, resource_types
from cohortlake.core.views import fhirpath, plan
from cohortlake.core.views.definition import HINT, refusal
from cohortlake.core.views.fhirpath import Syntax
from cohortlake.core.views.plan import Expression
from cohortlake.core.views.types import NUMBERS, Kind, kind

FUNCTIONS = (
    "empty()",
    "exists([criteria])",
    "extension(url)",
    "first()",
    "getReferenceKey([type])",
    "getResourceKey()",
    "highBoundary([precision])",
    "iif(criterion, value[, otherwise])",
    "join([separator])",
    "lowBoundary([precision])",
    "not()",
    "ofType(type)",
    "where(criteria)",
)

# Types that specialise another: ofType(string) takes a code, for a code is a string.
BASE_TYPES = {
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("canonical", "oid", "url", "uuid"), "uri"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
    **dict.fromkeys(("Age", "Count", "Distance", "Duration"), "Quantity"),
}
# What a boundary may be cut to. Date and time precisions count digits: 4 a year, 6 a month, 17 a millisecond.
PRECISIONS = {"decimal": tuple(range(19)), "date": (4, 6, 8), "time": (2, 4, 6, 9)}
DATE_TIME_PRECISIONS = (4, 6, 8, 10, 12, 14, 17)


class UnknownElementError(ViewError):
    """The type has no such element. `repeat` catches it, for not every path leads on from every level."""


@dataclass(frozen=True)
class Compiler:
    """Compiles a path of a view. `at` names the path in errors, all of them ViewErrors."""

    constants: Mapping[str, plan.Literal]
    at: str

    def _wrong(self, found: str, allowed: str) -> ViewError:
        return refusal(self.at, found, allowed)

    def expression(self, node: Syntax, focus: plan.Focus) -> Expression:
        """The expression of a tree whose paths start at `focus`; it may be a choice whose type is open."""
        match node:
            case fhirpath.Literal(value, fhir_type):
                return plan.Literal(fhir_type, False, value)
            case fhirpath.Variable(name):
                return self._variable(name)
            case fhirpath.This():
                return focus
            case fhirpath.Step(None, name) if name == focus.type and name in resource_types():
                return focus
            case fhirpath.Step(source, name):
                return self._member(self._source(source, focus), name)
            case fhirpath.Call(source, name, arguments):
                return self._call(focus if source is None else self.expression(source, focus), name, arguments, focus)
            case fhirpath.Index(source, index):
                items = self._source(source, focus)
                place = self._number(self._source(index, focus), "an index")
                return plan.Item(items.type, False, items, place)
            case fhirpath.Sign(sign, operand):
                number = self._number(self._source(operand, focus), f"an operand of {sign}")
                zero = plan.Literal("integer", False, 0)
                return number if sign == "+" else plan.Arithmetic(number.type, False, sign, zero, number)
            case fhirpath.Operation(operator, left, right):
                return self._operation(operator, self._source(left, focus), self._source(right, focus))

    def _source(self, node: Syntax | None, focus: plan.Focus) -> Expression:
        return focus if node is None else self.narrowed(self.expression(node, focus))

    def narrowed(self, expression: Expression) -> Expression:
        """The expression, which must not be a choice whose type is open."""
        if isinstance(expression, plan.Choice):
            types = ", ".join(member.type for member in expression.members)
            raise self._wrong("a choice of several types", f"ofType(T) after it, where T is one of {types}")
        return expression

    def single(self, expression: Expression) -> Expression:
        """Its only item."""
        return plan.Single(expression.type, False, expression, self.at) if expression.is_list else expression

    def boolean(self, expression: Expression) -> Expression:
        """Its only item, which must be a boolean."""
        # FHIRPath would take any other single item for true; a path without a comparison or exists() is rather a slip.
        if kind(expression.type) is not Kind.BOOLEAN:
            raise self._wrong(f"a condition of type {expression.type}", "a boolean, as a comparison or exists() gives")
        return self.single(expression)

    def _truth(self, expression: Expression) -> Expression:
        """An operand of a boolean operator: the only item of another type counts as true.

        Source: https://hl7.org/fhirpath/#singleton-evaluation-of-collections
        """
        if kind(expression.type) is Kind.BOOLEAN:
            return self.single(expression)
        exists = plan.Exists("boolean", False, self.single(expression))
        # No item is empty, not false.
        return plan.Filter("boolean", False, exists, plan.Focus("boolean", False))

    def _number(self, expression: Expression, role: str) -> Expression:
        if kind(expression.type) not in NUMBERS:
            raise self._wrong(f"{role} of type {expression.type}", "a number")
        return self.single(expression)

    def _text(self, expression: Expression, role: str) -> Expression:
        if kind(expression.type) is not Kind.STRING:
            raise self._wrong(f"{role} of type {expression.type}", "a string")
        return self.single(expression)

    def _variable(self, name: str) -> Expression:
        if name == "rowIndex":
            return plan.RowIndex("integer", False)
        if name not in self.constants:
            known = ", ".join(f"%{constant}" for constant in ("rowIndex", *self.constants))
            raise self._wrong(f"%{name}, which is no constant of the view", known)
        return self.constants[name]

    def _member(self, source: Expression, name: str) -> Expression:
        known = elements(source.type) if kind(source.type) is Kind.COMPLEX else {}
        if name in known:
            element = known[name]
            if element.choice:
                raise self._wrong(f"{name!r}, the JSON name of a choice", f"{element.choice}.ofType({element.type})")
            return plan.Member(element.type, source.is_list or element.is_list, source, name)
        members = tuple(
            plan.Member(element.type, source.is_list, source, element.name)
            for element in known.values()
            if element.choice == name
        )
        if members:
            return plan.Choice("choice", source.is_list, members)
        names = ", ".join(dict.fromkeys(element.choice or element.name for element in known.values()))
        found = f"{name!r}, which {source.type} does not have"
        raise UnknownElementError(f"{self.at}: found {found}; allowed: {names or 'no element'}", HINT)

    def _call(self, source: Expression, name: str, arguments: tuple[Syntax, ...], focus: plan.Focus) -> Expression:
        match name, arguments:
            case "ofType", (argument,):
                return self._of_type(source, self._type_name(argument))
            case "exists" | "empty", ():
                exists = plan.Exists("boolean", False, source)
                return exists if name == "exists" else plan.Not("boolean", False, exists)
        source = self.narrowed(source)
        match name, arguments:
            case "exists", (criteria,):
                return plan.Exists("boolean", False, self._filter(source, criteria))
            case "where", (criteria,):
                return self._filter(source, criteria)
            case "iif", (criterion, then, *rest) if len(rest) < 2:
                return self._conditional(self.single(source), criterion, then, rest[0] if rest else None)
            case "first", ():
                return plan.Item(source.type, False, source, plan.Literal("integer", False, 0))
            case "not", ():
                return plan.Not("boolean", False, self._truth(source))
            case "extension", (url,):
                item = plan.Focus("Extension", False)
                wanted = self._text(self._source(url, focus), "an extension's url")
                is_wanted = plan.Equality("boolean", False, self._member(item, "url"), wanted)
                return plan.Filter("Extension", True, self._extensions(source), is_wanted)
            case "join", () | (_,):
                separator = self._source(arguments[0], focus) if arguments else plan.Literal("string", False, "")
                if kind(source.type) is not Kind.STRING:
                    raise self._wrong(f"join() of type {source.type}", "strings")
                return plan.Join("string", False, source, self._text(separator, "a separator"))
            case "lowBoundary" | "highBoundary", () | (_,):
                precision = self._source(arguments[0], focus) if arguments else None
                return self._boundary(source, name == "highBoundary", precision)
            case "getResourceKey", ():
                if source.type not in resource_types():
                    raise self._wrong(f"getResourceKey() of type {source.type}", "only the resource itself")
                return plan.ResourceKey("string", False, source)
            case "getReferenceKey", () | (_,):
                if source.type != "Reference":
                    raise self._wrong(f"getReferenceKey() of type {source.type}", "a Reference")
                target = self._type_name(arguments[0]) if arguments else None
                if target is not None and target not in resource_types():
                    raise self._wrong(f"the resource type {target!r}", "a resource type of FHIR R4, such as Patient")
                return plan.ReferenceKey("string", source.is_list, source, target)
        raise self._wrong(f"{name}() with {len(arguments)} arguments", ", ".join(FUNCTIONS))

    def _filter(self, source: Expression, criteria: Syntax) -> Expression:
        item = plan.Focus(source.type, False)
        return plan.Filter(source.type, source.is_list, source, self.boolean(self._source(criteria, item)))

    def _conditional(self, source: Expression, criterion: Syntax, then: Syntax, otherwise: Syntax | None) -> Expression:
        """`iif`: its arguments are paths from the source's only item; both values are of one type, or of one kind."""
        item = plan.Focus(source.type, False)
        condition = self.boolean(self._source(criterion, item))
        value = self._source(then, item)
        if otherwise is None:
            return plan.Conditional(value.type, value.is_list, source, condition, value, None)
        other = self._source(otherwise, item)
        same = kind(value.type) is kind(other.type) is not Kind.COMPLEX
        if value.type != other.type and not same:
            raise self._wrong(f"iif() of {value.type} or {other.type}", "two values of one type")
        shown = value.type if value.type == other.type else BASE_TYPES.get(value.type, value.type)
        return plan.Conditional(shown, value.is_list or other.is_list, source, condition, value, other)

    def _type_name(self, node: Syntax) -> str:
        match node:
            case fhirpath.Step(None | fhirpath.Step(None, "FHIR"), name):
                return name
            case fhirpath.Literal(str(name), "string"):
                return name
        raise self._wrong("something else than a type", "a FHIR type, such as Quantity")

    def _of_type(self, source: Expression, name: str) -> Expression:
        if source.type == "Resource" and name in resource_types():
            return plan.OfType(name, source.is_list, source)
        options = source.members if isinstance(source, plan.Choice) else (source,)
        exact = [option for option in options if option.type == name]
        found = exact or [option for option in options if BASE_TYPES.get(option.type) == name]
        if len(found) != 1:
            raise self._wrong(f"ofType({name})", ", ".join(option.type for option in options))
        return found[0]

    def _extensions(self, source: Expression) -> Expression:
        """The extensions of each item; a primitive's stand in its JSON sibling, `_birthDate`."""
        if isinstance(source, plan.Member) and kind(source.type) is not Kind.COMPLEX:
            source = plan.Member("Element", source.is_list, source.source, f"_{source.name}")
        return self._member(source, "extension")

    def _boundary(self, source: Expression, is_high: bool, precision: Expression | None) -> Expression:
        if source.type == "Period":
            source = self._member(source, "end" if is_high else "start")
        if kind(source.type) not in (Kind.DECIMAL, Kind.DATE, Kind.TIME):
            raise self._wrong(f"a boundary of type {source.type}", "a decimal, date, dateTime, instant, time or Period")
        digits = None if precision is None else self._precision(source.type, precision)
        return plan.Boundary(source.type, False, self.single(source), is_high, digits)

    def _precision(self, of: str, precision: Expression) -> int:
        allowed = PRECISIONS.get(of, DATE_TIME_PRECISIONS)
        if isinstance(precision, plan.Literal) and isinstance(precision.value, int) and precision.value in allowed:
            return precision.value
        raise self._wrong(f"another precision of a {of}", ", ".join(map(str, allowed)))

    def _operation(self, operator: str, left: Expression, right: Expression) -> Expression:
        role = f"an operand of {operator}"
        match operator:
            case "and" | "or" | "xor" | "implies":
                return plan.Logic("boolean", False, operator, self._truth(left), self._truth(right))
            case "=" | "!=":
                self._check_comparable(operator, left, right)
                equality = plan.Equality("boolean", False, left, right)
                return equality if operator == "=" else plan.Not("boolean", False, equality)
            case "<" | "<=" | ">" | ">=":
                self._check_comparable(operator, left, right)
                if kind(left.type) is Kind.BOOLEAN:
                    raise self._wrong(f"{left.type} {operator} {right.type}", "two numbers, strings, dates or times")
                return plan.Comparison("boolean", False, operator, self.single(left), self.single(right))
            case "+" | "&" if operator == "&" or kind(left.type) is Kind.STRING:
                texts = self._text(left, role), self._text(right, role)
                return plan.Concatenation("string", False, *texts, is_total=operator == "&")
        left, right = self._number(left, role), self._number(right, role)
        is_whole = operator == "div" or (operator != "/" and {kind(left.type), kind(right.type)} == {Kind.INTEGER})
        whole_type = "integer64" if "integer64" in (left.type, right.type) else "integer"
        return plan.Arithmetic(whole_type if is_whole else "decimal", False, operator, left, right)

    def _check_comparable(self, operator: str, left: Expression, right: Expression) -> None:
        kinds = {kind(left.type), kind(right.type)}
        if Kind.COMPLEX in kinds or (len(kinds) > 1 and not kinds <= NUMBERS):
            allowed = "two primitives of one kind (a date is written @2020-01-31)"
            raise self._wrong(f"{left.type} {operator} {right.type}", allowed)
