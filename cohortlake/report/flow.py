"""The run as a flow: cards for what stands where, ribbons for the rows that moved, red branches into quarantine.

One lane a silo on the left, one a cohort on the right, gold between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cohortlake.report.records import DONE, FAILED, MISSING, StepRecord
from cohortlake.report.report import Report
from cohortlake.report.silos import Silo
from cohortlake.report.training import Training
from cohortlake.report.words import count, plural, short_count, size

COLUMNS = ("source", "bronze", "silver", "gold", "cohort", "release")
IDLE = "idle"


@dataclass(frozen=True)
class Card:
    """What stands at a place of the flow: a number, what it counts, and the steps that made it.

    `lane` counts from 0 at the top, in lanes' heights; `state` is done, idle (nothing new), failed or missing.
    """

    column: int
    lane: float
    name: str
    figure: str
    unit: str
    notes: tuple[str, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    state: str = DONE


@dataclass(frozen=True)
class Ribbon:
    """Rows that moved from one card to another, and how many of them went into quarantine."""

    source: Card
    target: Card
    rows: int
    held: int = 0

    @property
    def label(self) -> str:
        return short_count(self.rows) if self.rows else ""


@dataclass(frozen=True)
class Flow:
    """Cards and ribbons, in a picture so many lanes high; `told` says the same in words."""

    lanes: int
    cards: tuple[Card, ...]
    ribbons: tuple[Ribbon, ...]
    told: str


def make_flow(report: Report) -> Flow:
    """The flow of a run."""
    silos, cohorts, tables = report.silos, report.cohorts, report.published_tables
    lanes = max(len(silos), len(cohorts), 1)
    gold = _gold(report, (lanes - 1) / 2)
    from_gold = sum(table.quarantined for table in report.tables)
    cards, ribbons = [gold], []
    for index, silo in enumerate(silos):
        source, bronze, silver = _silo(silo, index + (lanes - len(silos)) / 2)
        to_bronze, to_silver = silo.quarantined("land"), silo.quarantined("standardise", "gate", "publish")
        into_gold = (silo.live or silo.published) if tables else 0
        cards += [source, bronze, silver]
        ribbons += [
            Ribbon(source, bronze, silo.records, to_bronze),
            Ribbon(bronze, silver, silo.published + silo.superseded, to_silver),
            Ribbon(silver, gold, into_gold, from_gold if silo is silos[-1] else 0),
        ]
    for index, cohort in enumerate(cohorts):
        drawn, release = _cohort(cohort, index + (lanes - len(cohorts)) / 2)
        cards += [drawn, release]
        candidates = cohort.attrition[0].rows if cohort.attrition and not cohort.is_unchanged else 0
        ribbons += [Ribbon(gold, drawn, candidates), Ribbon(drawn, release, cohort.released_rows)]
    return Flow(lanes, tuple(cards), tuple(ribbons), _told(silos, tables, cohorts))


def _state(steps: Sequence[StepRecord], is_idle: bool) -> str:
    statuses = [step.status for step in steps]
    for state in (FAILED, MISSING):
        if state in statuses:
            return state
    return IDLE if is_idle else DONE


def _silo(silo: Silo, lane: float) -> tuple[Card, Card, Card]:
    by_kind = {step.kind: step for step in silo.steps}
    land = by_kind["land"]
    rest = tuple(by_kind[kind] for kind in ("standardise", "gate", "publish"))
    known = f"of {plural(silo.files, 'file')}" if silo.files_new != silo.files else size(silo.bytes)
    unit = "new file" if silo.files_new == 1 else "new files"
    is_idle = not silo.files_new
    source = Card(0, lane, silo.name, count(silo.files_new), unit, (known,), state=IDLE if is_idle else DONE)
    bronze = Card(1, lane, "bronze", count(silo.landed), "records landed", (), (land,), _state([land], not silo.landed))
    notes = (f"{short_count(silo.superseded)} superseded",) if silo.superseded else _live(silo.live, silo.published)
    state = _state(rest, not silo.published)
    silver = Card(2, lane, "silver", count(silo.published), "rows published", notes, rest, state)
    return source, bronze, silver


def _live(rows: int | None, published: int) -> tuple[str, ...]:
    """What was live before, where nothing was published."""
    return (f"{short_count(rows)} live",) if rows and not published else ()


def _gold(report: Report, lane: float) -> Card:
    tables = report.published_tables
    steps = tuple(report.run.step(kind, "gold") for kind in ("curate", "gate", "publish"))
    unit = f"rows in {plural(len(tables), 'table')}" if tables else "rows published"
    notes = _live(sum(report.live.gold.values()), len(tables))
    return Card(3, lane, "gold", count(sum(tables.values())), unit, notes, steps, _state(steps, not tables))


def _cohort(cohort: Training, lane: float) -> tuple[Card, Card]:
    draw, augment, release = cohort.steps
    persons = (f"{count(cohort.counts.persons)} persons",) if cohort.counts.persons else ()
    state = _state([draw], cohort.is_unchanged)
    drawn = Card(4, lane, cohort.name, count(cohort.counts.rows), "rows", persons, (draw,), state)
    if cohort.is_unchanged:
        figure, unit, notes = "unchanged", "since release", (cohort.version,)
    else:
        made = (f"{short_count(cohort.synthetic.made)} synthetic",) if cohort.synthetic.made else ()
        figure, unit, notes = count(cohort.released_rows), "rows released", (cohort.version, *made)
    ends = (augment, release)
    released = Card(5, lane, "release", figure, unit, notes, ends, _state(ends, cohort.is_unchanged))
    return drawn, released


def _told(silos: Sequence[Silo], tables: dict[str, int], cohorts: Sequence[Training]) -> str:
    parts = [
        f"{silo.name}: {plural(silo.files_new, 'new file')}, {plural(silo.records, 'record')} in, {count(silo.landed)} "
        f"landed in bronze, {count(silo.published)} published to silver, {count(silo.superseded)} superseded, "
        f"{count(silo.quarantined())} to quarantine"
        for silo in silos
    ]
    parts.append(f"gold: {plural(sum(tables.values()), 'row')} in {plural(len(tables), 'table')}")
    parts += [
        f"{cohort.name}: {plural(cohort.counts.rows, 'row')}, {count(cohort.released_rows)} released, "
        f"{count(cohort.synthetic.made)} synthetic"
        for cohort in cohorts
    ]
    return ". ".join(parts) + "."
