"""Segments of a message as the groups that belong together: a patient, its visit, an order, its observations.

By declared nesting, not by the grammar of each message structure: senders add, drop and reorder segments, and a group
is found all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cohortlake.core.hl7v2.declared import Group
from cohortlake.core.readers.hl7v2 import Segment

ROOT = "message"


@dataclass
class Node:
    """A group of a message. `segments` are its own, by name; `stray` are those that no group takes (Z-segments).

    `made` are the references to what its maps made, by the map's name; `below` has those of the groups in it too, `of`
    has them by segment.
    """

    name: str
    parent: Node | None = None
    segments: dict[str, list[Segment]] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)
    stray: list[Segment] = field(default_factory=list)
    made: dict[str, list[str]] = field(default_factory=dict)
    below: dict[str, list[str]] = field(default_factory=dict)
    of: dict[tuple[str, int], str] = field(default_factory=dict)

    def make(self, name: str, reference: str, segment: Segment) -> None:
        """Note what a map made of a segment of this group."""
        self.made.setdefault(name, []).append(reference)
        for node in self.around():
            node.below.setdefault(name, []).append(reference)
            node.of[name, id(segment)] = reference

    def add(self, segment: Segment) -> Node:
        """Take a segment; the node itself."""
        self.segments.setdefault(segment.name, []).append(segment)
        return self

    def within(self) -> Iterator[Node]:
        """This group and all groups in it, in the message's order."""
        yield self
        for child in self.children:
            yield from child.within()

    def around(self) -> Iterator[Node]:
        """This group and those that it stands in, the nearest first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


def group(segments: list[Segment], groups: Mapping[str, Group]) -> Node:
    """The message's outermost group."""
    root = Node(ROOT)
    current = root
    for segment in segments:
        current = _place(segment, current, root, groups)
    return root


def _place(segment: Segment, current: Node, root: Node, groups: Mapping[str, Group]) -> Node:
    """Put a segment where it belongs, seen from the group that is open; the group that is open then."""
    for node in current.around():
        declared = groups[node.name]
        if segment.name in declared.opens and segment.name not in node.segments and not _is_late(segment, node, groups):
            return node.add(segment)
        for name in declared.groups:
            if segment.name in groups[name].opens:
                child = Node(name, node)
                node.children.append(child)
                return child.add(segment)
        if segment.name in declared.members:
            return node.add(segment)
    root.stray.append(segment)
    return current


def _is_late(segment: Segment, node: Node, groups: Mapping[str, Group]) -> bool:
    """Whether a second head comes too late for the group: it begins another where what it would head came before it."""
    opens = groups[node.name].opens
    return any(opens.index(name) > opens.index(segment.name) for name in node.segments if name in opens)
