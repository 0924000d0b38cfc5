"""What one message's conversion gathers, and where an expression of a template looks things up."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from cohortlake.core.convert import Options
from cohortlake.core.hl7v2.declared import Hl7v2
from cohortlake.core.hl7v2.groups import Node
from cohortlake.core.hl7v2.primitives import Clock, convert
from cohortlake.core.language import run as language
from cohortlake.core.language.identity import namespace
from cohortlake.core.language.parts import merged
from cohortlake.core.readers.hl7v2 import Message, Segment, Value

URN = "urn:cohortlake:hl7v2"
IDS = namespace(URN)


@dataclass
class Run(language.Run):
    """The state of one conversion. `variables` are what templates name as `@name`; `held` has the segments' bits."""

    declared: Hl7v2
    message: Message
    options: Options
    variables: dict[str, str]
    held: int
    resources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def clock(self) -> Clock:
        return Clock(self.message.text(7), self.options.zone)

    @cached_property
    def facility(self) -> str:
        """The URI that stands for the sender's own names: its facility (MSH-4), else its application (MSH-3)."""
        named = self.message.text(4) or self.message.text(3) or "unnamed"
        return f"{URN}:facility:{quote(named)}"

    @cached_property
    def authorities(self) -> dict[str, str]:
        return {**self.declared.names.authorities, **dict(self.options.authorities)}

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Of every resource: when the sender said so (MSH-7), and in which message (MSH-10)."""
        sender = quote(self.message.text(3) or "unnamed")
        made = {"source": f"{self.facility}:{sender}#{quote(self.message.text(10))}"}
        sent = convert(self.message.text(7), "instant", self.clock)
        return {"lastUpdated": sent, **made} if sent else made

    @cached_property
    def passing(self) -> dict[str, Any]:
        """`meta` of what a message only refers to (the patient of a result, its doctor): not the whole of it."""
        return {**self.meta, "tag": [{"system": URN, "code": "passing", "display": "Told in passing"}]}

    def put(self, resource: dict[str, Any]) -> None:
        """Take a resource; one that is there already gains what it lacks."""
        key = resource["resourceType"], resource["id"]
        known = self.resources.get(key)
        self.resources[key] = resource if known is None else merged(known, resource)


@dataclass(frozen=True)
class Scope:
    """Where an expression looks: a value of a field, a segment that is gone through, a group and those around it."""

    run: Run
    node: Node
    segment: Segment | None = None
    value: Value | None = None
    table: str | None = None
    place: str = ""

    @property
    def held(self) -> int:
        """The bits of the segments of the whole message."""
        return self.run.held

    def segments(self, name: str) -> list[Segment]:
        """The segments of a name, of the nearest group that has any."""
        if self.segment is not None and self.segment.name == name:
            return [self.segment]
        for node in self.node.around():
            if name in node.segments:
                return node.segments[name]
        return []

    def segments_within(self, name: str) -> list[Segment]:
        """The segments of a name in this group and those in it."""
        return [segment for node in self.node.within() for segment in node.segments.get(name, ())]

    def references(self, name: str, group: str | None) -> list[str]:
        """What a map made, as `Type/id`: of the segment that is gone through, else in the groups around this one.

        With a `group`: anywhere within the nearest such one.
        """
        if group is None:
            own = self.node.of.get((name, id(self.segment)))
            if own is not None:
                return [own]
            return next((node.made[name] for node in self.node.around() if name in node.made), [])
        top = next((node for node in self.node.around() if node.name == group), None)
        return top.below.get(name, []) if top else []
