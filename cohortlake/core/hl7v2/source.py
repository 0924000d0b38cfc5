"""How HL7 v2 is read by templates of the mapping language (docs/mappings.md): fields, groups, datatypes.

PID-3            a field of the nearest such segment, all its repetitions; PID-3.4.2 a subcomponent
PID-3[2]         its second repetition; PID-3[.5=MR PI] those whose fifth component is MR, else PI
+OBX-5           of all such segments in the group and in those within it
.4.2, .          relative to the value at hand (in datatype maps and `$each`)
@name            what the message map sets; `@facility`, the sender's URI; `@argument`: `| XTN.ContactPoint home`
& PID.Patient    a reference to what a segment map made, around here; `& order/OBX.Observation` within the group;
                 `& message/PID.Patient[2]` to the second one
$each: OBX-5, NTE, +NTE   each repetition of a field, each such segment of the group, of the group and those in it
$coding: [.1, .2, .3, .7]   a Coding of code, display, system name and version (`codes.coding`)
=A | CX.Identifier words    by a datatype map
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from cohortlake.core.catalog.source import Location
from cohortlake.core.fhir.definitions import primitive_types
from cohortlake.core.hl7v2 import codes
from cohortlake.core.hl7v2.codes import text_of
from cohortlake.core.hl7v2.datatypes import Datatype
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.hl7v2.run import Scope
from cohortlake.core.language.compiler import Compiler
from cohortlake.core.language.parts import ALWAYS, NOTHING, Bits, Each, Found, Part, Test
from cohortlake.core.language.source import Leaf, Source, Turn
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


@dataclass(frozen=True)
class Values:
    """Compiled values of a message: `place` names the first, `field` is the one that is read; `needs` as of a leaf."""

    read: Read
    place: str
    needs: int = ALWAYS
    field: tuple[str, int] | None = None


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


class MessageSource(Source):
    """Reads for the templates of one map.

    `fields` are the fields that they read; of the segments in `own` only those of the map's own group.
    """

    name = "hl7v2"

    def __init__(self, datatypes: dict[str, Datatype], bits: Bits) -> None:
        self.datatypes, self.bits = datatypes, bits
        self.fields: set[tuple[str, int]] = set()
        self.own: set[str] = set()
        self.directives = {"$coding": self._coding}

    def leaf(self, text: str, *, for_target: bool = False) -> Leaf:
        """A field, a part of the value at hand, a variable or a reference. Raises ValueError."""
        values = self.values(text)
        read, place = values.read, values.place
        return Leaf(lambda scope: [(value, place or scope.place) for value in read(scope)], values.needs)

    def values(self, text: Any) -> Values:
        """The same as values with subcomponents. Raises ValueError."""
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is not a source; quote it, YAML takes .10 for a number")
        for pattern, build in ((FIELD, self._field), (REFERENCE, _reference), (RELATIVE, _relative)):
            match = pattern.fullmatch(text)
            if match:
                found = build(match)
                self.fields |= {found.field} if found.field else set()
                return found
        if re.fullmatch(r"@[a-z_]+", text):
            return _variable(text[1:])
        raise ValueError(f"{text!r} is not a source; expected PID-3.1, .1, @name or & PID.Patient")

    def _field(self, match: re.Match[str]) -> Values:
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

        return Values(read, f"{name}-{position}", self.bits[name], (name, position))

    def test(self, text: str) -> Test:
        """A condition: `A`, `not A`, `A = x y` (one of), `A != x`, several with `;`. Raises ValueError.

        One code that has the shape of a field (`MRG-5.1 != +PV1-19.1`) is that field's value.
        """
        tests = [self._condition(part.strip()) for part in text.split(";")]
        return tests[0] if len(tests) == 1 else lambda scope: all(test(scope) for test in tests)

    def _condition(self, text: str) -> Test:
        match = CONDITION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a condition; expected `A`, `not A`, `A = x y` or `A != x`")
        read, operator, is_negated = self.values(match["source"].strip()).read, match["op"], bool(match["no"])
        codes = match["codes"] or ""
        other = self.values(codes).read if FIELD.fullmatch(codes) else None
        listed = frozenset(codes.split())

        def test(scope: Scope) -> bool:
            values = read(scope)
            if operator is None:
                return bool(values) != is_negated
            right = {text_of(value) for value in other(scope)[:1]} or {""} if other else listed
            found = (text_of(values[0]) if values else "") in right
            return found if operator == "=" else not found

        return test

    def each(self, text: str) -> Each:
        """Segments of the group (`NTE`), of the group and those in it (`+OBX`), or repetitions. Raises ValueError."""
        segments = SEGMENTS.fullmatch(text)
        if not segments:
            values = self.values(text)
            read, place = values.read, values.place
            return Each(lambda scope: [replace(scope, value=value, place=place) for value in read(scope)], values.needs)
        name, is_within = segments["segment"], bool(segments["within"])
        if not is_within:
            self.own.add(name)

        def scopes(scope: Scope) -> list[Scope]:
            found = scope.segments_within(name) if is_within else scope.node.segments.get(name, ())
            return [replace(scope, segment=segment) for segment in found]

        return Each(scopes, self.bits[name])

    def turn(self, name: str, argument: str, kind: str) -> Turn | None:
        """By a datatype map, or as a text that a primitive is made of. Raises ValueError for another type's map."""
        if name in self.datatypes:
            datatype = self.datatypes[name]
            made = "Reference" if datatype.declared.key else datatype.declared.fhir
            if made != kind:
                raise ValueError(f"{name} makes a {made}; a {kind} is expected here")
            return lambda value, place, scope: datatype.make(
                replace(scope, value=value, table=argument or scope.table, place=place)
            )
        if kind == "Reference" and not name:
            return lambda value, place, scope: [{"reference": value[0][0]}]
        if kind not in primitive_types() or (name and name not in TEXTS):
            return None
        return self._primitive(TEXTS.get(name, lambda value, scope: text_of(value)), kind)

    def _primitive(self, text: Callable[[Value, Scope], str | None], kind: str) -> Turn:
        def turn(value: Value, place: str, scope: Scope) -> list[Any]:
            found = text(value, scope)
            if not found or not found.strip():
                return []
            made = self.convert(found, kind, scope)
            if made is None:
                scope.run.warn(f"not a {kind}", place)
                return []
            return [made]

        return turn

    def codes_of(self, value: Value) -> Sequence[str]:
        """The code of a value, as its first component."""
        code = text_of(value)
        return [code] if code else []

    def convert(self, text: str, kind: str, scope: Scope) -> Any:
        """A primitive of a text; None for what is not of the type."""
        return convert(text, kind, scope.run.clock)

    def _coding(self, compiler: Compiler[Any], template: dict[str, Any], kind: str, at: Location) -> Part:
        given = template["$coding"]
        if len(given) != 4:
            raise compiler.fail(at, "$coding takes the places of code, display, system and version")
        reads = []
        for text in given:
            if not isinstance(text, str):
                raise compiler.fail(at, f"{text!r} is not a source; quote it, YAML takes .10 for a number")
            reads.append([compiler.reads(self.values, part.strip(), at).read for part in text.split(",")])

        def first(ways: list[Read], scope: Scope) -> str:
            values = next((found for read in ways if (found := read(scope))), [])
            return text_of(values[0]) if values else ""

        def make(scope: Scope) -> Found:
            code, display, system, version = (first(ways, scope) for ways in reads)
            made = codes.coding(code, display, system, version, scope)
            return ([made], True) if made else NOTHING

        return Part(make, ALWAYS)


def _variable(name: str) -> Values:
    def read(scope: Scope) -> list[Value]:
        given = {"facility": scope.run.facility, "argument": scope.table or ""}
        text = given[name] if name in given else scope.run.variables.get(name, "")
        return [((text,),)] if text else []

    return Values(read, f"@{name}")


def _reference(match: re.Match[str]) -> Values:
    name, group, nth = match["map"], match["group"], match["nth"]

    def read(scope: Scope) -> list[Value]:
        found = list(dict.fromkeys(scope.references(name, group)))
        return [((made,),) for made in (found[int(nth) - 1 : int(nth)] if nth else found)]

    return Values(read, f"& {name}")


def _relative(match: re.Match[str]) -> Values:
    path = _path(match["path"])

    def read(scope: Scope) -> list[Value]:
        return _parts([scope.value], path) if scope.value is not None else []

    return Values(read, "")


def _whole(value: Value, scope: Scope) -> str:
    """Text that the sender left unescaped: what looks like components is put together again."""
    marks = scope.run.message.delimiters
    return marks.component.join((marks.subcomponent or " ").join(component) for component in value)


def _system(value: Value, scope: Scope) -> str | None:
    name = codes.text_of(value)
    return codes.system_uri(name, scope.run) if name else None


def _timed(value: Value, scope: Scope) -> str | None:
    """A time that says more than its day (`YYYYMMDD`)."""
    text = codes.text_of(value)
    return text if len(text) > len("YYYYMMDD") else None


# A reference range of numbers, as HL7 v2.5.1 7.4.2.7 has it, and with the word `to`.
RANGE = re.compile(r"(?P<low>-?\d+(?:\.\d+)?)\s*(?:-|to)\s*(?P<high>-?\d+(?:\.\d+)?)")
BOUND = re.compile(r"(?P<side>[<>])=?\s*(?P<limit>-?\d+(?:\.\d+)?)")


def _limit(side: str) -> Callable[[Value, Scope], str | None]:
    """One limit of a reference range; None where it is not written as numbers."""

    def limit(value: Value, scope: Scope) -> str | None:
        text = _whole(value, scope).strip()
        both = RANGE.fullmatch(text)
        if both:
            return both[side] if Decimal(both["low"]) <= Decimal(both["high"]) else None
        one = BOUND.fullmatch(text)
        return one["limit"] if one and (one["side"] == ">") == (side == "low") else None

    return limit


TEXTS: dict[str, Callable[[Value, Scope], str | None]] = {
    "authority": codes.authority,
    "entity_authority": lambda value, scope: codes.authority(value[1:], scope),
    "system": _system,
    "text": _whole,
    "timed": _timed,
    "range_low": _limit("low"),
    "range_high": _limit("high"),
}
