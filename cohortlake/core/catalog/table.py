"""A curated table: a ViewDefinition or SQL over views, with the documentation that makes it usable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.attributes import Resolution, told_columns
from cohortlake.core.catalog.completeness import Need
from cohortlake.core.catalog.source import Declaration

PrivacyClass = Literal["identifier", "quasi_identifier", "sensitive", "none"]


class Column(Declaration):
    """A column: `type` is a Spark SQL type. `privacy` is its class; an `identifier` never leaves the phi zone.

    `code_system` is the system that a code should be in, where its view does not say so. `needs` are the columns of
    other tables without which this one cannot be known.
    """

    type: Literal["STRING", "BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL(18,2)", "DATE", "TIMESTAMP"]
    description: str
    privacy: PrivacyClass
    unit: str | None = None
    is_required: bool = False
    references: str | None = None
    code_system: str | None = None
    needs: list[Need] = []


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

    `source` says how it is made: `view` (view.json beside it), `sql` (table.sql), or `persons` (one row a human, of the
    records that are linked, as `resolve` declares).

    `person_of` are columns made of others: the person of the patient whose key the other column holds.
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
    person_of: dict[str, str] = {}
    resolve: Resolution | None = None

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
    def _persons_are_columns(self) -> Table:
        if self.person_of and not self.is_view:
            raise ValueError("person_of is for tables that are made from a view")
        for name in (*self.person_of, *self.person_of.values()):
            if name not in self.columns:
                raise ValueError(f"person_of names {name!r}, which is not one of the columns")
        if (self.source == "persons") != (self.resolve is not None):
            raise ValueError("a table from persons, and no other, says by resolve what a human's records become")
        if self.resolve is not None:
            if len(self.needs) != 1:
                raise ValueError("a table from persons needs one table: that of the records")
            told = {"person_key": "STRING", "record_count": "INT", "silo_count": "INT", "source_count": "INT"}
            for name, attribute in self.resolve.attributes.items():
                told |= dict.fromkeys(attribute.columns, "") | told_columns(name)
            if set(told) != set(self.columns):
                wrong = sorted(set(told) ^ set(self.columns))
                raise ValueError(f"resolve and the columns do not name the same: {', '.join(wrong)}")
            for name, kind in told.items():
                if kind and self.columns[name].type != kind:
                    raise ValueError(f"column {name!r} must be a {kind}: resolve makes it")
        return self

    @property
    def viewed(self) -> tuple[str, ...]:
        """The columns that the table's view or SQL makes: all but those of `standard_units` and `person_of`."""
        made = (*(self.standard_units.made if self.standard_units else ()), *self.person_of)
        return tuple(name for name in self.columns if name not in made)

    @property
    def is_view(self) -> bool:
        return self.source == "view"

    @property
    def is_sql(self) -> bool:
        return self.source == "sql"
