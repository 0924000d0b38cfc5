"""What a recount found at a boundary between two places of a lake: what came, what became of it, whether they agree."""

from __future__ import annotations

from dataclasses import dataclass, field

from cohortlake.core.recount.tally import Tally


@dataclass
class Finding:
    """`came` = `out` + the classes, each counted of its own; `must` are rows that must be out, `does` those that are.

    `notes` say what the recount could not see; `problems` what else is wrong, in names and counts.
    """

    boundary: str
    table: str
    came: int = 0
    out: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    must: Tally | None = None
    does: Tally | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def trouble(self) -> list[str]:
        """What does not agree, in words and counts."""
        found = list(self.problems)
        accounted = self.out + sum(self.classes.values())
        if self.came != accounted:
            found.append(f"{self.came:,} came, {accounted:,} are accounted for")
        if self.must and self.does and self.must.rows != self.does.rows:
            found.append(f"{self.must.rows:,} rows must be there, {self.does.rows:,} are")
        elif self.must and self.does and self.must != self.does:
            found.append(f"{self.does.rows:,} rows are there, but not with the content that they must have")
        return found

    @property
    def is_agreed(self) -> bool:
        return not self.trouble
