"""A view's columns as Spark SQL, in the scope of the item at hand."""

from __future__ import annotations

from dataclasses import replace

from cohortlake.core.views import plan
from spark_jobs import views_sql as F
from spark_jobs.views_collections import Collection, with_numbers
from spark_jobs.views_expressions import Scope, evaluate
from spark_jobs.views_sql import Sql
from spark_jobs.views_values import convert, spark_type


def column(declared: plan.Column, scope: Scope) -> Sql:
    """What the column holds."""
    found = _value(declared, scope)
    return F.when(found.exists, found.items) if declared.is_collection else found.column


def _value(declared: plan.Column, scope: Scope) -> Collection:
    """What a column's path gives, as the column's SQL type."""
    fhir_type, sql_type = declared.value.type, declared.sql_type
    if sql_type is None:
        found = evaluate(declared.value, replace(scope, as_written=True))
        wanted = with_numbers(found.type, fhir_type)
        return found if wanted == found.type else found.each(lambda item: item.try_cast(wanted), wanted)
    found = evaluate(declared.value, scope)
    if found.type.simpleString().upper() == spark_type(sql_type):
        return found
    return found.each(lambda item: convert(fhir_type, sql_type, item), found.type)


def absent(declared: plan.Column) -> Sql:
    """The column where an iteration has no items: null, save for %rowIndex, which the specification sets to 0."""
    value = F.lit(0 if isinstance(declared.value, plan.RowIndex) else None)
    if isinstance(declared.value, plan.RowIndex) and declared.is_collection:
        value = F.array(value)
    if declared.sql_type is None:
        return value
    name = spark_type(declared.sql_type)
    return value.cast(f"ARRAY<{name}>" if declared.is_collection else name)
