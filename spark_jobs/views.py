"""SQL on FHIR views over typed FHIR rows: a ViewDefinition's plan as one array of row structs, and one generator.

A view is one expression of the resource, so that several views over a table can be made in one pass over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cohortlake.core.views import View, ViewPlan, compile_view, plan
from spark_jobs.views_collections import Collection, Resource, concatenated
from spark_jobs.views_expressions import ResourceKey, Scope, evaluate
from spark_jobs.views_values import convert, spark_type


def plain_id(resource_type: Column, resource_id: Column) -> Column:
    """The key of a resource where ids are unique and may be shown: its id."""
    return resource_id


def view_frame(
    resources: DataFrame, view: View | Mapping[str, Any], *, resource_key: ResourceKey | None = None
) -> DataFrame:
    """The rows of a view, columns in the view's order.

    `resources` has a row a resource, of the view's resource type, and a column an element, named as in FHIR's JSON.
    `resource_key` makes the STRING key of getResourceKey() and getReferenceKey() from a resource's type and id, where
    the default is the id alone.

    Raises ViewError for a wrong view. A column without `collection` that meets more than one value stops the job when
    it runs, as the specification asks; the error names the path, not the values.
    """
    compiled = compile_view(view)
    scope = _scope(resources.schema, resource_key)
    if compiled.where:
        resources = resources.where(_condition(compiled, scope))
    if compiled.select.is_one_row:
        return resources.select(*_fields(compiled.select, scope))
    return resources.select(F.inline(_rows(compiled.select, scope)))


def view_rows(schema: StructType, view: ViewPlan, *, resource_key: ResourceKey | None = None) -> Column:
    """The rows of one resource of the schema, as an array of structs; null or empty for none."""
    scope = _scope(schema, resource_key)
    rows = _rows(view.select, scope)
    return F.when(_condition(view, scope), rows) if view.where else rows


def _scope(schema: StructType, resource_key: ResourceKey | None) -> Scope:
    return Scope(Resource(schema), F.lit(0), resource_key or plain_id)


def _condition(view: ViewPlan, scope: Scope) -> Column:
    return reduce(and_, (evaluate(rule, scope).column for rule in view.where))


@dataclass(frozen=True)
class _Part:
    """An array of structs with these fields: some columns of the rows, to be crossed with the others."""

    names: list[str]
    structs: Column


def _names(select: plan.Select) -> list[str]:
    return [column.name for column in select.columns_in_order()]


def _rows(select: plan.Select, scope: Scope) -> Column:
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


def _iterated(select: plan.Select, iteration: plan.Expression, scope: Scope) -> Column:
    items = evaluate(iteration, scope)
    body = replace(select, iteration=None)

    def of_item(item: Column, index: Column) -> Column:
        inner = replace(scope, focus=Collection(item, items.type), row_index=index)
        return _struct(body, inner) if body.is_one_row else _rows(body, inner)

    rows = F.transform(items.items, of_item)
    rows = rows if body.is_one_row else concatenated(rows)
    if not select.or_null:
        return rows
    nulls = F.struct(*(_null(column).alias(column.name) for column in select.columns_in_order()))
    return F.when(items.exists, rows).otherwise(F.array(nulls))


def _crossed(parts: Sequence[_Part], names: Sequence[str], known: Mapping[str, Column]) -> Column:
    """The cross product of parts, given the fields `known` of a row of those before them."""
    first, *others = parts

    def joined(struct: Column) -> Column:
        fields = {**known, **{name: struct.getField(name) for name in first.names}}
        return _crossed(others, names, fields) if others else F.struct(*(fields[name].alias(name) for name in names))

    rows = F.transform(first.structs, joined)
    return concatenated(rows) if others else rows


def _struct(select: plan.Select, scope: Scope) -> Column:
    return F.struct(*_fields(select, scope))


def _fields(select: plan.Select, scope: Scope) -> list[Column]:
    """The columns of a select that gives one row."""
    own = [_column(column, scope).alias(column.name) for column in select.columns]
    return [*own, *(field for inner in select.selects for field in _fields(inner, scope))]


def _column(column: plan.Column, scope: Scope) -> Column:
    found, sql_type = evaluate(column.value, scope), column.sql_type
    if sql_type is not None and found.type.simpleString().upper() != spark_type(sql_type):
        found = found.each(lambda item: convert(column.value.type, sql_type, item), found.type)
    return F.when(found.exists, found.items) if column.is_collection else found.column


def _null(column: plan.Column) -> Column:
    """The column where an iteration has no items: null, save for %rowIndex, which the specification sets to 0."""
    value = F.lit(0 if isinstance(column.value, plan.RowIndex) else None)
    if column.sql_type is None:
        return value
    name = spark_type(column.sql_type)
    return value.cast(f"ARRAY<{name}>" if column.is_collection else name)
