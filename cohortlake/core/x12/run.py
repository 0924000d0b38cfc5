"""What one set's conversion gathers, and where an expression of a template looks things up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from cohortlake.core.convert import Options
from cohortlake.core.hl7v2.primitives import Clock, convert
from cohortlake.core.language import run as language
from cohortlake.core.language.identity import namespace
from cohortlake.core.language.parts import Bits
from cohortlake.core.readers.x12 import TransactionSet
from cohortlake.core.readers.x12_text import Segment
from cohortlake.core.x12.declared import X12
from cohortlake.core.x12.loops import Node

URN = "urn:cohortlake:x12"
IDS = namespace(URN)
# What an interchange that is marked as a test (ISA-15) is labelled with.
TEST = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST", "display": "test health data"}
# A composite, or a run of elements: its parts, each as its components.
Value = tuple[tuple[str, ...], ...]


def created(found: TransactionSet) -> str:
    """When a set was made: BHT-04 and 05, else GS-04 and 05; a time that is none is left out."""
    bht = next((segment for segment in found.body if segment.name == "BHT"), None)
    for segment in (bht, found.gs):
        for text in (segment.text(4) + segment.text(5)[:6], segment.text(4)) if segment else ():
            if convert(text, "dateTime", Clock("", "UTC")):
                return text
    return ""


@dataclass(frozen=True)
class Position:
    """Stands for the `sequence` of the item of `name` whose `element` refers to `reference`, until all is made."""

    name: str
    element: str
    reference: str


@dataclass
class Run(language.Run):
    """The state of one conversion. `variables` are what templates name as `@name`.

    `taken` are the elements that maps read, as (segment, element, component); component 0 is the whole element.
    `passed` are loops whose facts another loop told. `has_positions` says that a resource has any to be resolved.
    """

    declared: X12
    found: TransactionSet
    options: Options
    bits: Bits
    variables: dict[str, str]
    taken: set[tuple[int, int, int]] = field(default_factory=set)
    passed: set[Node] = field(default_factory=set)
    has_positions: bool = False

    @cached_property
    def clock(self) -> Clock:
        """X12 times carry no zone: they are taken as the silo's."""
        return Clock("", self.options.zone)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Of every resource: when the sender said so (BHT or GS), and in which set."""
        envelope = self.found
        sender = envelope.isa.text(6) or "unnamed"
        numbers = [envelope.isa.text(13), envelope.gs.text(6) if envelope.gs else "", envelope.body[0].text(2)]
        made: dict[str, Any] = {"source": f"{URN}:sender:{quote(sender)}#{quote('.'.join(numbers))}"}
        if envelope.isa.text(15) == "T":
            made["security"] = [TEST]
        sent = convert(created(envelope), "instant", self.clock)
        return {"lastUpdated": sent, **made} if sent else made

    @cached_property
    def passing(self) -> dict[str, Any]:
        """`meta` of what a set only refers to (a provider of a claim): not the whole of it."""
        return {**self.meta, "tag": [{"system": URN, "code": "passing", "display": "Told in passing"}]}

    def pass_over(self, node: Node, reason: str, place: str) -> None:
        """Warn of a loop that is not mapped as another tells what it says: it is not counted as unmapped."""
        self.passed.add(node)
        self.warn(reason, place)

    def position(self, name: str, element: str, reference: str) -> Position:
        """What stands for the sequence of an item, to be resolved."""
        self.has_positions = True
        return Position(name, element, reference)

    def take(self, segment: Segment, element: int, component: int = 0) -> None:
        """Note that a map reads an element."""
        self.taken.add((segment.position, element, component))


@dataclass(frozen=True)
class Scope:
    """Where an expression looks: a loop, a segment that is gone through, a value in it with the element it begins at.

    The value is a composite, whose parts are its components, or a run of elements (`is_run`).
    """

    run: Run
    node: Node
    segment: Segment | None = None
    value: Value | None = None
    element: int = 0
    is_run: bool = False

    @property
    def held(self) -> int:
        """The bits of what the loop has."""
        return self.node.held(self.run.bits)

    def nodes(self, loops: frozenset[str]) -> list[Node]:
        """The loops of these names: the nearest around, or those directly in it."""
        for node in self.node.around():
            if node.name in loops:
                return [node]
            found = [child for child in node.children if child.name in loops]
            if found:
                return found
        return []

    def segments(self, loops: frozenset[str], name: str, codes: frozenset[str]) -> Iterator[Segment]:
        """The segments of a name and qualifier, of this loop or of those named."""
        if not loops and self.segment is not None and self.segment.name == name and not codes:
            yield self.segment
            return
        for node in self.nodes(loops) if loops else [self.node]:
            for segment in node.own(name):
                if not codes:
                    yield segment
                elif segment.text(1, 1) in codes:
                    self.run.take(segment, 1, 1)
                    yield segment

    @property
    def place(self) -> str:
        """The place of the value at hand, or of the segment."""
        segment = self.segment or (self.node.segments[0] if self.node.segments else None)
        if segment is None:
            return ""
        return segment.at(self.element) if self.element else segment.place
