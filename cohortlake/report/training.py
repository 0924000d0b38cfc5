"""A cohort's part of the report: who is in, the splits, what is missing, and the release."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.releases import SPLITS, read_release
from cohortlake.report import facts
from cohortlake.report.records import Run, StepRecord
from cohortlake.report.synthetic import Counts, Synthetic, read_counts, read_synthetic

KINDS = ("cohort", "augment", "release")


@dataclass(frozen=True)
class Criterion:
    """What is left after a criterion, and how many rows it took out."""

    kind: str
    text: str
    rows: int
    persons: int
    lost: int


@dataclass(frozen=True)
class Training:
    """What a run did with a cohort; `is_unchanged` where its inputs had been released already."""

    name: str
    steps: tuple[StepRecord, ...]
    is_unchanged: bool
    counts: Counts
    attrition: tuple[Criterion, ...]
    splits: dict[str, Counts]
    silos: dict[str, Counts]
    strata: dict[str, Counts]
    cells: dict[tuple[str, str], Counts]
    missing: dict[str, int]
    synthetic: Synthetic
    version: str
    is_new: bool
    released: dict[str, int]

    @property
    def released_rows(self) -> int:
        return sum(self.released.values())


def read_training(run: Run, name: str) -> Training:
    """A cohort's part of a run; empty where the records are."""
    steps = tuple(run.step(kind, name) for kind in KINDS)
    cohort, augment, release = (step.facts for step in steps)
    is_unchanged = any(step.facts.get("unchanged") is True for step in steps)
    version = facts.text(release.get("version")) or facts.text(cohort.get("version"))
    # The release's own facts, counted from its files; the steps' where no release came of them.
    if released := _released(run.lake, name, version):
        cohort, augment = released, facts.mapping(released.get("synthetic"))
    elif is_unchanged:
        cohort = augment = {}
    splits = _by_name(cohort.get("by_split"))
    return Training(
        name=name,
        steps=steps,
        is_unchanged=is_unchanged,
        counts=read_counts(cohort.get("counts")),
        attrition=tuple(_attrition(cohort.get("attrition"))),
        splits={split: splits[split] for split in (*SPLITS, *sorted(set(splits) - set(SPLITS))) if split in splits},
        silos=_by_name(cohort.get("by_silo")),
        strata=_by_name(cohort.get("by_stratum")),
        cells={
            (facts.text(cell.get("split")), facts.text(cell.get("stratum"))): read_counts(cell)
            for cell in facts.objects(cohort.get("by_split_and_stratum"))
        },
        missing=facts.tally(cohort.get("missing")),
        synthetic=read_synthetic(augment),
        version=version,
        is_new=release.get("is_new") is True,
        released=facts.tally(release.get("rows")),
    )


def _by_name(value: Any) -> dict[str, Counts]:
    return {name: read_counts(found) for name, found in facts.mapping(value).items()}


def _attrition(value: Any) -> list[Criterion]:
    found: list[Criterion] = []
    for step in facts.objects(value):
        rows = facts.whole(step.get("rows"))
        lost = found[-1].rows - rows if found else 0
        kind, criterion = facts.text(step.get("kind")), facts.text(step.get("criterion"))
        found.append(Criterion(kind, criterion, rows, facts.whole(step.get("persons")), lost))
    return found


def _released(lake: Lake, cohort: str, version: str) -> dict[str, Any]:
    """The facts of a release; empty where it is not there."""
    try:
        return facts.mapping(read_release(lake.releases(cohort) / version).facts)
    except (UsageError, OSError, KeyError, TypeError):
        return {}
