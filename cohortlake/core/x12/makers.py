"""What compiled templates are put together from: functions from a scope to the values of an element."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cohortlake.core.fhir.definitions import Element, elements, primitive_types
from cohortlake.core.hl7v2.makers import set_bound
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.x12.loops import ALWAYS, CONSTANT
from cohortlake.core.x12.run import Position, Run, Scope
from cohortlake.core.x12.sources import Each, Source, Test
from cohortlake.core.x12.values import first_of, last_of

# Values for an element, and whether any came from the set (constants alone make no object).
Found = tuple[list[Any], bool]
Make = Callable[[Scope], Found]
# What turns a text, with its place and source, into values of an element's type.
Turn = Callable[[str, str, Source, Run], list[Any]]
NOTHING: Found = ([], False)


class Part(NamedTuple):
    """A maker, and the names (`Node.names`) of which a loop must have one for it to give anything.

    Most segments that a guide allows are not sent: what they would make is not tried.
    """

    make: Make
    needs: frozenset[str]


def needs_of(parts: Iterable[Part]) -> frozenset[str]:
    """What one at least of some parts needs."""
    return frozenset[str]().union(*(part.needs for part in parts))


def constant(value: Any) -> Part:
    """The same for every set; it makes no object by itself."""
    found: Found = ([value], False)
    return Part(lambda _: found, CONSTANT)


class Number:
    """Stands for the place of an item in its list until the list is made."""


NUMBER = Number()


def extreme(found: list[Source], is_last: bool, turn: Turn) -> Part:
    """The first or last day of all dates and ranges that a source gives."""

    def make(scope: Scope) -> Found:
        for source in found:
            texts = [(last_of(text) if is_last else first_of(text), place) for text, place in source.read(scope)]
            if texts:
                text, place = max(texts) if is_last else min(texts)
                values = turn(text, place, source, scope.run)
                return values, bool(values)
        return NOTHING

    return Part(make, sources_need(found))


def sources_need(found: list[Source]) -> frozenset[str]:
    """What one at least of some sources needs."""
    return frozenset[str]().union(*(source.needs for source in found))


def filled(made: list[tuple[Element, Part, frozenset[str]]], scope: Scope) -> Found:
    result: dict[str, Any] = {}
    is_found = False
    chosen: set[str] = set()
    names = scope.node.names
    for element, (part, needs), allowed in made:
        if needs.isdisjoint(names) or element.choice in chosen:
            continue
        values, counts = part(scope)
        if not values:
            continue
        is_found = is_found or counts
        if element.choice:
            chosen.add(element.choice)
        if element.is_list:
            _number(values)
        if allowed and not allowed.issuperset(values):
            set_bound(result, element.name, values, element.is_list, allowed)
        else:
            result[element.name] = values if element.is_list else values[0]
    return ([result], is_found) if result else NOTHING


def _number(values: list[Any]) -> None:
    for place, value in enumerate(values, 1):
        if isinstance(value, dict):
            for name, inner in value.items():
                if inner is NUMBER:
                    value[name] = place


def bears_money(kind: str) -> bool:
    return kind not in primitive_types() and any(element.type == "Money" for element in elements(kind).values())


def all_of(parts: list[Part], is_money: bool) -> Part:
    """What is told twice (a provider of two loops) is listed once; amounts that are equal are still two."""

    def make(scope: Scope) -> Found:
        names = scope.node.names
        found = [part(scope) for part, needs in parts if not needs.isdisjoint(names)]
        values = [value for values, _ in found for value in values]
        if not is_money:
            values = [value for at, value in enumerate(values) if value not in values[:at]]
        return values, any(counts for _, counts in found)

    return Part(make, needs_of(parts))


def only(test: Test, part: Part) -> Part:
    make, needs = part
    return Part(lambda scope: make(scope) if test(scope) else NOTHING, needs)


def repeated(each: Each, make: Make) -> Part:
    scopes = each.scopes

    def repeat(scope: Scope) -> Found:
        found = [value for inner in scopes(scope) for value in make(inner)[0]]
        return found, bool(found)

    return Part(repeat, each.needs)


def counted(part: Part) -> Part:
    make = part.make

    def counted(scope: Scope) -> Found:
        values = make(scope)[0]
        return values, bool(values)

    return Part(counted, ALWAYS if part.needs & CONSTANT else part.needs)


def any_of(parts: list[Part]) -> Part:
    makes = [part.make for part in parts]
    return Part(lambda scope: next((found for make in makes if (found := make(scope))[0]), NOTHING), needs_of(parts))


def joined(parts: list[Part], between: str, kind: str) -> Part:
    def join(scope: Scope) -> Found:
        found = [part.make(scope) for part in parts]
        text = between.join(str(value) for values, _ in found for value in values)
        is_found = any(counts for _, counts in found)
        return ([convert(text, kind, scope.run.clock)], True) if text and is_found else NOTHING

    return Part(join, needs_of(parts))


def settled(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource with the positions in it resolved; one that is nowhere is left out."""
    settled: dict[str, Any] = _settle(resource, resource)
    return settled


def identity(keys: list[list[Make]], scope: Scope) -> list[str] | None:
    """The parts of the first key whose first part has a value."""
    for key in keys:
        first = key[0](scope)[0]
        if first:
            rest = [part(scope)[0] for part in key[1:]]
            return [str(values[0]) if values else "" for values in (first, *rest)]
    return None


def _settle(value: Any, root: dict[str, Any]) -> Any:
    if isinstance(value, Position):
        items = root.get(value.name, ())
        return next(
            (i["sequence"] for i in items if i.get(value.element, {}).get("reference") == value.reference), None
        )
    if isinstance(value, dict):
        inner = {name: _settle(item, root) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item is not None and item != []}
    if isinstance(value, list):
        return [item for item in (_settle(item, root) for item in value) if item is not None]
    return value
