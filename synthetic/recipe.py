"""A recipe: how the sparsest stratum of a cohort's training split is augmented, and what must be shown of the rows.

`synthetic/<cohort>.yaml`, beside the catalog; a cohort without one is not augmented. docs/augmentation.md explains each
entry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration, load

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
AtLeastTen = Annotated[int, Field(ge=10)]
"""An interval of fewer persons is too narrow, and a cell of fewer is not let out (CMS: 11)."""

LEARNERS = ("logistic_regression", "random_forest", "gradient_boosting")
COMPARATORS = (*LEARNERS, "oversampled_stratum", "class_weights")
Comparator = Literal[
    "logistic_regression", "random_forest", "gradient_boosting", "oversampled_stratum", "class_weights"
]


class MinScores(Declaration):
    """The least scores (SDMetrics, 0 to 1, more is better) with which synthetic rows may enter a release.

    `column_shapes` compares each column's distribution, `column_pair_trends` each pair's, with the real training rows;
    `new_rows` is the share of synthetic rows that match no real training row to within 1 % in every column.
    """

    column_shapes: Share
    column_pair_trends: Share
    new_rows: Share


class Evidence(Declaration):
    """The least numbers of persons for a verdict, among those of training and validation: fewer, and none is given.

    A person counts as with the outcome where any of their rows has it, as without where any has not.
    """

    persons_with_outcome: AtLeastTen = 20
    persons_without_outcome: AtLeastTen = 20
    stratum_persons_with_outcome: AtLeastTen = 10
    stratum_persons_without_outcome: AtLeastTen = 10


class Calibration(Declaration):
    """By how much calibration in the primary area may be worse than the best real-only model's.

    `brier` bounds the upper end of the interval of the difference of Brier scores; `slope` and `intercept` how much
    farther from 1 and from 0 the recalibration's may lie (Van Calster et al., BMC Medicine 17:230, 2019).
    """

    brier: NotNegative = 0.005
    slope: NotNegative = 0.3
    intercept: NotNegative = 0.4


class Lift(Declaration):
    """The lift that must be shown: whose rows decide, against which models on real rows alone, by how many redraws.

    `primary` is the one area whose interval must lie above zero: declared before, since two looks are two chances. In
    the other area the rows must not be shown to lose more AUROC than `max_loss_elsewhere`. A redraw draws anew who is
    in training and who is held out (`synthetic/proof`).
    """

    primary: Literal["stratum", "overall"] = "stratum"
    comparators: Annotated[list[Comparator], Field(min_length=1)] = list(COMPARATORS)
    redraws: Annotated[int, Field(ge=16, le=200)] = 24
    max_loss_elsewhere: NotNegative = 0.02
    calibration: Calibration = Calibration()

    @model_validator(mode="after")
    def _one_learner(self) -> Lift:
        if not set(self.comparators) & set(LEARNERS):
            raise ValueError(f"comparators must name one of {', '.join(LEARNERS)}, which is trained")
        return self


class Relation(Declaration):
    """A clinical relation that rows keep: one of `rises`, `falls` or `holds`.

    `rises: [a, b]`: b is higher where a is higher; `falls`: lower. Measured by the share of pairs of rows, with other
    values of both, that are in the wrong order. `holds` is SQL (DuckDB) over features and outcome: a range, a sum, a
    combination; measured by the share of rows for which it is false (null is kept). `at_most` is the share that the
    real training rows may break, else the recipe is wrong; synthetic rows may break no larger share than the real ones
    do, and for pairs, whose share varies from sample to sample, `margin` more.
    """

    rises: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    falls: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    holds: str | None = None
    at_most: Share = 0.05
    margin: Share = 0.05

    @model_validator(mode="after")
    def _one_kind(self) -> Relation:
        if sum(kind is not None for kind in (self.rises, self.falls, self.holds)) != 1:
            raise ValueError("give one of rises, falls or holds")
        return self

    @property
    def text(self) -> str:
        if self.holds is not None:
            return self.holds
        verb = "rises" if self.rises else "falls"
        first, second = self.rises or self.falls or ["", ""]
        return f"{second} {verb} with {first}" if self.rises else f"{second} {verb} as {first} rises"


class Recipe(Declaration):
    """A recipe. The stratum is the one with fewest real training rows among those that have enough to learn from.

    `min_real_rows` and `min_real_persons` say what is enough: rows of few persons teach those persons, not the stratum.
    `target_rows` (real and synthetic, in the training split) or `factor` (synthetic rows a real one) says how many are
    made. `constraints` are SQL (DuckDB) over features and outcome: a sampled row that breaks one is dropped; null is
    kept. `relations` are measured over the rows that are left. `max_near_copies` bounds the share of rows that lie
    twice as near to a real row as any other person's does. `namespace` starts every synthetic patient_key:
    `<namespace>:<cohort>:<n>`.
    """

    cohort: str
    synthesizer: Literal["GaussianCopula"]
    distribution: Literal["norm", "beta", "truncnorm", "uniform", "gamma", "gaussian_kde"]
    min_real_rows: Annotated[int, Field(ge=10)]
    min_real_persons: Annotated[int, Field(ge=2)]
    target_rows: Annotated[int, Field(gt=0)] | None = None
    factor: Annotated[float, Field(gt=0)] | None = None
    constraints: list[str] = Field(default=[])
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    namespace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    min_scores: MinScores
    max_near_copies: Share = 0.25
    relations: list[Relation] = Field(default=[])
    evidence: Evidence = Evidence()
    lift: Lift = Lift()

    @model_validator(mode="after")
    def _one_size(self) -> Recipe:
        if (self.target_rows is None) == (self.factor is None):
            raise ValueError("give target_rows or factor, one of them")
        return self

    def rows_to_make(self, real_rows: int) -> int:
        """How many synthetic rows a stratum with `real_rows` training rows gets."""
        if self.target_rows is not None:
            return max(0, self.target_rows - real_rows)
        return round(real_rows * (self.factor or 0))

    def patient_key(self, number: int) -> str:
        return f"{self.namespace}:{self.cohort}:{number}"


def read_recipe(path: Path) -> Recipe | None:
    """The recipe in a file, or None where there is no file. Raises CatalogError for a wrong one."""
    return load(path, Recipe, cohort=path.stem) if path.exists() else None
