"""SQL on FHIR views over typed FHIR rows: a ViewDefinition's plan as one array of row structs, and one generator.

A view is one expression of the resource, so that several views over a table can be made in one pass over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql.types import StructType

from cohortlake.core.views import View, ViewPlan, compile_view, plan
from cohortlake.core.views.needed import touched
from spark_jobs import views_sql as F
from spark_jobs.views_collections import Collection, Resource, concatenated, with_numbers
from spark_jobs.views_expressions import Scope, SqlKey, evaluate
from spark_jobs.views_repeat import descendants
from spark_jobs.views_sql import Sql
from spark_jobs.views_text import as_column
from spark_jobs.views_values import convert, spark_type


def plain_id(resource_type: Sql, resource_id: Sql) -> Sql:
    """The key of a resource where ids are unique and may be shown: its id."""
    return resource_id


def view_frame(
    resources: DataFrame,
    view: View | ViewPlan | Mapping[str, Any],
    *,
    key: SqlKey = plain_id,
    depth: int = plan.DEPTH,
) -> DataFrame:
    """The rows of a view, columns in the view's order.

    `resources` has a row a resource, of the view's resource type, and a column an element, named as in FHIR's JSON.
    `key` makes the STRING key of getResourceKey() and getReferenceKey() from a resource's type and id, in SQL; the
    default is the id alone. `depth` is how many levels `repeat` goes down.

    Raises ViewError for a wrong view. A column without `collection` that meets more than one value stops the job when
    it runs, as the specification asks, and so does an item below `depth`; the error names the path, not the values.
    """
    compiled = view if isinstance(view, ViewPlan) else compile_view(view)
    columns, where = view_sql(resources.schema, compiled, key=key, depth=depth)
    kept = resources if where is None else resources.where(as_column(where))
    return kept.select(*map(as_column, columns))


def raised_by_view(error: PySparkException) -> str | None:
    """What a view says of the rows that stopped its job; None for an error that is not a view's."""
    if error.getCondition() != "USER_RAISED_EXCEPTION":
        return None
    return str((error.getMessageParameters() or {}).get("errorMessage", error))


def view_sql(
    schema: StructType, view: ViewPlan, *, key: SqlKey = plain_id, depth: int = plan.DEPTH
) -> tuple[list[Sql], Sql | None]:
    """What to select from rows of the schema for a view's rows, and the condition that it sets, if any."""
    scope = Scope(Resource(schema), F.lit(0), key, depth)
    where = _condition(view, scope) if view.where else None
    if view.select.is_one_row:
        return _fields(view.select, scope), where
    return [F.inline(_rows(view.select, scope))], where


def view_rows(schema: StructType, view: ViewPlan, *, key: SqlKey = plain_id, depth: int = plan.DEPTH) -> Column:
    """The rows of one resource of the schema, as an array of structs; null or empty for none."""
    scope = Scope(Resource(schema), F.lit(0), key, depth)
    rows = _rows(view.select, scope)
    return as_column(F.when(_condition(view, scope), rows) if view.where else rows)


def _condition(view: ViewPlan, scope: Scope) -> Sql:
    return reduce(and_, (evaluate(rule.value, scope).column for rule in view.where))


@dataclass(frozen=True)
class _Part:
    """An array of structs with these fields: some columns of the rows, to be crossed with the others."""

    names: list[str]
    structs: Sql


def _names(select: plan.Select) -> list[str]:
    return [column.name for column in select.columns_in_order()]


def _rows(select: plan.Select, scope: Scope) -> Sql:
    """The rows of a select: an array of structs, whose fields are its columns in order."""
    parts = _parts(select, scope)
    return parts[0].structs if len(parts) == 1 else _crossed(parts, _names(select), {})


def _parts(select: plan.Select, scope: Scope) -> list[_Part]:
    if select.iteration is not None:
        return [_Part(_names(select), _iterated(select, select.iteration, scope))]
    # What has one row is bound to one struct, so that it is computed once and not for each row of the other parts.
    one_row = replace(select, selects=tuple(inner for inner in select.selects if inner.is_one_row), union=())
    parts = [_Part(_names(one_row), F.array(_struct(one_row, scope)))] if _names(one_row) else []
    for inner in select.selects:
        parts += [] if inner.is_one_row else _parts(inner, scope)
    if select.union:
        branches = F.array(*(_rows(branch, scope) for branch in select.union))
        parts.append(_Part(_names(select.union[0]), concatenated(branches)))
    return parts


def _iterated(select: plan.Select, iteration: plan.Expression, scope: Scope) -> Sql:
    body = replace(select, iteration=None)
    if isinstance(iteration, plan.Descendants):
        items = descendants(iteration, scope, touched(body, iteration.type, scope.depth))
    else:
        items = evaluate(iteration, replace(scope, as_written=True))

    def of_item(item: Sql, index: Sql) -> Sql:
        inner = replace(scope, focus=Collection(item, items.type), row_index=index)
        return _struct(body, inner) if body.is_one_row else _rows(body, inner)

    made = F.transform(items.items, of_item)
    rows = made if body.is_one_row else concatenated(made)
    if not select.or_null:
        return rows
    nulls = F.struct(*(_null(column).alias(column.name) for column in select.columns_in_order()))
    return F.when(items.exists, rows).otherwise(F.array(nulls))


def _crossed(parts: Sequence[_Part], names: Sequence[str], known: Mapping[str, Sql]) -> Sql:
    """The cross product of parts, given the fields `known` of a row of those before them."""
    first, *others = parts

    def joined(struct: Sql) -> Sql:
        fields = {**known, **{name: struct.getField(name) for name in first.names}}
        return _crossed(others, names, fields) if others else F.struct(*(fields[name].alias(name) for name in names))

    rows = F.transform(first.structs, joined)
    return concatenated(rows) if others else rows


def _struct(select: plan.Select, scope: Scope) -> Sql:
    return F.struct(*_fields(select, scope))


def _fields(select: plan.Select, scope: Scope) -> list[Sql]:
    """The columns of a select that gives one row."""
    own = [_column(column, scope).alias(column.name) for column in select.columns]
    return [*own, *(field for inner in select.selects for field in _fields(inner, scope))]


def _column(column: plan.Column, scope: Scope) -> Sql:
    found = _value(column, scope)
    return F.when(found.exists, found.items) if column.is_collection else found.column


def _value(column: plan.Column, scope: Scope) -> Collection:
    """What a column's path gives, as the column's SQL type."""
    fhir_type, sql_type = column.value.type, column.sql_type
    if sql_type is None:
        found = evaluate(column.value, replace(scope, as_written=True))
        wanted = with_numbers(found.type, fhir_type)
        return found if wanted == found.type else found.each(lambda item: item.try_cast(wanted), wanted)
    found = evaluate(column.value, scope)
    if found.type.simpleString().upper() == spark_type(sql_type):
        return found
    return found.each(lambda item: convert(fhir_type, sql_type, item), found.type)


def _null(column: plan.Column) -> Sql:
    """The column where an iteration has no items: null, save for %rowIndex, which the specification sets to 0."""
    value = F.lit(0 if isinstance(column.value, plan.RowIndex) else None)
    if isinstance(column.value, plan.RowIndex) and column.is_collection:
        value = F.array(value)
    if column.sql_type is None:
        return value
    name = spark_type(column.sql_type)
    return value.cast(f"ARRAY<{name}>" if column.is_collection else name)
