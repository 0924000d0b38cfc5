"""What one record's conversion gathers, whatever its format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cohortlake.core.convert import Problem, UnknownCodes


@dataclass
class Run:
    """Problems (one of a reason and a place), counts of what no template places, and codes that no map knows.

    `numbers` are the sequences of what items of a record point at, by the keys of those (`$by`).
    """

    problems: dict[tuple[str, str], Problem] = field(default_factory=dict, kw_only=True)
    unmapped: Counter[str] = field(default_factory=Counter, kw_only=True)
    codes: UnknownCodes = field(default_factory=UnknownCodes, kw_only=True)
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict, kw_only=True)

    def warn(self, reason: str, place: str) -> None:
        """A problem that keeps nothing from landing."""
        self.problems.setdefault((reason, place), Problem(reason, place, "warning"))

    def leave(self, name: str, count: int) -> None:
        """Count what no template places."""
        self.unmapped[name] += count
