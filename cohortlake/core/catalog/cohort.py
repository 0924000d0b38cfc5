"""A cohort: who is in, when their index date is, what is known then, and what is to be foretold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.completeness import Need
from cohortlake.core.catalog.source import Declaration


class Feature(Declaration):
    """A column known at the index date; `sql` sees only records dated on or before it.

    Where a patient's records cannot tell what the feature `needs`, it is null, whatever the SQL makes of it.
    """

    type: Literal["number", "category", "boolean"]
    description: str
    unit: str | None = None
    needs: list[Need] = []


class Splits(Declaration):
    """Shares of the persons, in percent; a person is in one split only, the same one in every release."""

    train: int
    validation: int
    test: int
    seed: str

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        if self.train + self.validation + self.test != 100:
            raise ValueError("train, validation and test must add up to 100")
        return self


class Cohort(Declaration):
    """A cohort and its training set. `index.sql`, `features.sql` and `outcome.sql` stand beside the declaration.

    `stratum` is the SQL over features that names a person's stratum; the sparsest one in the training split is
    augmented as `synthetic/<cohort>.yaml` says, where there is one.

    `criteria_needs` and `outcome_needs` are the columns of gold without which the criteria and the outcome cannot be
    known: whose records lack one is left out, and counted.
    """

    name: str
    title: str
    description: str
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    inclusion: list[str]
    exclusion: list[str]
    criteria_needs: list[Need] = []
    index_date: str
    outcome: str
    outcome_window_days: Annotated[int, Field(gt=0)]
    outcome_needs: list[Need] = []
    features: Annotated[dict[str, Feature], Field(min_length=1)]
    stratum: str
    splits: Splits
    intended_use: str
    limits: list[str]
