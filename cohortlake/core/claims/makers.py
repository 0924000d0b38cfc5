"""What compiled templates are made of: functions of a scope that give the values of an element. Leaves are beside."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Iterable
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

from cohortlake.core.claims.run import CONSTANT, Run, Scope, resource_id
from cohortlake.core.fhir.definitions import Element
from cohortlake.core.hl7v2.makers import set_bound
from cohortlake.core.hl7v2.run import merged

if TYPE_CHECKING:
    from cohortlake.core.claims.templates import ResourceMaker

# Values for an element, and whether any came from the record (constants alone make no object).
Found = tuple[list[Any], bool]
Make = Callable[[Scope], Found]
Read = Callable[[Scope], str]
Fill = Callable[[Scope, dict[str, Any]], bool]
NOTHING: Found = ([], False)


class Part(NamedTuple):
    """A maker, and the cells (`Cells.held`) of which one at least must have a value for it to give anything.

    Most cells of most rows are empty: what they would make is not tried.
    """

    make: Make
    needs: int


class Keyed(dict[str, Any]):
    """An entry that others of its key are merged with, and that items may point at."""

    key: tuple[str, ...] = ()


def constant(value: Any) -> Part:
    """The same for every record; it makes no object by itself."""
    found: Found = ([value], False)
    return Part(lambda scope: found, CONSTANT)


def filled(fills: list[tuple[Fill, int]], *, needed: str | None = None, is_whole: bool = False) -> Make:
    """An object of its elements, each with its needs.

    One of constants alone is none, nor one without the element that is `needed`; a resource (`is_whole`) is not asked.
    """

    def make(scope: Scope) -> Found:
        result: dict[str, Any] = {}
        is_found = False
        held = scope.row.held
        for fill_one, needs in fills:
            if held & needs:
                is_found = fill_one(scope, result) or is_found
        if is_whole:
            return ([result], is_found) if result else NOTHING
        return ([result], True) if is_found and (needed is None or needed in result) else NOTHING

    return make


def needs_of(parts: Iterable[Part]) -> int:
    """What one at least of some parts needs."""
    return reduce(or_, (part.needs for part in parts), 0)


def fill(element: Element, parts: list[Part], *, is_numbered: bool, is_contested: bool) -> Fill:
    """An element of an object: its values from all parts.

    Of a choice of which a template has several types (`is_contested`) the first that has a value stands.
    """
    name, is_list, choice = element.name, element.is_list, element.choice if is_contested else ""
    allowed = frozenset(element.codes or ()) if element.type == "code" else frozenset()
    part = parts[0].make if len(parts) == 1 else all_of(parts)
    if not (is_list or choice or allowed):
        return _plain(name, part)

    def put(scope: Scope, result: dict[str, Any]) -> bool:
        values, is_found = part(scope)
        if not values or (choice and any(other.startswith(choice) for other in result)):
            return False
        if is_numbered:
            values = _numbered(values, scope.run)
        elif len(values) > 1:
            values = _distinct(values)
        if allowed and not allowed.issuperset(values):
            set_bound(result, name, values, is_list, allowed)
        else:
            result[name] = values if is_list else values[0]
        return is_found

    return put


def _plain(name: str, part: Make) -> Fill:
    def put(scope: Scope, result: dict[str, Any]) -> bool:
        values, is_found = part(scope)
        if values:
            result[name] = values[0]
            return is_found
        return False

    return put


def all_of(parts: list[Part]) -> Make:
    """The values of all parts."""

    def make(scope: Scope) -> Found:
        found: list[Any] = []
        is_found = False
        held = scope.row.held
        for part, needs in parts:
            if not held & needs:
                continue
            values, counts = part(scope)
            if values:
                found += values
                is_found = is_found or counts
        return found, is_found

    return make


def _distinct(values: list[Any]) -> list[Any]:
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _numbered(values: list[Any], run: Run) -> list[Any]:
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


def first_of(parts: list[Part]) -> Part | None:
    """The first of several that gives anything; None where there is none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    makes = [part.make for part in parts]
    return Part(lambda scope: next((found for make in makes if (found := make(scope))[0]), NOTHING), needs_of(parts))


def where(test: Callable[[Scope], bool], make: Make) -> Make:
    return lambda scope: make(scope) if test(scope) else NOTHING


def counted(make: Make) -> Make:
    """Values that count as found though they are constants: a condition has chosen them."""

    def count(scope: Scope) -> Found:
        values = make(scope)[0]
        return values, bool(values)

    return count


def keyed(name: str, parts: list[Read], make: Make) -> Make:
    def key(scope: Scope) -> Found:
        values, is_found = make(scope)
        if not values:
            return NOTHING
        entry = Keyed(values[0])
        entry.key = (name, *(part(scope) for part in parts))
        return [entry], is_found

    return key


def with_value(read: Read, make: Make) -> Make:
    def each(scope: Scope) -> Found:
        value = read(scope)
        return make(Scope(scope.run, scope.row, scope.rows, value)) if value else NOTHING

    return each


def each_line(part: Part) -> Make:
    make, needs = part

    def each(scope: Scope) -> Found:
        run, rows = scope.run, scope.rows
        chosen = [row for row in rows if row.held & needs]
        found = [value for row in chosen for value in make(Scope(run, row, rows, scope.value))[0]]
        return found, bool(found)

    return each


def months(columns: list[Read | None], year: Read, of: frozenset[str], but: frozenset[str]) -> Make:
    """The period from the first to the last month whose value is one `of` some, or any `but` some."""

    def make(scope: Scope) -> Found:
        values = [column(scope) if column else "" for column in columns]
        covered = [n for n, v in enumerate(values, 1) if v and (v in of if of else v not in but)]
        text = year(scope)
        if not covered or not (text.isascii() and text.isdigit() and len(text) == 4 and text > "0000"):
            return NOTHING
        first, last = covered[0], covered[-1]
        end = monthrange(int(text), last)[1]
        return [{"start": f"{text}-{first:02}-01", "end": f"{text}-{last:02}-{end:02}"}], True

    return make


def reference(target: ResourceMaker, read: Read) -> Make:
    def make(scope: Scope) -> Found:
        value = read(scope)
        if not value:
            return NOTHING
        known, key = scope.run.references, (id(target), id(scope.row), value)
        if key not in known:
            known[key] = make_resource(target, Scope(scope.run, scope.row, scope.rows, value))
        made = known[key]
        return ([{"reference": made}], True) if made else NOTHING

    return make


def make_resource(maker: ResourceMaker, scope: Scope) -> str | None:
    """Make a map's resource in a scope; its reference, or None where there is nothing to make."""
    given = maker.declared
    parts = [part(scope) if part else "" for part in maker.key]
    if not (maker.is_known(parts) and (maker.when is None or maker.when(scope))):
        return None
    name = resource_id(given.resource, parts)
    with scope.run.codes.within((given.resource, name)):
        values, is_found = maker.template(scope) if maker.template else NOTHING
    if not values or not is_found or (given.needs and given.needs not in values[0]):
        return None
    scope.run.put(given.resource, name, values[0], is_passing=given.stub)
    return f"{given.resource}/{name}"
