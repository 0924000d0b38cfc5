"""What is known of a human whose records disagree: which value is used, by which declared rule.

The records are rows of `patients`. The distinct values that they say of an attribute are candidates. Rules are asked in
their order; each leaves the candidates that it prefers, and the one that leaves a single candidate has decided.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration

# What `<attribute>_basis` says beside the rules' names.
AGREED, LOWEST, UNKNOWN = "agreed", "lowest_value", "only_unknown"
Rule = Literal["most_precise", "most_sources", "most_trusted", "any_true"]


class Attribute(Declaration):
    """One thing that records say of a human.

    `columns` are of `patients`: the first is compared, the others (its code system, its words) go with it, as the most
    trusted silo has them. Values that `unknown` lists count only where no record has another.

    | rule | prefers |
    |---|---|
    | `most_precise` | another day of the month to its first, of the year to 1 January: defaults of a typist |
    | `most_sources` | the value that the most independent sources say |
    | `most_trusted` | the value of the silo that `trust` names first |
    | `any_true` | true to false: one source knows what another has not heard of |
    """

    columns: Annotated[list[str], Field(min_length=1)]
    rules: Annotated[list[Rule], Field(min_length=1)]
    unknown: list[str] = []

    @model_validator(mode="after")
    def _once(self) -> Attribute:
        for names in (self.columns, self.rules):
            if len(set(names)) < len(names):
                raise ValueError(f"{names} names one twice")
        return self


class Resolution(Declaration):
    """How a human's records become one row.

    `sources` name the silos that have what they say from one place, and so are one voice; a silo that is not listed is
    a source by itself. `trust` lists silos, the most trusted first; others follow by name.
    """

    attributes: Annotated[dict[str, Attribute], Field(min_length=1)]
    sources: dict[str, list[str]] = {}
    trust: list[str] = []

    @model_validator(mode="after")
    def _one_source(self) -> Resolution:
        listed = [silo for silos in self.sources.values() for silo in silos]
        for names in (listed, self.trust):
            if twice := sorted({silo for silo in names if names.count(silo) > 1}):
                raise ValueError(f"the silo {twice[0]} is listed twice")
        return self

    def source_of(self) -> dict[str, str]:
        """The source of each silo that `sources` lists."""
        return {silo: source for source, silos in self.sources.items() for silo in silos}


def told_columns(attribute: str) -> dict[str, str]:
    """The columns that say how a value came to be, with their types: how many there were, why this one."""
    return {f"{attribute}_count": "INT", f"{attribute}_basis": "STRING", f"has_{attribute}_conflict": "BOOLEAN"}
