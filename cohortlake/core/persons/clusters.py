"""Pairs to persons: clusters of records, joined by the strongest evidence first.

Evidence against keeps clusters from chaining.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar


class Ordered(Hashable, Protocol):
    """What can stand for a record."""

    def __lt__(self, other: Any, /) -> bool: ...


Record = TypeVar("Record", bound=Ordered)


class Kind(IntEnum):
    """Where a link comes from, the strongest first."""

    DECISION = 0
    SOURCE = 1
    RULE = 2
    MODEL = 3


@dataclass(frozen=True)
class Link(Generic[Record]):
    """Evidence that two records are one person's. Links of a kind that outweigh holds come first, then by `weight`."""

    left: Record
    right: Record
    kind: Kind
    weight: float = 0.0
    outweighs_holds: bool = False

    @property
    def order(self) -> tuple[Any, ...]:
        records = sorted((self.left, self.right))
        return (self.kind, not self.outweighs_holds, -round(self.weight, 6), *records)


class _Groups(Generic[Record]):
    """Disjoint sets (union by size, path halving)."""

    def __init__(self) -> None:
        self.parent: dict[Record, Record] = {}
        self.members: dict[Record, list[Record]] = {}

    def root(self, record: Record) -> Record:
        parent = self.parent
        if record not in parent:
            parent[record] = record
            self.members[record] = [record]
        while parent[record] != record:
            parent[record] = parent[parent[record]]
            record = parent[record]
        return record

    def join(self, left: Record, right: Record) -> None:
        """Join two different roots."""
        small, large = sorted((left, right), key=lambda root: len(self.members[root]))
        self.parent[small] = large
        self.members[large] += self.members.pop(small)


def components(pairs: Iterable[tuple[Record, Record]]) -> list[list[Record]]:
    """The sets of records that hang together, of two or more, each sorted."""
    groups: _Groups[Record] = _Groups()
    for left, right in pairs:
        one, other = groups.root(left), groups.root(right)
        if one != other:
            groups.join(one, other)
    return sorted(sorted(members) for members in groups.members.values() if len(members) > 1)


def clusters(
    links: Iterable[Link[Record]],
    *,
    apart: Iterable[tuple[Record, Record]] = (),
    conflicts: Iterable[tuple[Record, Record]] = (),
    held: Iterable[tuple[Record, Record]] = (),
) -> list[list[Record]]:
    """The clusters of two or more records, each sorted; a record of no link is a person of its own.

    Links are taken strongest first: decisions, what the source says, rules, then the model's, first those that outweigh
    holds, then by weight. Two clusters are not joined where a pair across them was decided to be `apart`; nor, unless
    by a decision or the source, where one is in `conflicts` (compared, and found to speak against); nor where one is
    `held`, unless the link outweighs that. So A and C that B resembles both stay apart if they contradict each other,
    and the stronger of B's two links holds. The result depends on the links, and not on their order.
    """
    groups: _Groups[Record] = _Groups()
    never, unlikely, unsure = _by_record(apart), _by_record(conflicts), _by_record(held)
    for link in sorted(links, key=lambda link: link.order):
        left, right = groups.root(link.left), groups.root(link.right)
        if left == right:
            continue
        if _across(groups, left, right, never):
            continue
        if link.kind > Kind.SOURCE and _across(groups, left, right, unlikely):
            continue
        if link.kind > Kind.SOURCE and not link.outweighs_holds and _across(groups, left, right, unsure):
            continue
        groups.join(left, right)
    return sorted(sorted(members) for members in groups.members.values() if len(members) > 1)


def _by_record(pairs: Iterable[tuple[Record, Record]]) -> dict[Record, set[Record]]:
    found: dict[Record, set[Record]] = {}
    for left, right in pairs:
        found.setdefault(left, set()).add(right)
        found.setdefault(right, set()).add(left)
    return found


def _across(groups: _Groups[Record], left: Record, right: Record, against: dict[Record, set[Record]]) -> bool:
    """Whether a pair of `against` has one record in each group."""
    if not against:
        return False
    small, large = sorted((left, right), key=lambda root: len(groups.members[root]))
    return any(
        groups.root(other) == large
        for record in groups.members[small]
        if record in against
        for other in against[record]
    )
