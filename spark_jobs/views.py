"""SQL on FHIR views over typed FHIR rows: a ViewDefinition's plan as stages of SELECTs (`views_stages`).

Several views over one table are made in one pass over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from cohortlake.core.views import View, ViewPlan, compile_view, plan
from spark_jobs import views_sql as F
from spark_jobs.views_collections import Resource
from spark_jobs.views_expressions import Scope, SqlKey, evaluate
from spark_jobs.views_sql import Sql
from spark_jobs.views_stages import Stage, stages, stages_of_several
from spark_jobs.views_text import as_column


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
    return staged(resources, view_stages(resources.schema, compiled, key=key, depth=depth))


def raised_by_view(error: PySparkException) -> str | None:
    """What a view says of the rows that stopped its job; None for an error that is not a view's."""
    if error.getCondition() != "USER_RAISED_EXCEPTION":
        return None
    return str((error.getMessageParameters() or {}).get("errorMessage", error))


def view_stages(schema: StructType, view: ViewPlan, *, key: SqlKey = plain_id, depth: int = plan.DEPTH) -> list[Stage]:
    """What to select from rows of the schema for a view's rows, one SELECT from the other."""
    scope = Scope(Resource(schema), F.lit(0), key, depth)
    return stages(view.select, scope, _condition(view, scope), schema.names)


def several_stages(
    schema: StructType,
    views: Mapping[str, ViewPlan],
    kept: Sequence[str],
    *,
    key: SqlKey = plain_id,
    depth: int = plan.DEPTH,
) -> list[Stage]:
    """What to select for the rows of several views in one pass.

    A row has the columns `kept` of the resource, and a column a view: a struct in the view that the row is of, null in
    the others.
    """
    scope = Scope(Resource(schema), F.lit(0), key, depth)
    selects = {name: (view.select, _condition(view, scope)) for name, view in views.items()}
    return stages_of_several(selects, scope, kept, schema.names)


def staged(rows: DataFrame, stages: Iterable[Stage]) -> DataFrame:
    """What the last of the stages selects, the first of which selects from `rows`."""
    for stage in stages:
        kept = rows if stage.where is None else rows.where(as_column(stage.where))
        rows = kept.select(*map(as_column, stage.columns))
    return rows


def _condition(view: ViewPlan, scope: Scope) -> Sql | None:
    return reduce(and_, (evaluate(rule.value, scope).column for rule in view.where)) if view.where else None
