"""What compiled templates are made of: functions of a scope that give the values of an element. Leaves are beside."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cohortlake.core.claims.run import Run, Scope, resource_id
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


class Keyed(dict[str, Any]):
    """An entry that others of its key are merged with, and that items may point at."""

    key: tuple[str, ...] = ()


def constant(value: Any) -> Make:
    """The same for every record; it makes no object by itself."""
    found: Found = ([value], False)
    return lambda scope: found


def filled(fills: list[Fill]) -> Make:
    """An object of its elements."""

    def make(scope: Scope) -> Found:
        result: dict[str, Any] = {}
        is_found = False
        for fill_one in fills:
            is_found = fill_one(scope, result) or is_found
        return ([result], is_found) if result else NOTHING

    return make


def fill(element: Element, parts: list[Make], is_numbered: bool) -> Fill:
    """An element of an object: its values from all parts; of a choice the first that has a value stands."""
    name, is_list, choice = element.name, element.is_list, element.choice
    allowed = frozenset(element.codes or ()) if element.type == "code" else frozenset()
    part = parts[0] if len(parts) == 1 else all_of(parts)

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


def all_of(parts: list[Make]) -> Make:
    """The values of all parts."""

    def make(scope: Scope) -> Found:
        found: list[Any] = []
        is_found = False
        for part in parts:
            values, counts = part(scope)
            if values:
                found += values
                is_found = is_found or counts
        return found, is_found

    return make


def _distinct(values: list[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


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


def first_of(parts: list[Make]) -> Make | None:
    """The first of several that gives anything; None where there is none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return lambda scope: next((found for part in parts if (found := part(scope))[0]), NOTHING)


def where(test: Callable[[Scope], bool], make: Make) -> Make:
    return lambda scope: make(scope) if test(scope) else NOTHING


def counted(make: Make) -> Make:
    """Values that count as found though they are constants: a condition has chosen them."""

    def count(scope: Scope) -> Found:
        values = make(scope)[0]
        return values, bool(values)

    return count


def kept(make: Make, needed: str | None) -> Make:
    def keep(scope: Scope) -> Found:
        found = make(scope)
        return found if found[1] and (needed is None or needed in found[0][0]) else NOTHING

    return keep


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


def each_line(make: Make) -> Make:
    def each(scope: Scope) -> Found:
        run, rows = scope.run, scope.rows
        found = [value for row in rows for value in make(Scope(run, row, rows, scope.value))[0]]
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
        made = make_resource(target, Scope(scope.run, scope.row, scope.rows, value)) if value else None
        return ([{"reference": made}], True) if made else NOTHING

    return make


def make_resource(maker: ResourceMaker, scope: Scope) -> str | None:
    """Make a map's resource in a scope; its reference, or None where there is nothing to make."""
    given = maker.declared
    parts = [part(scope) if part else "" for part in maker.key]
    if not (maker.is_known(parts) and (maker.when is None or maker.when(scope))):
        return None
    values, is_found = maker.template(scope) if maker.template else NOTHING
    if not values or not is_found or (given.needs and given.needs not in values[0]):
        return None
    name = resource_id(given.resource, parts)
    scope.run.put(given.resource, name, values[0], is_passing=given.stub)
    return f"{given.resource}/{name}"
