"""A recipe: how the sparsest stratum of a cohort's training split is augmented, and how good it must be.

`synthetic/<cohort>.yaml`, beside the catalog; a cohort without one is not augmented.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration, load

Share = Annotated[float, Field(ge=0, le=1)]


class MinScores(Declaration):
    """The least scores (SDMetrics, 0 to 1, more is better) with which synthetic rows may enter a release.

    `column_shapes` compares each column's distribution, `column_pair_trends` each pair's, with the real training rows;
    `new_rows` is the share of synthetic rows that match no real training row to within 1 % in every column.
    """

    column_shapes: Share
    column_pair_trends: Share
    new_rows: Share


class Recipe(Declaration):
    """A recipe. The stratum is the one with fewest real training rows among those that have enough to learn from.

    `min_real_rows` and `min_real_persons` say what is enough: rows of few persons teach those persons, not the stratum.
    `target_rows` (real and synthetic, in the training split) or `factor` (synthetic rows a real one) says how many are
    made. `constraints` are SQL over features and outcome that no row may break; a constraint that is null is kept.
    `namespace` starts every synthetic patient_key: `<namespace>:<cohort>:<n>`.
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
