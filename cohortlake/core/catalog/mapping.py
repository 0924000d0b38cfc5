"""How rows of a tabular silo become FHIR: a template of the resource, with SQL expressions at its leaves.

In `elements` a string that starts with `=` is an expression of DuckDB's SQL over the feed's columns; any other scalar
is a constant. `=EXPRESSION | map.field` looks the value up in a code map. An object whose expressions are all null is
left out, constants or not, and so is an empty list. `$each: lines` repeats an object over a declared `children` list,
whose columns are `line.COLUMN` and whose place, from 1, is `position`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration


class Children(Declaration):
    """Rows of another feed that belong to a row: its `column` holds the value of the row's `key` expression.

    `is_owned` rows are parts of the row and nothing else: one that has no such row is quarantined.
    """

    feed: str
    column: str
    key: str
    where: str = "true"
    order: list[str]
    is_owned: bool = False


class Mapping(Declaration):
    """One resource type made from one feed; `id` is the SQL expression of the resource's id.

    `unpivot` gives names SQL expressions over the row: each that is not null makes a resource of its own, whose
    template sees the name as `_name` and the value, as text, as `_value`.
    """

    name: str
    resource: str
    feed: Annotated[str, Field(alias="from")]
    id: str
    where: str = "true"
    unpivot: dict[str, str] = {}
    children: dict[str, Children] = {}
    elements: dict[str, Any]

    @model_validator(mode="after")
    def _a_row_is_spread_or_gathered(self) -> Mapping:
        if self.unpivot and self.children:
            raise ValueError("a mapping has unpivot or children, not both")
        return self


class Target(Declaration):
    """What a source code means."""

    code: str
    display: str | None = None
    system: str | None = None


class CodeMap(Declaration):
    """A concept map: source codes to targets. A code that it lacks is kept, flagged in `_unmapped` and counted.

    `unmapped` says what stands in the element for such a code: a fixed target, or (default) the source code itself
    under `source`.

    `is_inferred` says that the target is another kind of fact than the source (an encounter's class of its type), so
    that a coding made by the map carries the map's name and version, and gives way to one that was said.
    """

    name: str
    source: str
    target: str | None = None
    version: str
    codes: dict[str, Target]
    unmapped: Target | None = None
    is_inferred: bool = False
