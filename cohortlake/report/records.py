"""A run as its steps recorded it: `LAKE/ops/runs/<run>/run.json` and `steps/<step>.json`."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cohortlake.core import errors
from cohortlake.core.errors import CohortlakeError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.plan import CURATE, INGEST, TRAINING
from cohortlake.report import facts

STAGES = (INGEST, CURATE, TRAINING)
DONE, FAILED, MISSING = "done", "failed", "missing"
# Errors whose messages we write ourselves, of names and counts. Another's may hold a row's values.
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, CohortlakeError)}


@dataclass(frozen=True)
class Book:
    """A table's books in a step, in rows."""

    table: str
    rows_in: int
    rows_out: int
    quarantined: int
    superseded: int
    deleted: int
    not_mapped: int = 0
    left_out: int = 0
    digest_in: str = ""
    digest_out: str = ""

    @property
    def is_balanced(self) -> bool:
        away = self.quarantined + self.superseded + self.deleted + self.not_mapped + self.left_out
        return self.rows_in == self.rows_out + away and self.digest_in == self.digest_out


@dataclass(frozen=True)
class Failure:
    """Why a step failed. `message` is empty where it could hold a row's values."""

    kind: str
    message: str
    hint: str


@dataclass(frozen=True)
class StepRecord:
    """What a step did; `status` is `missing` for one that left no record."""

    name: str
    kind: str
    scope: str
    stage: str = ""
    status: str = MISSING
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    seconds: float = 0.0
    books: tuple[Book, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def is_balanced(self) -> bool:
        return all(book.is_balanced for book in self.books)

    def total(self, column: str) -> int:
        """A column of the books, summed over tables."""
        return sum(getattr(book, column) for book in self.books)


@dataclass(frozen=True)
class Run:
    """A run: what it was asked, and its steps in the order of the plan."""

    run_id: str
    lake: Lake
    data: str
    runner: str
    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    is_ended: bool
    steps: tuple[StepRecord, ...]

    def step(self, kind: str, scope: str) -> StepRecord:
        """The step of this kind and scope; one with the status `missing` where there is no record."""
        found = (step for step in self.steps if (step.kind, step.scope) == (kind, scope))
        return next(found, StepRecord(f"{kind}.{scope}", kind, scope))

    def scopes(self, stage: str) -> list[str]:
        """The silos, or cohorts, of which there is a record."""
        return list(dict.fromkeys(step.scope for step in self.steps if step.stage == stage))

    @property
    def failed(self) -> list[StepRecord]:
        return [step for step in self.steps if step.status == FAILED]

    @property
    def seconds(self) -> float:
        """From start to end, or the steps' own time where one of these is not known."""
        if self.started_at and self.ended_at:
            return max(0.0, (self.ended_at - self.started_at).total_seconds())
        return sum(step.seconds for step in self.steps)

    @property
    def span(self) -> float:
        """Seconds from the start of the run to the end of its last step."""
        return max((self.offset(step) + step.seconds for step in self.steps), default=0.0)

    def offset(self, step: StepRecord) -> float:
        """Seconds from the start of the run to that of a step."""
        if not (self.started_at and step.started_at):
            return 0.0
        return max(0.0, (step.started_at - self.started_at).total_seconds())


def read_run(lake: Lake, run_id: str) -> Run:
    """A run's records. Raises UsageError where there are none."""
    folder = lake.runs / run_id
    if not folder.is_dir():
        known = sorted(path.name for path in lake.runs.glob("*") if path.is_dir())
        raise UsageError(f"there is no run {run_id!r} in {lake.root}", f"Runs: {', '.join(known[-5:]) or 'none'}.")
    about = read_json(folder / "run.json")
    found = [_step(read_json(path)) for path in sorted((folder / "steps").glob("*.json"))]
    unknown = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    steps = sorted(
        (step for step in found if step),
        key=lambda step: (STAGES.index(step.stage), step.started_at or unknown, step.name),
    )
    starts = [step.started_at for step in steps if step.started_at]
    ends = [step.ended_at for step in steps if step.ended_at]
    return Run(
        run_id=run_id,
        lake=lake,
        data=facts.text(about.get("data")),
        # Airflow's tasks record their steps only.
        runner=facts.text(about.get("runner")) or "airflow",
        started_at=facts.time(about.get("started_at")) or min(starts, default=None),
        ended_at=facts.time(about.get("ended_at")) or max(ends, default=None),
        is_ended="started_at" not in about or "ended_at" in about,
        steps=tuple(steps),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A file's JSON object; an empty one where there is no such file, or it holds something else."""
    try:
        return facts.mapping(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _step(record: dict[str, Any]) -> StepRecord | None:
    kind, _, scope = facts.text(record.get("step")).partition(".")
    stage = facts.text(record.get("stage"))
    if not scope or stage not in STAGES:
        return None
    books = [_book(book) for book in facts.objects(record.get("books"))]
    return StepRecord(
        name=f"{kind}.{scope}",
        kind=kind,
        scope=scope,
        stage=stage,
        status=DONE if record.get("status") == DONE else FAILED,
        started_at=facts.time(record.get("started_at")),
        ended_at=facts.time(record.get("ended_at")),
        seconds=facts.real(record.get("seconds")) or 0.0,
        books=tuple(books),
        facts=facts.mapping(record.get("facts")),
        failure=_failure(record.get("error")),
    )


def _book(book: dict[str, Any]) -> Book:
    def rows(name: str) -> int:
        return facts.whole(book.get(name))

    return Book(
        facts.text(book.get("table")), rows("rows_in"), rows("rows_out"), rows("quarantined"), rows("superseded"),
        rows("deleted"), rows("not_mapped"), rows("left_out"), facts.text(book.get("digest_in")),
        facts.text(book.get("digest_out")),
    )  # fmt: skip


def _failure(error: Any) -> Failure | None:
    if not isinstance(error, dict):
        return None
    kind = facts.text(error.get("class")) or "unknown error"
    message = facts.text(error.get("message")) if kind in OURS else ""
    return Failure(kind, message, facts.text(error.get("hint")))
