"""A curated table: a ViewDefinition or SQL over views, with the documentation that makes it usable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.attributes import Resolution, told_columns
from cohortlake.core.catalog.completeness import Need
from cohortlake.core.catalog.source import Declaration

IS_COUNTED = "is_counted"
PrivacyClass = Literal["identifier", "quasi_identifier", "sensitive", "none"]


class Column(Declaration):
    """A column: `type` is a Spark SQL type. `privacy` is its class; an `identifier` never leaves the phi zone.

    `needs` are the columns of other tables without which this one cannot be known.
    """

    type: Literal["STRING", "BOOLEAN", "INT", "BIGINT", "DOUBLE", "DECIMAL(18,2)", "DATE", "TIMESTAMP"]
    description: str
    privacy: PrivacyClass
    unit: str | None = None
    is_required: bool = False
    references: str | None = None
    needs: list[Need] = []


class StandardUnits(Declaration):
    """Columns that are made of others: values in the unit that their LOINC code implies (catalog/units).

    `code` is the column of the LOINC code, `unit` those of the unit as it came (its UCUM code, its words), and
    `standard_unit` the column that says the unit of the values made. `values` are columns made, each of another one;
    the first is the result itself. Where a unit cannot be converted, all are null. `comparator` is a column made of the
    result's comparator: where it has a value (`<`), the result in standard units is a bound and no value.
    """

    code: str
    unit: Annotated[list[str], Field(min_length=1, max_length=2)]
    standard_unit: str
    values: Annotated[dict[str, str], Field(min_length=1)]
    comparator: Annotated[dict[str, str], Field(max_length=1)] = {}

    @property
    def made(self) -> tuple[str, ...]:
        """The columns that are made."""
        return (*self.values, *self.comparator, self.standard_unit)

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that they are made of."""
        return (self.code, *self.unit, *self.values.values(), *self.comparator.values())


class CountedCodes(Declaration):
    """Which codes of a status column make a record count as something that took place or holds true.

    `counted` and `not_counted` together are FHIR's codes for the element. A code in neither is none of FHIR's, and does
    not count. `absent` says whether a record without a status counts.
    """

    counted: Annotated[list[str], Field(min_length=1)]
    not_counted: list[str] = []
    absent: Literal["counted", "not_counted"]

    @model_validator(mode="after")
    def _a_code_is_in_one_list(self) -> CountedCodes:
        both = sorted(set(self.counted) & set(self.not_counted))
        if both:
            raise ValueError(f"{', '.join(both)}: a status is either counted or not_counted")
        return self


class Table(Declaration):
    """A table of gold.

    `source` says how it is made: `view` (view.json beside it), `sql` (table.sql), or `persons` (one row a human, of the
    records that are linked, as `resolve` declares).

    `person_of` are columns made of others: the person of the patient whose key the other column holds.

    `coded_in` names the code system (a URI) that a concept's columns prefer: `condition` is `condition_code` and
    `condition_system`. A row without such a code has the source's first coding there; `cohortlake codes` counts it.

    `counted_statuses` says, by status column, which of a view's records count; the job makes the column `is_counted` of
    it, true where all of them do. `part_of` names the table that analysts use in this one's place.
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
    coded_in: dict[str, str] = {}
    counted_statuses: dict[str, CountedCodes] = {}
    part_of: str | None = None

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

    @model_validator(mode="after")
    def _coded_in_names_columns(self) -> Table:
        for concept in self.coded_in:
            for name in (f"{concept}_code", f"{concept}_system"):
                if name not in self.columns:
                    raise ValueError(f"coded_in names {concept!r}, but {name!r} is not one of the columns")
        return self

    @model_validator(mode="after")
    def _counted_statuses_are_columns(self) -> Table:
        if self.counted_statuses:
            if not self.is_view:
                raise ValueError("counted_statuses are for tables that are made from a view")
            for name in (*self.counted_statuses, IS_COUNTED):
                if name not in self.columns:
                    raise ValueError(f"counted_statuses needs the column {name!r}, which is not declared")
            if self.columns[IS_COUNTED].type != "BOOLEAN":
                raise ValueError(f"column {IS_COUNTED!r} must be a BOOLEAN: counted_statuses makes it")
        return self

    @property
    def made(self) -> tuple[str, ...]:
        """The columns that the job makes of others: of `standard_units`, `person_of`, `counted_statuses`."""
        units = self.standard_units.made if self.standard_units else ()
        return (*units, *self.person_of, *((IS_COUNTED,) if self.counted_statuses else ()))

    @property
    def viewed(self) -> tuple[str, ...]:
        """The columns that the table's view or SQL makes: all but those that the job makes of them."""
        return tuple(name for name in self.columns if name not in self.made)

    def preferred_system(self, column: str) -> str | None:
        """The code system (a URI) that a column of codes prefers, by `coded_in`."""
        return self.coded_in.get(column.removesuffix("_code"))

    @property
    def displays(self) -> dict[str, tuple[str, str]]:
        """The columns of displays, each with the columns of its code and system: `x_display` of `x_code`, `x_system`.

        `source_display` is not among them: it is what the sender wrote.
        """
        stems = (name.removesuffix("_display") for name in self.columns if name.endswith("_display"))
        named = {f"{stem}_display": (f"{stem}_code", f"{stem}_system") for stem in stems if not stem.endswith("source")}
        return {name: pair for name, pair in named.items() if set(pair) <= set(self.columns)}

    @property
    def is_view(self) -> bool:
        return self.source == "view"

    @property
    def is_sql(self) -> bool:
        return self.source == "sql"
