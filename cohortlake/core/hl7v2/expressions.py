"""The expressions at a template's leaves and in its conditions, compiled to functions.

`=PID-3[.5=MR PI].1, PID-2 | CX.Identifier`: sources, the first that gives a value counts; then what turns it into FHIR.

    PID-3          a field of the nearest such segment, all its repetitions; PID-3.4.2 a subcomponent
    PID-3[2]       its second repetition; PID-3[.5=MR PI] those whose fifth component is MR, else PI
    +OBX-5         of all such segments in the group and in those within it
    .4.2, .        relative to the value at hand (in datatype maps and `$each`)
    @name          what the message map sets; `@facility`, the URI of the sender; `@argument`: `| XTN.ContactPoint home`
    & PID.Patient  a reference to what a segment map made, around here; `& order/OBX.Observation` within the group;
                   `& message/PID.Patient[2]` to the second one
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cohortlake.core.hl7v2.codes import text_of
from cohortlake.core.hl7v2.run import Scope
from cohortlake.core.readers.hl7v2 import Value

FIELD = re.compile(
    r"(?P<within>\+)?(?P<segment>[A-Z][A-Z0-9]{2})-(?P<field>\d+)"
    r"(?:\[(?P<nth>\d+)\]|\[\.(?P<by>\d+)=(?P<kinds>[^\]]+)\])?(?P<path>(?:\.\d+){0,2})"
)
RELATIVE = re.compile(r"\.(?P<path>\d+(?:\.\d+)?)?")
REFERENCE = re.compile(r"& ?(?:(?P<group>[a-z_]+)/)?(?P<map>[A-Z0-9]{3}\.\w+)(?:\[(?P<nth>\d+)\])?")
SEGMENTS = re.compile(r"(?P<within>\+)?(?P<segment>[A-Z][A-Z0-9]{2})")
CONDITION = re.compile(r"(?P<no>not )?(?P<source>(?:\[[^\]]*\]|[^=!\[])+?)(?: (?P<op>=|!=) (?P<codes>.+))?")

Read = Callable[[Scope], list[Value]]
# What a reader found, and the place that a problem with it names.
Test = Callable[[Scope], bool]


@dataclass(frozen=True)
class Source:
    """Compiled sources: `read` gives the values, `place` names the first one, `fields` are those that are read."""

    read: Read
    place: str
    fields: frozenset[tuple[str, int]]


def _part(value: Value, path: tuple[int, ...]) -> Value | None:
    """A component as a value of its own (its subcomponents are its components), or a subcomponent as one."""
    if not path:
        return value
    if len(value) < path[0]:
        return None
    component = value[path[0] - 1]
    if len(path) == 2:
        return ((component[path[1] - 1],),) if len(component) >= path[1] else None
    return tuple((subcomponent,) for subcomponent in component)


def _parts(values: list[Value], path: tuple[int, ...]) -> list[Value]:
    if not path:
        return values
    found = (_part(value, path) for value in values)
    return [value for value in found if value is not None and any(leaf.strip() for c in value for leaf in c)]


def _path(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (text or "").split(".") if part)


def _select(values: list[Value], by: int, kinds: list[str]) -> list[Value]:
    for kind in kinds:
        found = [value for value in values if text_of(value, by) == kind]
        if found:
            return found
    return []


def _field(match: re.Match[str]) -> Source:
    name, position, path = match["segment"], int(match["field"]), _path(match["path"])
    nth, by, kinds = match["nth"], match["by"], (match["kinds"] or "").split()
    is_within = bool(match["within"])

    def read(scope: Scope) -> list[Value]:
        segments = scope.segments_within(name) if is_within else scope.segments(name)
        values = [value for segment in segments for value in segment.values(position)]
        if nth:
            values = values[int(nth) - 1 : int(nth)]
        elif by:
            values = _select(values, int(by), kinds)
        return _parts(values, path)

    return Source(read, f"{name}-{position}", frozenset({(name, position)}))


def _variable(name: str) -> Source:
    def read(scope: Scope) -> list[Value]:
        given = {"facility": scope.run.facility, "argument": scope.table or ""}
        text = given[name] if name in given else scope.run.variables.get(name, "")
        return [((text,),)] if text else []

    return Source(read, f"@{name}", frozenset())


def _reference(match: re.Match[str]) -> Source:
    name, group, nth = match["map"], match["group"], match["nth"]

    def read(scope: Scope) -> list[Value]:
        found = list(dict.fromkeys(scope.references(name, group)))
        return [((made,),) for made in (found[int(nth) - 1 : int(nth)] if nth else found)]

    return Source(read, f"& {name}", frozenset())


def _relative(match: re.Match[str]) -> Source:
    path = _path(match["path"])

    def read(scope: Scope) -> list[Value]:
        return _parts([scope.value], path) if scope.value is not None else []

    return Source(read, "", frozenset())


def _one(text: str) -> Source:
    for pattern, build in ((FIELD, _field), (REFERENCE, _reference), (RELATIVE, _relative)):
        match = pattern.fullmatch(text)
        if match:
            return build(match)
    if re.fullmatch(r"@[a-z_]+", text):
        return _variable(text[1:])
    raise ValueError(f"{text!r} is not a source; expected PID-3.1, .1, @name or & PID.Patient")


def sources(text: str) -> list[Source]:
    """The sources of an expression, in order. Raises ValueError naming the one that is not understood."""
    return [_one(part.strip()) for part in text.split(",")]


def condition(text: str) -> tuple[Test, frozenset[tuple[str, int]]]:
    """A condition: `A`, `not A`, `A = x y` (one of), `A != x`, several with `;`. Raises ValueError.

    One code that has the shape of a field (`MRG-5.1 != +PV1-19.1`) is that field's value.
    """
    tests: list[Test] = []
    fields: frozenset[tuple[str, int]] = frozenset()
    for part in text.split(";"):
        match = CONDITION.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is not a condition; expected `A`, `not A`, `A = x y` or `A != x`")
        source = _one(match["source"].strip())
        codes = match["codes"] or ""
        other = _one(codes) if FIELD.fullmatch(codes) else None
        fields |= source.fields | (other.fields if other else frozenset())
        tests.append(_test(source, bool(match["no"]), match["op"], other or frozenset(codes.split())))
    return (lambda scope: all(test(scope) for test in tests)), fields


def _test(source: Source, is_negated: bool, operator: str | None, right: frozenset[str] | Source) -> Test:
    def test(scope: Scope) -> bool:
        values = source.read(scope)
        if operator is None:
            return bool(values) != is_negated
        codes = right if isinstance(right, frozenset) else {text_of(value) for value in right.read(scope)[:1]} or {""}
        found = (text_of(values[0]) if values else "") in codes
        return found if operator == "=" else not found

    return test
