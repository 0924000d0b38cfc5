"""The proof of one recipe on one cohort: the checks in their stages, until one stage refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthetic.proof.checks import near_copies, relations, relations_of_real, scored
from synthetic.proof.evidence import evidence
from synthetic.proof.finding import Finding, found, verdict
from synthetic.proof.judge import judge, keep_on
from synthetic.proof.trial import Sampler, try_redraws
from synthetic.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

STAGES = (
    ("evidence", "relations of real rows"),
    ("rows",),
    ("near copies", "likeness", "relations"),
    ("lift", "column-permuted", "calibration", "no harm elsewhere"),
)


@dataclass(frozen=True)
class Question:
    """What is to be proved. `rows` are the real rows of training and validation, with person_key, split, stratum,
    outcome and the features, whose declared types are `types`; `share` of the persons train in a redraw. `path` is the
    recipe's file, for messages. `score` gives the scores of synthetic rows.
    """

    rows: pd.DataFrame
    stratum: str
    types: dict[str, str]
    recipe: Recipe
    path: Path
    share: float
    sampler: Sampler
    score: Callable[[pd.DataFrame, pd.DataFrame], dict[str, Any]]

    @property
    def train(self) -> pd.DataFrame:
        return self.rows[self.rows["split"] == "train"]

    @property
    def real(self) -> pd.DataFrame:
        """The stratum's training rows: those that the released rows are made from."""
        return self.train[self.train["stratum"] == self.stratum].reset_index(drop=True)


@dataclass
class Proof:
    """The findings so far, the facts beside them, and the rows in question."""

    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    made: pd.DataFrame | None = None

    def add(self, *findings: Finding) -> bool:
        """Keep findings; whether all so far hold."""
        self.findings += findings
        return all(finding.holds for finding in self.findings)

    @property
    def is_accepted(self) -> bool:
        return bool(self.told["verdict"] == "accepted")

    @property
    def told(self) -> dict[str, Any]:
        """The proof as JSON (`verdict`)."""
        asked = {finding.check for finding in self.findings}
        return verdict(self.findings, [name for stage in STAGES for name in stage if name not in asked])


def not_proved(evidence: Finding, train: pd.DataFrame, recipe: Recipe, path: Path) -> Proof:
    """The proof that ends before there is a question: no stratum can be fitted on. The recipe is held to its word."""
    return Proof([evidence, relations_of_real(train, recipe, path)])


def prove(question: Question, tell: Callable[[str], None] = lambda text: None) -> Proof:
    """Ask every check, cheap ones first. `tell` hears what is under way.

    Raises CatalogError for relations that cannot be computed.
    """
    proof, recipe, path = Proof(), question.recipe, question.path
    if not proof.add(
        evidence(question.rows, question.stratum, recipe), relations_of_real(question.train, recipe, path)
    ):
        return proof
    tell(f"fitting {len(question.real)} rows")
    made = proof.made = question.sampler([question.real], [recipe.seed])[0]
    left = f"{len(made) or 'no'} sampled rows are new and inside the rules"
    if not proof.add(found("rows", len(made) > 0, left, rows=len(made))):
        return proof
    tell(f"scoring {len(made)} rows")
    scores = proof.facts["scores"] = question.score(question.real, made)
    if not proof.add(
        near_copies(question.real, made, question.types, recipe),
        scored(scores, recipe),
        relations(question.train, made, recipe, path),
    ):
        return proof
    tell(f"{recipe.lift.redraws} redraws")
    trial = try_redraws(
        question.rows, question.stratum, question.types, recipe, question.sampler, question.share,
        lambda so_far: keep_on(so_far, recipe),
    )  # fmt: skip
    findings, shown = judge(trial, recipe)
    proof.facts |= shown
    proof.add(*findings)
    return proof
