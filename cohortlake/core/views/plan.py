"""The plan of a view: typed, engine-neutral expressions, and the selects that make rows of them.

An expression stands for a FHIRPath collection of items of one FHIR `type`; where `is_list` is off it holds at most one.
Inside `Filter.criteria`, `Descendants` and a select that iterates, `Focus` is the item at hand. `at` is a place in the
view with its path, as errors name it: `select[0].column[1].path (name.family)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

# How many levels of a recursive element `repeat` reaches, where nothing else is said. Each level repeats the columns.
DEPTH = 6


@dataclass(frozen=True)
class Expression:
    type: str
    is_list: bool


@dataclass(frozen=True)
class Focus(Expression):
    """The item at hand: the resource, an item of an iteration, or `$this`."""


@dataclass(frozen=True)
class Literal(Expression):
    value: str | bool | int | Decimal


@dataclass(frozen=True)
class RowIndex(Expression):
    """The place, from 0, of the item of the nearest iteration; 0 outside of one."""


@dataclass(frozen=True)
class Member(Expression):
    """An element of each item of the source, by its JSON name."""

    source: Expression
    name: str


@dataclass(frozen=True)
class Choice(Expression):
    """A choice element before `ofType()`: one member a type, of which an item has one at most."""

    members: tuple[Member, ...]


@dataclass(frozen=True)
class Filter(Expression):
    """The items for which the criteria are true."""

    source: Expression
    criteria: Expression


@dataclass(frozen=True)
class OfType(Expression):
    """The resources of the type, of a source that may hold any (`contained`, `Bundle.entry.resource`)."""

    source: Expression


@dataclass(frozen=True)
class Item(Expression):
    """The item at a place, from 0."""

    source: Expression
    index: Expression


@dataclass(frozen=True)
class Single(Expression):
    """The only item. More than one is an error when the view runs."""

    source: Expression
    at: str


@dataclass(frozen=True)
class Conditional(Expression):
    """`then` where the condition is true of the source's only item, else `otherwise`, where there is one."""

    source: Expression
    condition: Expression
    then: Expression
    otherwise: Expression | None


@dataclass(frozen=True)
class Exists(Expression):
    source: Expression


@dataclass(frozen=True)
class Not(Expression):
    operand: Expression


@dataclass(frozen=True)
class Logic(Expression):
    """Three-valued `and`, `or`, `xor` or `implies`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Equality(Expression):
    """Whether two collections hold the same items in the same order; empty where either is empty."""

    left: Expression
    right: Expression


@dataclass(frozen=True)
class Comparison(Expression):
    """`<`, `<=`, `>` or `>=` of two items."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Arithmetic(Expression):
    """`+`, `-`, `*`, `/`, `div` or `mod` of two numbers; empty where the result is undefined."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Concatenation(Expression):
    """Two texts in a row. `+` is empty where either is empty; `&` (`is_total`) takes an empty one for ''."""

    left: Expression
    right: Expression
    is_total: bool


@dataclass(frozen=True)
class Join(Expression):
    """The items' text with a separator between them; '' for no item."""

    source: Expression
    separator: Expression


@dataclass(frozen=True)
class Boundary(Expression):
    """The earliest or least (`is_high`: latest or greatest) value that a value of its precision may stand for.

    `precision` counts decimal places, or digits of a date or time (2012-05 has 6); None is the finest of the type.
    """

    source: Expression
    is_high: bool
    precision: int | None


@dataclass(frozen=True)
class ResourceKey(Expression):
    """The key of the resource, which is the source."""

    source: Expression


@dataclass(frozen=True)
class ReferenceKey(Expression):
    """The key of the resource that a Reference points at, empty where it is not of the `target` type."""

    source: Expression
    target: str | None


@dataclass(frozen=True)
class Descendants(Expression):
    """Everything that the paths lead to, again and again, parents before children.

    `first` are the paths from the focus, `next` those from an item that was reached. Items further down than a view is
    run for are an error when it runs.
    """

    first: tuple[Expression, ...]
    next: tuple[Expression, ...]
    at: str


@dataclass(frozen=True)
class Column:
    """A column of one value, or an array of them (`is_collection`); `sql_type` is None for a complex type."""

    name: str
    value: Expression
    sql_type: str | None
    is_collection: bool
    description: str | None
    at: str

    @property
    def shown_type(self) -> str:
        """Its SQL type, or the FHIR type of a complex one."""
        return self.sql_type or self.value.type


@dataclass(frozen=True)
class Select:
    """Rows for each item of `iteration` (or for the focus): the cross product of columns, selects and the union.

    With `or_null`, an iteration without items gives one row of nulls.
    """

    iteration: Expression | None
    or_null: bool
    columns: tuple[Column, ...]
    selects: tuple[Select, ...]
    union: tuple[Select, ...]
    at: str

    @property
    def is_one_row(self) -> bool:
        """Whether it always gives one row an item."""
        return self.iteration is None and not self.union and all(select.is_one_row for select in self.selects)

    @property
    def has_union(self) -> bool:
        """Whether it is a union, or has one in it."""
        return bool(self.union) or any(select.has_union for select in self.selects)

    def columns_in_order(self) -> Iterator[Column]:
        """The columns of its rows: its own, its selects', then the union's, whose branches have the same."""
        yield from self.columns
        for select in (*self.selects, *self.union[:1]):
            yield from select.columns_in_order()


@dataclass(frozen=True)
class Condition:
    """What must be true of a resource."""

    value: Expression
    at: str


@dataclass(frozen=True)
class ViewPlan:
    """What a view means: the rows of `select` for the resources for which every one of `where` is true."""

    resource: str
    where: tuple[Condition, ...]
    select: Select
