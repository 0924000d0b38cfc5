"""How X12 is read by templates of the mapping language (docs/mappings.md): segments, loops, runs of elements.

CLM-5.1           a component of an element of this loop's segment (or of the one that is gone through)
REF[EI SY]-2      of the segments with one of these qualifiers (their first element)
2010BB/NM1-9      of another loop: the nearest around, or one directly in such; `2310A|2310B/NM1-9` any of several
.2, .1.2          a part of the value at hand (in `$each`), and a component of it
@name             what the set's declaration says; `@created`, `@sender`, `@currency`
& Claim           a reference to what a map made of this loop; `& 2010BA/Patient` of another
earliest DTP-3    the first day of all dates and ranges that a source gives; `latest DTP-3` the last
=A | position careTeam.provider   the sequence of the item of the resource's list that refers to A
$refers: Claim    a Reference to what that map makes of the identity in `$key`, in this set or another
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from cohortlake.core.catalog.source import Location
from cohortlake.core.fhir.definitions import primitive_types
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.language.compiler import Compiler
from cohortlake.core.language.identity import identity, resource_id
from cohortlake.core.language.parts import ALWAYS, NOTHING, Bits, Each, Found, Part, Test
from cohortlake.core.language.source import Leaf, Source, Turn
from cohortlake.core.x12.declared import LoopMap
from cohortlake.core.x12.run import IDS, Scope, Value
from cohortlake.core.x12.values import TEXTS, first_of, last_of, money

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

EXTREME = re.compile(r"(?P<which>earliest|latest) (?P<source>.+)")
# Texts with their places.
Texts = list[tuple[str, str]]
Pattern = Callable[[re.Match[str]], Any]


def _set(text: str | None, mark: str | None = None) -> frozenset[str]:
    return frozenset((text or "").split(mark))


class SetSource(Source):
    """Reads for the templates of one map; `maps` are those that `$refers` may name."""

    name = "x12"

    def __init__(self, maps: dict[str, LoopMap], bits: Bits) -> None:
        self.maps, self.bits = maps, bits
        self.directives = {"$refers": self._refers, "$key": self._refers}

    def leaf(self, text: str, *, for_target: bool = False) -> Leaf:
        """Texts of elements, of the value at hand, variables, references. Raises ValueError."""
        match = EXTREME.fullmatch(text)
        if match:
            return _extreme(self.leaf(match["source"]), is_last=match["which"] == "latest")
        for pattern, build in ((SEGMENT, self._segment), (REFERENCE, self._reference), (RELATIVE, _relative)):
            match = pattern.fullmatch(text)
            if match:
                found: Leaf = build(match)
                return found
        if re.fullmatch(r"@[a-z_]+", text):
            return _variable(text[1:])
        raise ValueError(f"{text!r} is not a source; expected CLM-5.1, REF[EI]-2, 2010BB/NM1-9, .1, @name or & Claim")

    def _needs(self, loops: frozenset[str], name: str = "") -> int:
        names = loops or ({name} if name else ())
        return sum(self.bits[each] for each in names) or ALWAYS

    def _segment(self, match: re.Match[str]) -> Leaf:
        loops = _set(match["loops"], "|") if match["loops"] else frozenset[str]()
        name, codes, element = match["name"], _set(match["codes"]), int(match["element"])
        component = int(match["component"] or 0)

        def read(scope: Scope) -> Texts:
            found = []
            for segment in scope.segments(loops, name, codes):
                scope.run.take(segment, element, component)
                text = segment.text(element, component)
                if text:
                    found.append((text, segment.at(element, component)))
            return found

        return Leaf(read, self._needs(loops, name))

    def _reference(self, match: re.Match[str]) -> Leaf:
        loops = _set(match["loops"], "|") if match["loops"] else frozenset[str]()
        name = match["map"]

        def read(scope: Scope) -> Texts:
            nodes = scope.nodes(loops) if loops else [scope.node]
            return [(made, "") for node in nodes for made in node.made.get(name, ())]

        return Leaf(read, self._needs(loops), is_reference=True)

    def test(self, text: str) -> Test:
        """A condition: `A`, `not A`, `A = x y` (one of), `A != x`, `MIA` (the loop has such a segment), `beside 2300`
        (the loop around has one), `holds 2300` (this loop has one); several with `;`. Raises ValueError."""
        tests = [self._condition(part.strip()) for part in text.split(";")]
        return tests[0] if len(tests) == 1 else lambda scope: all(test(scope) for test in tests)

    def _condition(self, text: str) -> Test:
        match = BESIDE.fullmatch(text)
        if match:
            return _beside(match["loop"], match["where"] == "holds", bool(match["no"]))
        match = PRESENT.fullmatch(text)
        if match:
            name, is_absent = match["name"], bool(match["no"])
            return lambda scope: bool(scope.node.own(name)) != is_absent
        match = CONDITION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a condition; expected `not A`, `A = x y`, `A != x` or `beside 2300`")
        read, operator = self.leaf(match["source"].strip()).read, match["op"]
        is_negated, codes = bool(match["no"]), _set(match["codes"])

        def test(scope: Scope) -> bool:
            found = read(scope)
            if operator is None:
                return bool(found) != is_negated
            is_in = (found[0][0] if found else "") in codes
            return is_in if operator == "=" else not is_in

        return test

    def each(self, text: str) -> Each:
        """What is gone through. Raises ValueError.

        `loop 2310A|2310B` are loops in this one (`loop 2400 > 2420A` in those in it), `CAS` its segments, `CAS-2+3`
        runs of three elements from the second, `HI-*[BG]` elements by their first component, `SVC-6` an element's
        repetitions.
        """
        match = EACH_LOOP.fullmatch(text)
        if match:
            steps = [_set(step, "|") for step in match["loops"].split(" > ")]
            return Each(_each_loop(steps), self._needs(steps[0]))
        for pattern, build in (
            (EACH_SEGMENT, _each_segment),
            (EACH_ELEMENT, _each_element),
            (EACH_RUN, _each_run),
            (EACH_REPETITION, _each_repetition),
        ):
            match = pattern.fullmatch(text)
            if match:
                return Each(build(match), self.bits[match["name"]])
        raise ValueError(f"{text!r} cannot be gone through; expected `loop 2310A`, CAS, CAS-2+3, HI-*[BG] or SVC-6")

    def turn(self, name: str, argument: str, kind: str) -> Turn | None:
        """The position of an item, or a text that a primitive or an amount is made of."""
        if name == "position":
            listed, _, element = argument.partition(".")
            return lambda text, place, scope: [scope.run.position(listed, element, text)]
        if (kind != "Money" and kind not in primitive_types()) or (name and name not in TEXTS):
            return None
        prepare = TEXTS.get(name, str)

        def turn(text: str, place: str, scope: Scope) -> list[Any]:
            prepared = prepare(text)
            if not prepared:
                return []
            made = self.convert(prepared, kind, scope)
            if made is None:
                scope.run.warn(f"not a {'decimal' if kind == 'Money' else kind}", place)
                return []
            return [made]

        return turn

    def codes_of(self, value: str) -> Sequence[str]:
        """The text itself."""
        return [value]

    def convert(self, text: str, kind: str, scope: Scope) -> Any:
        """A primitive or an amount of a text; None for what is not of the type."""
        return money(text, scope.run) if kind == "Money" else convert(text, kind, scope.run.clock)

    def _refers(self, compiler: Compiler[Any], template: dict[str, Any], kind: str, at: Location) -> Part:
        name = str(template.get("$refers", ""))
        if name not in self.maps:
            raise compiler.fail((*at, "$refers"), f"there is no resources/{name}.yaml")
        kind = self.maps[name].resource
        key = [compiler.element(part, "string", (*at, "$key")) for part in template.get("$key", [])]

        def make(scope: Scope) -> Found:
            parts = identity([key], scope)
            return NOTHING if parts is None else ([{"reference": f"{kind}/{resource_id(IDS, kind, parts)}"}], True)

        return Part(make, key[0].needs if key and key[0] else ALWAYS)


def _extreme(leaf: Leaf, *, is_last: bool) -> Leaf:
    def read(scope: Scope) -> Texts:
        texts = [(last_of(text) if is_last else first_of(text), place) for text, place in leaf.read(scope)]
        return [max(texts) if is_last else min(texts)] if texts else []

    return Leaf(read, leaf.needs)


def _relative(match: re.Match[str]) -> Leaf:
    part, component = int(match["part"]), int(match["component"] or 1)

    def read(scope: Scope) -> Texts:
        value, segment = scope.value, scope.segment
        if value is None or segment is None:
            return []
        at = (scope.element + part - 1, component) if scope.is_run else (scope.element, part)
        scope.run.take(segment, *at)
        if part > len(value) or component > len(value[part - 1]) or not value[part - 1][component - 1]:
            return []
        return [(value[part - 1][component - 1], segment.at(at[0], 0 if scope.is_run else part))]

    return Leaf(read)


def _variable(name: str) -> Leaf:
    def read(scope: Scope) -> Texts:
        text = scope.run.variables.get(name, "")
        return [(text, f"@{name}")] if text else []

    return Leaf(read)


def _beside(loop: str, is_in: bool, is_negated: bool) -> Test:
    def test(scope: Scope) -> bool:
        node = scope.node if is_in else scope.node.parent
        return (node is not None and any(child.name == loop for child in node.children)) != is_negated

    return test


def _each_loop(steps: list[frozenset[str]]) -> Callable[[Scope], list[Scope]]:
    def scopes(scope: Scope) -> list[Scope]:
        nodes = [scope.node]
        for loops in steps:
            nodes = [child for node in nodes for child in node.children if child.name in loops]
        return [Scope(scope.run, node) for node in nodes]

    return scopes


def _each_segment(match: re.Match[str]) -> Callable[[Scope], list[Scope]]:
    name, codes = match["name"], _set(match["codes"])

    def scopes(scope: Scope) -> list[Scope]:
        found = Scope(scope.run, scope.node).segments(frozenset(), name, codes)
        return [Scope(scope.run, scope.node, segment) for segment in found]

    return scopes


def _each_element(match: re.Match[str]) -> Callable[[Scope], list[Scope]]:
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

    return scopes


def _each_run(match: re.Match[str]) -> Callable[[Scope], list[Scope]]:
    name, first, length = match["name"], int(match["first"]), int(match["length"])

    def scopes(scope: Scope) -> list[Scope]:
        found = []
        for segment in scope.segments(frozenset(), name, frozenset()):
            for start in range(first, len(segment.elements), length):
                parts = tuple(next(iter(segment.repetitions(n)), ("",)) for n in range(start, start + length))
                if any(any(part) for part in parts):
                    found.append(Scope(scope.run, scope.node, segment, parts, start, is_run=True))
        return found

    return scopes


def _each_repetition(match: re.Match[str]) -> Callable[[Scope], list[Scope]]:
    name, element = match["name"], int(match["element"])

    def scopes(scope: Scope) -> list[Scope]:
        return [
            Scope(scope.run, scope.node, segment, _parts(value), element)
            for segment in scope.segments(frozenset(), name, frozenset())
            for value in segment.repetitions(element)
        ]

    return scopes


def _parts(value: tuple[str, ...]) -> Value:
    return tuple((component,) for component in value)
