"""A curated table: a ViewDefinition or SQL over views, with the documentation that makes it usable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration

PrivacyClass = Literal["identifier", "quasi_identifier", "sensitive", "none"]


class Column(Declaration):
    """A column: `type` is a Spark SQL type. `privacy` is its class; an `identifier` never leaves the phi zone."""

    type: Literal["STRING", "BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL(18,2)", "DATE", "TIMESTAMP"]
    description: str
    privacy: PrivacyClass
    unit: str | None = None
    is_required: bool = False
    references: str | None = None


class StandardUnits(Declaration):
    """Columns that are made of others: values in the unit that their LOINC code implies (catalog/units).

    `code` is the column of the LOINC code, `unit` those of the unit as it came (its UCUM code, its words), and
    `standard_unit` the column that says the unit of the values made. `values` are columns made, each of another one;
    the first is the result itself. Where a unit cannot be converted, all are null.
    """

    code: str
    unit: Annotated[list[str], Field(min_length=1, max_length=2)]
    standard_unit: str
    values: Annotated[dict[str, str], Field(min_length=1)]

    @property
    def made(self) -> tuple[str, ...]:
        """The columns that are made."""
        return (*self.values, self.standard_unit)

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that they are made of."""
        return (self.code, *self.unit, *self.values.values())


class Table(Declaration):
    """A table of gold.

    `source` says how it is made: `view` (view.json beside it), `sql` (table.sql), or `persons` (the linked patients).
    `coded_in` names the code system (a URI) that a concept's columns prefer: `condition` is `condition_code` and
    `condition_system`. A row without such a code has the source's first coding there; `cohortlake codes` counts it.
    """

    name: str
    title: str
    description: str
    grain: Annotated[str, Field(description="what one row is")]
    source: Annotated[Literal["view", "sql", "persons"], Field(alias="from")]
    needs: list[str] = []
    key: Annotated[list[str], Field(min_length=1)]
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    standard_units: StandardUnits | None = None
    coded_in: dict[str, str] = {}

    @model_validator(mode="after")
    def _key_is_columns(self) -> Table:
        for name in self.key:
            if name not in self.columns:
                raise ValueError(f"key {name!r} is not one of the columns")
        for name, column in self.columns.items():
            if column.privacy == "identifier":
                raise ValueError(f"column {name!r} is an identifier, which gold never holds")
        return self

    @model_validator(mode="after")
    def _standard_units_are_columns(self) -> Table:
        if self.standard_units is not None:
            if not self.is_view:
                raise ValueError("standard_units are for tables that are made from a view")
            types = dict.fromkeys(self.standard_units.values, "DOUBLE")
            for name in (*self.standard_units.made, *self.standard_units.read):
                if name not in self.columns:
                    raise ValueError(f"standard_units names {name!r}, which is not one of the columns")
                if self.columns[name].type != types.get(name, self.columns[name].type):
                    raise ValueError(f"column {name!r} must be a DOUBLE: standard_units makes it")
        return self

    @model_validator(mode="after")
    def _coded_in_names_columns(self) -> Table:
        for concept in self.coded_in:
            for name in (f"{concept}_code", f"{concept}_system"):
                if name not in self.columns:
                    raise ValueError(f"coded_in names {concept!r}, but {name!r} is not one of the columns")
        return self

    @property
    def viewed(self) -> tuple[str, ...]:
        """The columns that the table's view or SQL makes: all but those of `standard_units`."""
        made = self.standard_units.made if self.standard_units else ()
        return tuple(name for name in self.columns if name not in made)

    @property
    def is_view(self) -> bool:
        return self.source == "view"

    @property
    def is_sql(self) -> bool:
        return self.source == "sql"
