"""The facts of a release: the one place that states each of them. `release.json` holds this model; the datasheet, the
report and the command line are rendered from it. Its numbers are counted from the released files (`release_counts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator


class Facts(BaseModel):
    """Base of what a release states: a fact that is not known here is an error."""

    model_config = ConfigDict(extra="forbid")


class Counts(Facts):
    """Real rows, the persons behind them, and the rows with the outcome."""

    rows: int
    persons: int
    events: int

    @model_validator(mode="before")
    @classmethod
    def _without_prevalence(cls, given: Any) -> Any:
        """Read back from JSON, the share is computed anew."""
        return (
            {name: value for name, value in given.items() if name != "prevalence"} if isinstance(given, dict) else given
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def prevalence(self) -> float | None:
        """The share of rows with the outcome; None where there are no rows."""
        return round(self.events / self.rows, 4) if self.rows else None


class Cell(Counts):
    """The counts of a stratum in a split."""

    split: str
    stratum: str


class AttritionStep(Facts):
    """What a criterion left: rows, persons, rows by silo."""

    kind: str
    criterion: str
    rows: int
    persons: int
    silos: dict[str, int]


class Counted(Facts):
    """What is counted from the released files. `missing` is rows by feature.

    `patients` are the records (`patient_key`) of the persons; `synthetic` the rows that are marked so, by split.
    """

    counts: Counts
    patients: int
    by_split: dict[str, Counts]
    by_silo: dict[str, Counts]
    by_stratum: dict[str, Counts]
    by_split_and_stratum: list[Cell]
    missing: dict[str, int]
    persons_in_several_splits: int
    synthetic_rows: dict[str, int]


class ReleaseFacts(Counted):
    """All that a release states of itself.

    `cannot_be_known` is missing rows by feature and reason, where a silo cannot tell it; `unlinked_patients` are
    records that no table gives a person, each of which counts as one; `synthetic` is what the step `augment` found
    (docs/augmentation.md).
    """

    cohort: str
    version: str
    declared_version: str
    inputs: dict[str, dict[str, Any]]
    attrition: list[AttritionStep]
    cannot_be_known: dict[str, dict[str, int]] = Field(default={})
    unlinked_patients: int = 0
    synthetic: dict[str, Any]


CLAIMED = ("counts", "by_split", "by_silo", "by_stratum", "by_split_and_stratum", "missing")


def differences(counted: Counted, claimed: Mapping[str, Any]) -> list[str]:
    """The names of facts that a step claims of its rows and that are not what was counted from the files."""
    told = counted.model_dump(mode="json")
    found = [name for name in CLAIMED if name in claimed and told[name] != claimed[name]]
    unknown = claimed.get("cannot_be_known", {})
    if any(sum(reasons.values()) > counted.missing[name] for name, reasons in unknown.items()):
        found.append("cannot_be_known")
    last = claimed["attrition"][-1] if claimed.get("attrition") else None
    if last:
        silos = {silo: counts["rows"] for silo, counts in told["by_silo"].items()}
        left = {silo: rows for silo, rows in last["silos"].items() if rows}
        if (last["rows"], last["persons"], left) != (counted.counts.rows, counted.counts.persons, silos):
            found.append("attrition")
    return found
