"""How complete data must be: floors and known gaps of a silo's elements, and what tables, cohorts and features need.

```yaml
# silo.yaml: an element of FHIR, by resource type and path
completeness:
  Encounter.class: { floor_percent: 95, severity: fail }
  MedicationRequest.authoredOn: { known_gap: the documents say when a drug was taken, not when it was ordered }

# cohort.yaml and the columns of table.yaml: a column of gold
outcome_needs: [encounters.started_at, { column: encounters.class_code, floor_percent: 95 }]
```
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration

DEFAULT_FLOOR = 90.0
DEFAULT_DROP = 10.0
Percent = Annotated[float, Field(ge=0, le=100)]


class Completeness(Declaration):
    """What a silo's element must reach, or why it cannot.

    `floor_percent` of the rows of a delivery must have a value; `max_drop_points` is how many percentage points it may
    fall below earlier deliveries, beyond what the number of rows explains. A `known_gap` says why the source cannot
    tell the element: its emptiness no longer stops the silo, is counted and shown, and satisfies no requirement.
    """

    floor_percent: Percent | None = None
    max_drop_points: Percent = DEFAULT_DROP
    severity: Literal["warn", "fail"] = "warn"
    known_gap: Annotated[str | None, Field(min_length=1)] = None

    @model_validator(mode="after")
    def _a_gap_has_no_floor(self) -> Completeness:
        if self.known_gap is not None and self.floor_percent is not None:
            raise ValueError("an element is either a known_gap or has a floor_percent, not both")
        return self


NAME = r"[a-z][a-z0-9_]*"
COLUMN = rf"{NAME}\.{NAME}"


class Need(Declaration):
    """A column of gold, `table.column`, that something cannot do without; or one of several: `t.a | t.b`.

    A silo that knows it in less than `floor_percent` of its rows cannot tell it. The default of 90 says: for want of
    this column at most one event in ten may be missed.
    """

    column: Annotated[str, Field(pattern=rf"^{COLUMN}( \| {COLUMN})*$")]
    floor_percent: Annotated[float, Field(gt=0, le=100)] = DEFAULT_FLOOR

    @model_validator(mode="before")
    @classmethod
    def _a_name_is_enough(cls, content: Any) -> Any:
        return {"column": content} if isinstance(content, str) else content

    @model_validator(mode="after")
    def _of_one_table(self) -> Need:
        if len({name.partition(".")[0] for name in self.column.split(" | ")}) > 1:
            raise ValueError("the columns of one need are of one table")
        return self

    @property
    def table(self) -> str:
        """The table's name."""
        return self.column.partition(".")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the table of which one is enough."""
        return tuple(name.partition(".")[2] for name in self.column.split(" | "))
