"""What humans decided about two records: kept for good, and obeyed by every later run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cohortlake.core.errors import UsageError
from cohortlake.core.persons.clusters import components
from cohortlake.core.persons.ids import Key


@dataclass(frozen=True, slots=True)
class Decision:
    """That two records are, or are not, one person's; `by` a role, at a time (UTC, ISO 8601), for a reason."""

    left: Key
    right: Key
    is_same: bool
    by: str
    reason: str
    at: str

    @property
    def pair(self) -> tuple[Key, Key]:
        return (self.left, self.right) if self.left < self.right else (self.right, self.left)


def in_force(decisions: Iterable[Decision]) -> list[Decision]:
    """The last decision of each pair."""
    last: dict[tuple[Key, Key], Decision] = {}
    for decision in sorted(decisions, key=lambda decision: decision.at):
        last[decision.pair] = decision
    return [last[pair] for pair in sorted(last)]


def check(decisions: Iterable[Decision], new: Decision) -> None:
    """Raises UsageError where a new decision contradicts others: A is B and B is C, but A is not C."""
    if new.left == new.right:
        raise UsageError("the two records are one", "Name two records, each as SILO/ID.")
    others = [decision for decision in in_force(decisions) if decision.pair != new.pair]
    said = [decision.pair for decision in others if decision.is_same] + ([new.pair] if new.is_same else [])
    groups = {record: number for number, group in enumerate(components(said)) for record in group}
    apart = [*(decision for decision in others if not decision.is_same), *([] if new.is_same else [new])]
    for decision in apart:
        left, right = (groups.get(record) for record in decision.pair)
        if left is not None and left == right:
            mine = groups[new.left if new.left in groups else new.right]
            chain = [d for d in others if d.is_same and groups[d.left] == mine]
            told = [*chain, *([decision] if decision is not new else [])]
            raise UsageError(
                "that contradicts what was decided before: " + "; ".join(_say(d) for d in told),
                "Decide one of those pairs anew first: the last decision of a pair is the one in force.",
            )


def _say(decision: Decision) -> str:
    left, right = ("/".join(record) for record in decision.pair)
    said = "one person" if decision.is_same else "two persons"
    return f"{left} and {right} are {said} ({decision.by}, {decision.at[:10]})"
