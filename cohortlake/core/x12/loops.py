"""Segments of a transaction set as its guide's loops, and the faults of their order (X12.6; the guides' own rules).

A fault does not end the reading: the segment is put where it belongs best and what follows is placed on, so that every
fault of a set is told at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from cohortlake.core.convert import Problem
from cohortlake.core.language.parts import Bits
from cohortlake.core.readers.x12_text import NAME, Segment
from cohortlake.core.x12.declared import Guide, Item, Loop

# What may follow a head that no loop has: it is told once, by its head.
FOLLOWERS = frozenset(("N2", "N3", "N4", "REF", "PER", "PRV", "DMG"))


@dataclass(eq=False)
class Node:
    """A loop of a set: its own segments in order, the loops in it, and what maps made of it, by the map's name."""

    name: str
    parent: Node | None = None
    segments: list[Segment] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)
    made: dict[str, list[str]] = field(default_factory=dict)
    _held: int = 0

    def within(self) -> Iterator[Node]:
        """This loop and all in it, in the set's order."""
        yield self
        for child in self.children:
            yield from child.within()

    def around(self) -> Iterator[Node]:
        """This loop and those that it stands in, the nearest first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def own(self, name: str) -> list[Segment]:
        """The segments of a name, once all are there."""
        return self._named.get(name, [])

    def held(self, bits: Bits) -> int:
        """What a template may find from here, once all is there: segments of the loop, loops around it and in those."""
        if not self._held:
            self._held = bits.of((*self._named, *self._reach))
        return self._held

    @cached_property
    def _reach(self) -> frozenset[str]:
        above: frozenset[str] = self.parent._reach if self.parent else frozenset()
        return above | {self.name, *(child.name for child in self.children)}

    @cached_property
    def _named(self) -> dict[str, list[Segment]]:
        found: dict[str, list[Segment]] = {}
        for segment in self.segments:
            found.setdefault(segment.name, []).append(segment)
        return found


@dataclass(eq=False)
class _Frame:
    """A loop that is open; `at` is the position that the reading has reached. A loop of None takes FOLLOWERS."""

    node: Node
    loop: Loop | None
    at: int = 0
    counts: Counter[tuple[int, int]] = field(default_factory=Counter)


Found = tuple[_Frame, int, int, Item]


def structure(body: list[Segment], guide: Guide) -> tuple[Node, list[Problem]]:
    """The set's outermost loop and the faults. `body` goes from ST to SE."""
    builder = _Builder(guide, body[0])
    for segment in body[1:]:
        builder.take(segment)
    builder.close(0)
    return builder.root, builder.faults


class _Builder:
    def __init__(self, guide: Guide, head: Segment) -> None:
        self.loops, self.names, self.places = guide.loops, guide.names, guide.places
        self.root = Node("SET", segments=[head])
        self.frames = [_Frame(self.root, self.loops["SET"], counts=Counter({(0, 0): 1}))]
        self.faults: list[Problem] = []

    def take(self, segment: Segment) -> None:
        """Place a segment."""
        top = self.frames[-1]
        if top.loop is None and segment.name in FOLLOWERS:
            top.node.segments.append(segment)
            return
        found, full = self._ahead(segment)
        if found is None and full is not None:
            most = full[3].most or 0
            times = "once" if most == 1 else f"{most} times"
            where = f"loop {full[3].name}" if full[3].name in self.loops else segment.name
            self._fault(f"{where} stands more than {times} in loop {full[0].node.name}", segment.place)
            found = full
        is_late = found is None
        found = found or self._behind(segment)
        if found is None:
            self._foreign(segment)
            return
        frame, position, index, item = found
        if is_late:
            self._fault(f"{segment.name} is out of order in loop {frame.node.name}", segment.place)
        else:
            frame.at = position
        self.close(self.frames.index(frame) + 1)
        frame.counts[position, index] += 1
        self._put(frame, item, segment)

    def _put(self, frame: _Frame, item: Item, segment: Segment) -> None:
        node = frame.node
        if item.name in self.loops:
            loop = self.loops[item.name]
            node = Node(loop.name, frame.node)
            frame.node.children.append(node)
            self.frames.append(_Frame(node, loop, counts=Counter({(0, 0): 1})))
            item = loop.head
        node.segments.append(segment)
        for need in item.needs:
            if not segment.text(need.element, need.component):
                inner = f".{need.component}" if need.component else ""
                reason = f"{segment.name}-{need.element:02}{inner} is missing"
                self._fault(
                    reason, segment.at(need.element, need.component), "warning" if need.is_expected else "error"
                )

    def _ahead(self, segment: Segment) -> tuple[Found | None, Found | None]:
        """Where a segment may stand next, the innermost open loop first; and where it would but for its count."""
        full: Found | None = None
        for frame in reversed(self.frames):
            for found in self._matches(frame, segment):
                if found[1] < frame.at:
                    continue
                most = found[3].most
                if most is None or frame.counts[found[1], found[2]] < most:
                    return found, None
                full = full or found
        return None, full

    def _behind(self, segment: Segment) -> Found | None:
        return next((found for frame in reversed(self.frames) for found in self._matches(frame, segment)), None)

    def _matches(self, frame: _Frame, segment: Segment) -> Iterator[Found]:
        if frame.loop is None:
            return
        for position, index, item, asked in self.places[frame.loop.name].get(segment.name, ()):
            if asked.takes(segment):
                yield frame, position, index, item

    def _foreign(self, segment: Segment) -> None:
        """A segment that no open loop has a place for."""
        frame, is_head = self._namesake(segment)
        if frame is not None and not is_head:
            self.close(self.frames.index(frame) + 1)
            frame.node.segments.append(segment)
            self._fault(f"{segment.name} with this qualifier is not in the guide here", segment.place, "warning")
            return
        node = Node("unknown", self.frames[-1].node, [segment])
        node.parent = self.frames[-1].node if frame is None else frame.node
        node.parent.children.append(node)
        if frame is not None:
            self.close(self.frames.index(frame) + 1)
            self.frames.append(_Frame(node, None))
            self._fault(f"no loop begins with {segment.name} and this qualifier here", segment.place)
        elif segment.name in self.names:
            self._fault(f"{segment.name} stands outside its loop", segment.place)
        elif NAME.fullmatch(segment.name):
            self._fault("the segment is not in the guide", segment.place)
        else:
            self._fault("the segment has no name that X12 allows", segment.place)

    def _namesake(self, segment: Segment) -> tuple[_Frame | None, bool]:
        """The innermost open loop that has segments, or loops with heads, of this name; whether it is heads alone."""
        for frame in reversed(self.frames):
            items = [item for position in frame.loop.positions for item in position] if frame.loop else []
            if any(item.name == segment.name and item is not items[0] for item in items):
                return frame, False
            if any(item.name in self.loops and self.loops[item.name].head.name == segment.name for item in items):
                return frame, True
        return None, False

    def close(self, depth: int) -> None:
        """Close the open loops beyond a depth; what they lack is told."""
        while len(self.frames) > depth:
            frame = self.frames.pop()
            if frame.loop is None:
                continue
            for position, items in enumerate(frame.loop.positions):
                for index, item in enumerate(items):
                    if item.usage != "optional" and not frame.counts[position, index]:
                        self._missing(frame.node, item)

    def _missing(self, node: Node, item: Item) -> None:
        what = f"loop {item.name}" if item.name in self.loops else item.name
        severity: Literal["error", "warning"] = "error" if item.usage == "required" else "warning"
        self._fault(f"{what} is missing in loop {node.name}", node.segments[0].place, severity)

    def _fault(self, reason: str, place: str, severity: Literal["error", "warning"] = "error") -> None:
        self.faults.append(Problem(reason, place, severity))
