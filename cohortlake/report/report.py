"""A run's report as data: what the page and the terminal both show."""

from __future__ import annotations

from dataclasses import dataclass, field

from cohortlake.core.lake import Lake
from cohortlake.plan import INGEST, TRAINING
from cohortlake.report import facts
from cohortlake.report.checks import Gate, read_gates
from cohortlake.report.completeness import Completeness, read_completeness
from cohortlake.report.held import Quarantine, read_quarantine
from cohortlake.report.live import Live, read_live
from cohortlake.report.people import People, read_people
from cohortlake.report.records import Run, StepRecord, read_run
from cohortlake.report.silos import Silo, read_silo
from cohortlake.report.training import Training, read_training

GOLD = "gold."


@dataclass(frozen=True)
class Table:
    """A table of gold: rows that this run published (None: it was left as it was), and those live now, if known."""

    name: str
    published: int | None
    quarantined: int
    live: int | None

    @property
    def rows(self) -> int:
        return self.live or self.published or 0


@dataclass(frozen=True)
class Report:
    """All that a report says."""

    run: Run
    silos: tuple[Silo, ...]
    gates: tuple[Gate, ...]
    tables: tuple[Table, ...]
    people: People
    cohorts: tuple[Training, ...]
    quarantine: Quarantine
    live: Live
    completeness: Completeness
    reaches_no_table: dict[str, int] = field(default_factory=dict)

    @property
    def published_tables(self) -> dict[str, int]:
        return {table.name: table.published for table in self.tables if table.published is not None}

    @property
    def quarantined(self) -> int:
        """Records that the run's steps put into quarantine."""
        return sum(step.total("quarantined") for step in self.run.steps)

    @property
    def unbalanced(self) -> list[StepRecord]:
        return [step for step in self.run.steps if not step.is_balanced]

    @property
    def is_idle(self) -> bool:
        """Whether the run found nothing to do."""
        has_moved = any(step.total("rows_in") for step in self.run.steps)
        return bool(self.run.steps) and not self.run.failed and not has_moved


def read_report(lake: Lake, run_id: str) -> Report:
    """The report of a run. Raises UsageError where there is no such run."""
    run, live = read_run(lake, run_id), read_live(lake)
    return Report(
        run=run,
        silos=tuple(read_silo(run, name, live) for name in run.scopes(INGEST)),
        gates=tuple(read_gates(run)),
        tables=tuple(_tables(run, live)),
        people=read_people(run),
        cohorts=tuple(read_training(run, name) for name in run.scopes(TRAINING)),
        quarantine=read_quarantine(lake, run_id),
        live=live,
        completeness=read_completeness(lake, run_id),
        reaches_no_table=facts.tally(run.step("curate", "gold").facts.get("reaches_no_table")),
    )


def _tables(run: Run, live: Live) -> list[Table]:
    gate, publish = run.step("gate", "gold"), run.step("publish", "gold")
    published = {book.table.removeprefix(GOLD): book.rows_out for book in publish.books}
    held = {book.table.removeprefix(GOLD): book.quarantined for book in gate.books}
    names = sorted(published.keys() | live.gold.keys())
    return [Table(name, published.get(name), held.get(name, 0), live.gold.get(name)) for name in names]
