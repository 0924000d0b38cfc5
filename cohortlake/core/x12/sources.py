"""The expressions at a template's leaves and in its conditions, compiled to functions.

`=REF[F8]-2, 2330B/REF[F8]-2 | date`: sources, the first that gives a value counts; then what turns it into FHIR.

    CLM-5.1           a component of an element of this loop's segment (or of the one that is gone through)
    REF[EI SY]-2      of the segments with one of these qualifiers (their first element)
    2010BB/NM1-9      of another loop: the nearest around, or one directly in such; `2310A|2310B/NM1-9` any of several
    .2, .1.2          a part of the value at hand (in `$each`), and a component of it
    @name             what the set's declaration says; `@created`, `@sender`, `@currency`
    & Claim           a reference to what a map made of this loop; `& 2010BA/Patient` of another
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cohortlake.core.x12.loops import ALWAYS
from cohortlake.core.x12.run import Scope, Value

SEGMENT = re.compile(
    r"(?:(?P<loops>[0-9A-Z.|]+)/)?(?P<name>[A-Z][A-Z0-9]{1,2})(?:\[(?P<codes>[^\]]+)\])?"
    r"-(?P<element>\d+)(?:\.(?P<component>\d+))?"
)
RELATIVE = re.compile(r"\.(?P<part>\d+)(?:\.(?P<component>\d+))?")
REFERENCE = re.compile(r"& ?(?:(?P<loops>[0-9A-Z.|]+)/)?(?P<map>[A-Z]\w+)")
CONDITION = re.compile(r"(?P<no>not )?(?P<source>(?:\[[^\]]*\]|[^=!\[])+?)(?: (?P<op>=|!=) (?P<codes>.+))?")
# `MIA`: whether the loop has such a segment.
PRESENT = re.compile(r"(?P<no>not )?(?P<name>[A-Z][A-Z0-9]{1,2})")
BESIDE = re.compile(r"(?P<no>not )?(?P<where>beside|holds) (?P<loop>[0-9A-Z.]+)")
EACH_LOOP = re.compile(r"loop (?P<loops>[0-9A-Z.|]+(?: > [0-9A-Z.|]+)*)")
EACH_SEGMENT = re.compile(r"(?P<name>[A-Z][A-Z0-9]{1,2})(?:\[(?P<codes>[^\]]+)\])?")
EACH_ELEMENT = re.compile(r"(?P<name>[A-Z][A-Z0-9]{1,2})-\*\[(?P<codes>[^\]]+)\]")
EACH_RUN = re.compile(r"(?P<name>[A-Z][A-Z0-9]{1,2})-(?P<first>\d+)\+(?P<length>\d+)")
EACH_REPETITION = re.compile(r"(?P<name>[A-Z][A-Z0-9]{1,2})-(?P<element>\d+)")

# A text that was found, with its place.
Found = tuple[str, str]
Read = Callable[[Scope], list[Found]]
Test = Callable[[Scope], bool]


@dataclass(frozen=True)
class Source:
    """A compiled source: `read` gives texts with their places; `is_reference` texts are `Type/id`.

    It gives none where the loop has none of the names (`Node.names`) that it `needs`.
    """

    read: Read
    needs: frozenset[str] = ALWAYS
    is_reference: bool = False


@dataclass(frozen=True)
class Each:
    """What is gone through: the scopes of it, of which there are none without one of the names that it `needs`."""

    scopes: Callable[[Scope], list[Scope]]
    needs: frozenset[str]


def _set(text: str | None, mark: str | None = None) -> frozenset[str]:
    return frozenset((text or "").split(mark))


def _segment(match: re.Match[str]) -> Source:
    loops = _set(match["loops"], "|") if match["loops"] else frozenset[str]()
    name, codes, element = match["name"], _set(match["codes"]), int(match["element"])
    component = int(match["component"] or 0)

    def read(scope: Scope) -> list[Found]:
        found = []
        for segment in scope.segments(loops, name, codes):
            scope.run.take(segment, element, component)
            text = segment.text(element, component)
            if text:
                found.append((text, segment.at(element, component)))
        return found

    return Source(read, loops or frozenset((name,)))


def _relative(match: re.Match[str]) -> Source:
    part, component = int(match["part"]), int(match["component"] or 1)

    def read(scope: Scope) -> list[Found]:
        value, segment = scope.value, scope.segment
        if value is None or segment is None:
            return []
        at = (scope.element + part - 1, component) if scope.is_run else (scope.element, part)
        scope.run.take(segment, *at)
        if part > len(value) or component > len(value[part - 1]) or not value[part - 1][component - 1]:
            return []
        return [(value[part - 1][component - 1], segment.at(at[0], 0 if scope.is_run else part))]

    return Source(read)


def _reference(match: re.Match[str]) -> Source:
    loops = _set(match["loops"], "|") if match["loops"] else frozenset[str]()
    name = match["map"]

    def read(scope: Scope) -> list[Found]:
        nodes = scope.nodes(loops) if loops else [scope.node]
        return [(made, "") for node in nodes for made in node.made.get(name, ())]

    return Source(read, loops or ALWAYS, is_reference=True)


def _variable(name: str) -> Source:
    def read(scope: Scope) -> list[Found]:
        text = scope.run.variables.get(name, "")
        return [(text, f"@{name}")] if text else []

    return Source(read)


def _one(text: str) -> Source:
    for pattern, build in ((SEGMENT, _segment), (REFERENCE, _reference), (RELATIVE, _relative)):
        match = pattern.fullmatch(text)
        if match:
            return build(match)
    if re.fullmatch(r"@[a-z_]+", text):
        return _variable(text[1:])
    raise ValueError(f"{text!r} is not a source; expected CLM-5.1, REF[EI]-2, 2010BB/NM1-9, .1, @name or & Claim")


def sources(text: str) -> list[Source]:
    """The sources of an expression, in order. Raises ValueError naming the one that is not understood."""
    return [_one(part.strip()) for part in text.split(",")]


def condition(text: str) -> Test:
    """A condition: `A`, `not A`, `A = x y` (one of), `A != x`, `beside 2300` (the loop around has one), `holds 2300`
    (this loop has one); several with `;`. Raises ValueError."""
    tests = [_condition(part.strip()) for part in text.split(";")]
    return tests[0] if len(tests) == 1 else lambda scope: all(test(scope) for test in tests)


def _condition(text: str) -> Test:
    match = BESIDE.fullmatch(text)
    if match:
        return _beside(match["loop"], match["where"] == "holds", bool(match["no"]))
    match = PRESENT.fullmatch(text)
    if match:
        name, is_absent = match["name"], bool(match["no"])
        return lambda scope: bool(scope.node.own(name)) != is_absent
    match = CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a condition; expected `A`, `not A`, `A = x y`, `A != x` or `beside 2300`")
    source, operator = _one(match["source"].strip()), match["op"]
    is_negated, codes = bool(match["no"]), _set(match["codes"])

    def test(scope: Scope) -> bool:
        found = source.read(scope)
        if operator is None:
            return bool(found) != is_negated
        is_in = (found[0][0] if found else "") in codes
        return is_in if operator == "=" else not is_in

    return test


def _beside(loop: str, is_in: bool, is_negated: bool) -> Test:
    def test(scope: Scope) -> bool:
        node = scope.node if is_in else scope.node.parent
        return (node is not None and any(child.name == loop for child in node.children)) != is_negated

    return test


def each(text: str) -> Each:
    """What is gone through. Raises ValueError.

    `loop 2310A|2310B` are loops in this one (`loop 2400 > 2420A` in those in it), `CAS` its segments, `CAS-2+3` runs
    of three elements from the second, `HI-*[BG]` elements by their first component, `SVC-6` an element's repetitions.
    """
    for pattern, build in (
        (EACH_LOOP, _each_loop),
        (EACH_SEGMENT, _each_segment),
        (EACH_ELEMENT, _each_element),
        (EACH_RUN, _each_run),
        (EACH_REPETITION, _each_repetition),
    ):
        match = pattern.fullmatch(text)
        if match:
            return build(match)
    raise ValueError(f"{text!r} cannot be gone through; expected `loop 2310A`, CAS, CAS-2+3, HI-*[BG] or SVC-6")


def _each_loop(match: re.Match[str]) -> Each:
    steps = [_set(step, "|") for step in match["loops"].split(" > ")]

    def scopes(scope: Scope) -> list[Scope]:
        nodes = [scope.node]
        for loops in steps:
            nodes = [child for node in nodes for child in node.children if child.name in loops]
        return [Scope(scope.run, node) for node in nodes]

    return Each(scopes, steps[0])


def _each_segment(match: re.Match[str]) -> Each:
    name, codes = match["name"], _set(match["codes"])

    def scopes(scope: Scope) -> list[Scope]:
        found = Scope(scope.run, scope.node).segments(frozenset(), name, codes)
        return [Scope(scope.run, scope.node, segment) for segment in found]

    return Each(scopes, frozenset((name,)))


def _each_element(match: re.Match[str]) -> Each:
    name, codes = match["name"], _set(match["codes"])

    def scopes(scope: Scope) -> list[Scope]:
        found = []
        for segment in scope.segments(frozenset(), name, frozenset()):
            for element in range(1, len(segment.elements)):
                for value in segment.repetitions(element):
                    if value[0] in codes:
                        scope.run.take(segment, element, 1)
                        found.append(Scope(scope.run, scope.node, segment, _parts(value), element))
        return found

    return Each(scopes, frozenset((name,)))


def _each_run(match: re.Match[str]) -> Each:
    name, first, length = match["name"], int(match["first"]), int(match["length"])

    def scopes(scope: Scope) -> list[Scope]:
        found = []
        for segment in scope.segments(frozenset(), name, frozenset()):
            for start in range(first, len(segment.elements), length):
                parts = tuple(next(iter(segment.repetitions(n)), ("",)) for n in range(start, start + length))
                if any(any(part) for part in parts):
                    found.append(Scope(scope.run, scope.node, segment, parts, start, is_run=True))
        return found

    return Each(scopes, frozenset((name,)))


def _each_repetition(match: re.Match[str]) -> Each:
    name, element = match["name"], int(match["element"])

    def scopes(scope: Scope) -> list[Scope]:
        return [
            Scope(scope.run, scope.node, segment, _parts(value), element)
            for segment in scope.segments(frozenset(), name, frozenset())
            for value in segment.repetitions(element)
        ]

    return Each(scopes, frozenset((name,)))


def _parts(value: tuple[str, ...]) -> Value:
    return tuple((component,) for component in value)
