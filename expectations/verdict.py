"""What the gate found: a verdict a table, kept as JSON beside the staged batch and told to the run report."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cohortlake.core.errors import GateFailedError
from cohortlake.core.rules import Check
from spark_jobs import delta
from spark_jobs.context import Book, Context, StepResult

VERDICT_FILE = "_verdict.json"


@dataclass(frozen=True)
class Outcome:
    """What Great Expectations' result of a check says: whether it passed, how many of the rows failed, and their share
    of the values that it judged, in percent.

    A fact, and what is about a table as a whole, fails once. `found` is what a fact was.
    """

    check: Check
    passed: bool
    failed: int = 0
    percent: float = 0.0
    found: Any = None

    @classmethod
    def of(cls, check: Check, result: Any, found: Any = None) -> Outcome:
        """The outcome that a validation result of Great Expectations tells."""
        passed, told = bool(result.success), result.result or {}
        count = told.get("unexpected_count")
        if count is None:
            return cls(check, passed, 0 if passed else 1, 0.0 if passed else 100.0, found)
        return cls(check, passed, int(count), float(told.get("unexpected_percent") or 0.0), found)

    @property
    def stops(self) -> bool:
        """Whether it stops the publish; a fact has no rows to keep back, so what would quarantine them stops it too."""
        severities = ("fail", "quarantine") if self.check.is_fact else ("fail",)
        return not self.passed and self.check.severity in severities


@dataclass
class Verdict:
    """A table's verdict: `quarantined` of its `rows` are kept back."""

    table: str
    rows: int
    outcomes: list[Outcome]
    quarantined: int = 0

    @property
    def status(self) -> str:
        """`failed`, `quarantined` (some rows), `warned` or `passed`."""
        if any(outcome.stops for outcome in self.outcomes):
            return "failed"
        if self.quarantined:
            return "quarantined"
        return "warned" if any(not outcome.passed for outcome in self.outcomes) else "passed"


def conclude(
    ctx: Context, folder: Path, verdicts: Sequence[Verdict], books: list[Book], docs: Path, batch: str | None
) -> StepResult:
    """Write the verdict, and give the step's result. Raises GateFailedError where a check stops the publish."""
    stopping = list(_stopping(verdicts))
    checks = [_told(verdict, outcome) for verdict in verdicts for outcome in verdict.outcomes]
    content = {
        "status": "failed" if stopping else "passed",
        "batch": batch,
        "run_id": ctx.run_id,
        "judged_at": datetime.datetime.now(datetime.UTC).isoformat(),
        "docs": str(docs),
        "books": [asdict(book) for book in books],
        "tables": {
            verdict.table: {
                "status": verdict.status,
                "rows": verdict.rows,
                "failed_rows": verdict.quarantined,
                "checks": [told for told in checks if told["table"] == verdict.table],
            }
            for verdict in verdicts
        },
    }
    delta.write_json(folder / VERDICT_FILE, content)
    if stopping:
        raise GateFailedError(
            f"{ctx.scope}: the gate stopped the publish. " + "; ".join(stopping),
            f"Nothing was published; what was live stays live. See {docs}, mend the source (or, if the check is wrong, "
            "its declaration), and run again.",
        )
    return StepResult(books, {"batch": batch, "docs": str(docs), "checks": checks})


def _stopping(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        for outcome in verdict.outcomes:
            if outcome.stops:
                of_rows = f"for {outcome.failed} of {verdict.rows} rows"
                what = f"with {outcome.found}" if outcome.check.is_fact else of_rows
                yield f"{verdict.table}: “{outcome.check.name}” failed {what}"


def _told(verdict: Verdict, outcome: Outcome) -> dict[str, Any]:
    check = outcome.check
    told = {
        "table": verdict.table,
        "name": check.name,
        "kind": check.kind,
        "severity": check.severity,
        "verdict": "passed" if outcome.passed else "failed",
        "rows": 1 if check.is_fact else verdict.rows,
        "failed": outcome.failed,
        "percent": round(outcome.percent, 3),
    }
    return told | ({"found": outcome.found} if check.is_fact else {})
