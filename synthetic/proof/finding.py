"""What a check of the proof found, and what the findings amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["holds", "refused", "cannot judge"]


@dataclass(frozen=True)
class Finding:
    """A check's name and outcome, a sentence with its numbers, and the numbers themselves."""

    check: str
    outcome: Outcome
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.outcome == "holds"


def found(check: str, holds: bool, text: str, **numbers: Any) -> Finding:
    """The finding of a check that could be made."""
    return Finding(check, "holds" if holds else "refused", text, numbers)


def verdict(findings: Sequence[Finding], left: Sequence[str] = ()) -> dict[str, Any]:
    """The proof as JSON: `accepted`, `refused` or `cannot judge`; why, naming each check that does not hold.

    `left` are the checks that were not asked. Where any is left, nothing is accepted.
    """
    against = [finding for finding in findings if not finding.holds]
    outcome = against[0].outcome if against else "cannot judge" if left else "accepted"
    why = "; ".join(f"{finding.check}: {finding.text}" for finding in against)
    return {
        "verdict": outcome,
        "why": f"{outcome}: {why}" if against else "",
        "checks": [asdict(finding) for finding in findings],
        "not_asked": list(left),
    }
