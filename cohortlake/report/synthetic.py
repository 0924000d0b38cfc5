"""Synthetic rows: how many, how like the real ones, and whether they help."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cohortlake.report import facts


@dataclass(frozen=True)
class Counts:
    """Rows, persons, and rows with the outcome."""

    rows: int = 0
    persons: int = 0
    events: int = 0


@dataclass(frozen=True)
class Score:
    """A measure of the synthetic rows (1 is best), and what real rows that were not fitted on reach, if known."""

    name: str
    value: float | None
    reference: float | None = None


@dataclass(frozen=True)
class Lift:
    """A model's measure with the synthetic rows against without, on real validation rows; or why it cannot be told."""

    area: str
    counts: Counts
    measure: str
    verdict: str
    why: str = ""
    real: float = 0.0
    augmented: float = 0.0
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @property
    def reach(self) -> float:
        """How far from 0 the interval reaches."""
        return max(abs(self.low), abs(self.high), abs(self.difference))


@dataclass(frozen=True)
class Check:
    """A check of the proof: whether it holds, and what it found."""

    name: str
    outcome: str
    text: str


@dataclass(frozen=True)
class Comparator:
    """A model on real rows alone: its AUROC in the stratum and overall, if known."""

    name: str
    stratum: float | None
    overall: float | None


@dataclass(frozen=True)
class Distribution:
    """A feature's real and synthetic rows by bin: the bins' labels, and counts."""

    feature: str
    labels: tuple[str, ...]
    real: tuple[int, ...]
    synthetic: tuple[int, ...]

    @property
    def told(self) -> str:
        """The same in words."""
        pairs = zip(self.labels, self.real, self.synthetic, strict=True)
        return f"{self.feature}: " + "; ".join(f"{label} {real} real, {made} synthetic" for label, real, made in pairs)


@dataclass(frozen=True)
class Synthetic:
    """Synthetic rows: how many were made of how many sampled, or why none."""

    made: int = 0
    why: str = ""
    stratum: str = ""
    real: Counts = field(default_factory=Counts)
    sampled: int = 0
    wanted: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    closer_to_training: float | None = None
    verdict: str = ""
    checks: tuple[Check, ...] = ()
    not_asked: tuple[str, ...] = ()
    comparators: tuple[Comparator, ...] = ()
    redraws: int = 0
    verdicts: dict[str, str] = field(default_factory=dict)
    lift: tuple[Lift, ...] = ()
    distributions: tuple[Distribution, ...] = ()

    @property
    def told(self) -> str:
        """Whether they help, in a line."""
        where = {"overall": "overall", "stratum": "in the stratum"}
        return "; ".join(f"{where.get(area, area)} {verdict}" for area, verdict in self.verdicts.items()).capitalize()


def read_counts(value: Any) -> Counts:
    """The counts of a part of the cohort."""
    found = facts.mapping(value)
    return Counts(*(facts.whole(found.get(name)) for name in ("rows", "persons", "events")))


def read_synthetic(told: dict[str, Any]) -> Synthetic:
    """The facts of `augment`."""
    lift, proof = facts.mapping(told.get("lift")), facts.mapping(told.get("proof"))
    return Synthetic(
        made=facts.whole(told.get("made")),
        why=facts.text(told.get("why")),
        stratum=facts.text(told.get("stratum")),
        real=Counts(facts.whole(told.get("real_rows")), facts.whole(told.get("real_persons"))),
        sampled=facts.whole(told.get("sampled")),
        wanted=facts.whole(told.get("wanted")),
        dropped=facts.tally(told.get("dropped")),
        scores=tuple(_scores(facts.mapping(told.get("scores")))),
        closer_to_training=facts.real(facts.mapping(told.get("scores")).get("closer_to_training")),
        verdict=facts.text(proof.get("verdict")),
        checks=tuple(
            Check(*(facts.text(check.get(name)) for name in ("check", "outcome", "text")))
            for check in facts.objects(proof.get("checks"))
        ),
        not_asked=tuple(facts.text(name) for name in facts.items(proof.get("not_asked"))),
        comparators=tuple(
            Comparator(name, *(facts.real(facts.mapping(found).get(area)) for area in ("stratum", "overall")))
            for name, found in facts.mapping(told.get("comparators")).items()
        ),
        redraws=facts.whole(told.get("redraws")),
        verdicts={area: facts.text(facts.mapping(part).get("verdict")) for area, part in lift.items()},
        lift=tuple(_lift(lift)),
        distributions=tuple(_distributions(told.get("distributions"))),
    )


def _scores(told: dict[str, Any]) -> list[Score]:
    if not told:
        return []
    reference = facts.mapping(told.get("real_holdout"))
    names = {
        "column_shapes": "Each column's distribution",
        "column_pair_trends": "Each pair of columns",
        "new_rows": "Rows that are new, to within 1 %",
    }
    return [Score(label, facts.real(told.get(name)), facts.real(reference.get(name))) for name, label in names.items()]


def _lift(told: dict[str, Any]) -> list[Lift]:
    found: list[Lift] = []
    for area in ("overall", "stratum"):
        part = facts.mapping(told.get(area))
        if "why" in part:
            verdict, why = facts.text(part.get("verdict")), facts.text(part.get("why"))
            found.append(Lift(area, read_counts(part), "", verdict, why))
        for measure in ("auroc", "brier"):
            score = facts.mapping(part.get(measure))
            interval = [facts.real(end) for end in facts.items(score.get("interval"))]
            numbers = [facts.real(score.get(name)) for name in ("real", "augmented", "difference")]
            values = [number for number in (*numbers, *interval) if number is not None]
            if len(values) == len(numbers) + 2:
                found.append(Lift(area, read_counts(part), measure, facts.text(score.get("verdict")), "", *values))
    return found


def _distributions(value: Any) -> list[Distribution]:
    """Histograms: a list of {feature, labels, real, synthetic}, the last two being counts by label."""
    found = []
    for told in facts.objects(value):
        labels = tuple(str(label) for label in facts.items(told.get("labels")))
        real, made = ([facts.whole(number) for number in facts.items(told.get(name))] for name in ("real", "synthetic"))
        if labels and len(labels) == len(real) == len(made):
            found.append(Distribution(facts.text(told.get("feature")), labels, tuple(real), tuple(made)))
    return found
