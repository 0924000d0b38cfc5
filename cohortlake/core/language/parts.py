"""What compiled templates are made of: functions from a scope to the values of an element."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Protocol

from cohortlake.core.fhir.definitions import Element, primitive_types
from cohortlake.core.language.run import Run

# Values for an element, and whether any came from the record (constants alone make no object).
Found = tuple[list[Any], bool]
NOTHING: Found = ([], False)
# Bits of `Scope.held` that are always set: of what may give something anywhere, and of constants.
ALWAYS, CONSTANT = 1, 2


class Scope(Protocol):
    """Where a template is filled. `held` has a bit for each thing that is there: what needs others is not tried."""

    @property
    def run(self) -> Any: ...

    @property
    def held(self) -> int: ...


Make = Callable[[Any], Found]
Test = Callable[[Any], bool]


class Part(NamedTuple):
    """A maker, and the bits (`Scope.held`) of which one at least must be set for it to give anything."""

    make: Make
    needs: int


class Each(NamedTuple):
    """What is gone through: the scopes of it, of which there are none where none of the bits is set."""

    scopes: Callable[[Any], Iterable[Any]]
    needs: int


class Bits(dict[str, int]):
    """A bit for each name, given out as they are asked for; the first two are taken."""

    def __missing__(self, name: str) -> int:
        self[name] = bit = 4 << len(self)
        return bit

    def of(self, names: Iterable[str]) -> int:
        """The bits of names that were asked for, and those that are always set."""
        return reduce(or_, (self[name] for name in names if name in self), ALWAYS | CONSTANT)


class Number:
    """Stands for the place of an item in its list until the list is made."""


NUMBER = Number()


def needs_of(parts: Iterable[Part]) -> int:
    """What one at least of some parts needs."""
    return reduce(or_, (part.needs for part in parts), 0)


def constant(value: Any) -> Part:
    """The same for every record; it makes no object by itself."""
    found: Found = ([value], False)
    return Part(lambda _: found, CONSTANT)


class Filled(NamedTuple):
    """An element of an object with the part that fills it in.

    `allowed` are the codes that it may have, if any; `absence` says why it is absent, if the record does.
    """

    element: Element
    part: Part
    allowed: frozenset[str]
    is_numbered: bool
    path: str
    absence: Callable[[Any], str | None] | None = None


class Chosen(NamedTuple):
    """A value with the name of the element that it is of (`valueQuantity`), where what is found chooses its type."""

    name: str
    value: Any


class Keyed(dict[str, Any]):
    """An entry that others of its key are merged with, and that items may point at."""

    key: tuple[str, ...] = ()


def filled(fills: list[Filled]) -> Make:
    """An object of its elements. Of a choice (`value[x]`) the first that gives anything stands."""
    ready = [(*each.part, *each[:1], each.element.is_list, *each[2:]) for each in fills]

    def make(scope: Any) -> Found:
        result: dict[str, Any] = {}
        is_found = False
        chosen: set[str] = set()
        held = scope.held
        for part, needs, element, is_list, allowed, is_numbered, path, absence in ready:
            if not held & needs or (element.choice and element.choice in chosen):
                continue
            values, counts = part(scope)
            if not values:
                if absence and (reason := absence(scope)):
                    _set_absent(result, element, reason)
                continue
            is_found = is_found or counts
            if element.choice:
                chosen.add(element.choice)
            if isinstance(values[0], Chosen):
                result[values[0].name] = values[0].value
                continue
            if is_numbered:
                values = _numbered(values, scope.run)
            elif is_list:
                _number(values)
            elif len(values) > 1:
                _leave(values, path, scope.run)
            if allowed and not allowed.issuperset(values):
                _set_bound(result, element.name, values, is_list, allowed)
            else:
                result[element.name] = values if is_list else values[0]
        return ([result], is_found) if result else NOTHING

    return make


def _number(values: list[Any]) -> None:
    for place, value in enumerate(values, 1):
        if isinstance(value, dict):
            for name, inner in value.items():
                if inner is NUMBER:
                    value[name] = place


def _numbered(values: list[Any], run: Any) -> list[Any]:
    """Entries in order with their `sequence`: their own numbers where all have one, and no two the same."""
    entries: dict[Any, dict[str, Any]] = {}
    for position, value in enumerate(values):
        key = value.key if isinstance(value, Keyed) else position
        known = entries.get(key)
        entries[key] = value if known is None else merged(known, value)
    own = [entry.get("sequence") for entry in entries.values()]
    is_own = all(own) and len(set(own)) == len(own)
    if any(own) and not is_own:
        run.warn("lines without a number of their own: numbered in order", "sequence")
    numbers = own if is_own else range(1, len(own) + 1)
    for key, number in zip(entries, numbers, strict=True):
        entries[key] = {**entries[key], "sequence": number}
        if isinstance(key, tuple) and number is not None:
            run.numbers[key] = number
    return list(entries.values())


def merged(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """One thing told twice: what was told first stands, lists are joined."""
    result = dict(known)
    for name, value in more.items():
        if name not in result:
            result[name] = value
        elif isinstance(value, list):
            result[name] = [*result[name], *(item for item in value if item not in result[name])]
    return result


def keyed(key: list[Part], part: Part) -> Part:
    """Entries with the key that they are known by: a name, and what the other parts give."""
    make = part.make

    def entries(scope: Any) -> Found:
        values, is_found = make(scope)
        if not values:
            return NOTHING
        entry = Keyed(values[0])
        entry.key = tuple(str(found[0]) if (found := each.make(scope)[0]) else "" for each in key)
        return [entry], is_found

    return Part(entries, part.needs)


def _leave(values: list[Any], path: str, run: Run) -> None:
    """An element that takes one value: others than the first are counted as not mapped."""
    others = sum(value != values[0] for value in values[1:])
    if others:
        run.leave(f"{path}: further repetitions", others)


ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ORIGINAL_TEXT = "http://hl7.org/fhir/StructureDefinition/originalText"


def _set_bound(result: dict[str, Any], name: str, values: list[Any], is_list: bool, allowed: frozenset[str]) -> None:
    """An element whose binding is required holds its codes only: another code is kept as its original text."""
    good = [value for value in values if value in allowed]
    if good:
        result[name] = good if is_list else good[0]
    else:
        kept = {"extension": [{"url": ORIGINAL_TEXT, "valueString": str(values[0])}]}
        result[f"_{name}"] = [kept] if is_list else kept


def _set_absent(result: dict[str, Any], element: Element, reason: str) -> None:
    """Why a value is absent stands beside it: of a primitive under its name with an underscore."""
    absent = {"extension": [{"url": ABSENT, "valueCode": reason}]}
    name = f"_{element.name}" if element.type in primitive_types() else element.name
    result[name] = [absent] if element.is_list else absent


def distinct(values: Iterable[Any]) -> list[Any]:
    """Values without repeats, in order; references that are empty until all is made stay apart."""
    found: list[Any] = []
    for value in values:
        if value == {} or value not in found:
            found.append(value)
    return found


def all_of(parts: list[Part], *, is_apart: bool) -> Part:
    """What several parts give. What is told twice is listed once, but for equal things that are two: amounts, entries
    that have numbers (`is_apart`)."""

    def make(scope: Any) -> Found:
        held = scope.held
        found = [make_one(scope) for make_one, needs in parts if held & needs]
        values = [value for values, _ in found for value in values]
        return values if is_apart else distinct(values), any(counts for _, counts in found)

    return Part(make, needs_of(parts))


def first_of(parts: list[Part]) -> Part:
    """The first of several that gives anything."""
    if len(parts) == 1:
        return parts[0]
    makes = [part.make for part in parts]
    return Part(lambda scope: next((found for make in makes if (found := make(scope))[0]), NOTHING), needs_of(parts))


def only(test: Test, part: Part) -> Part:
    """A part where a condition holds. Constants that a condition chose count as found."""
    make, needs = part
    return Part(lambda scope: make(scope) if test(scope) else NOTHING, needs)


def counted(part: Part) -> Part:
    """Values that count as found though they are constants: a condition has chosen them."""
    make = part.make

    def count(scope: Any) -> Found:
        values = make(scope)[0]
        return values, bool(values)

    return Part(count, ALWAYS if part.needs & CONSTANT else part.needs)


def repeated(each: Each, part: Part) -> Part:
    """A part once for each of what is gone through."""
    scopes, (make, needs) = each.scopes, part

    def repeat(scope: Any) -> Found:
        found = [value for inner in scopes(scope) if inner.held & needs for value in make(inner)[0]]
        return found, bool(found)

    return Part(repeat, each.needs)


def needed(part: Part, name: str | None) -> Part:
    """An object that something of the record made, and that has the element `name` where one is named."""
    make = part.make

    def kept(scope: Any) -> Found:
        values, is_found = make(scope)
        return (values, True) if is_found and (name is None or name in values[0]) else NOTHING

    return Part(kept, part.needs & ~CONSTANT)


def joined(
    parts: list[Part], between: str, kind: str, convert: Callable[[str, str, Any], Any], *, is_sorted: bool
) -> Part:
    """The texts that there are, as one; encoded where the element is base64Binary."""

    def join(scope: Any) -> Found:
        found = [part.make(scope) for part in parts]
        texts = [str(value) for values, _ in found for value in values]
        text = between.join(sorted(texts) if is_sorted else texts)
        if not (text and any(counts for _, counts in found)):
            return NOTHING
        if kind == "base64Binary":
            text = base64.b64encode(text.encode()).decode()
        return [convert(text, kind, scope)], True

    return Part(join, needs_of(parts))
