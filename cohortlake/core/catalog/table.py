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


class Table(Declaration):
    """A table of gold.

    `source` says how it is made: `view` (view.json beside it), `sql` (table.sql), or `persons` (the linked patients).
    """

    name: str
    title: str
    description: str
    grain: Annotated[str, Field(description="what one row is")]
    source: Annotated[Literal["view", "sql", "persons"], Field(alias="from")]
    needs: list[str] = []
    key: Annotated[list[str], Field(min_length=1)]
    columns: Annotated[dict[str, Column], Field(min_length=1)]

    @model_validator(mode="after")
    def _key_is_columns(self) -> Table:
        for name in self.key:
            if name not in self.columns:
                raise ValueError(f"key {name!r} is not one of the columns")
        for name, column in self.columns.items():
            if column.privacy == "identifier":
                raise ValueError(f"column {name!r} is an identifier, which gold never holds")
        return self

    @property
    def is_view(self) -> bool:
        return self.source == "view"

    @property
    def is_sql(self) -> bool:
        return self.source == "sql"
