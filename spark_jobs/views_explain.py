"""The Spark SQL that a view becomes, over a table of its resource type or a lake's silver. No engine is started."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql.pandas.types import from_arrow_schema

from cohortlake.core.lake import Lake
from cohortlake.core.views import ViewPlan
from cohortlake.core.views.needed import Needed
from spark_jobs.view_source import resource_schema, resource_sql, silo_key, silver_table, written_roots
from spark_jobs.views import view_stages
from spark_jobs.views_files import row_schema
from spark_jobs.views_stages import Stage
from spark_jobs.views_text import bracketed, quoted, select_text


def table_sql(view: ViewPlan, needed: Needed, depth: int) -> str:
    """A SELECT from a table or view of the resource type's name, whose columns are the elements that the view needs."""
    return _stages_text(view_stages(row_schema(needed.tree), view, depth=depth), quoted(view.resource))


def silver_sql(view: ViewPlan, needed: Needed, lake: Lake, depth: int) -> str:
    """A SELECT from a lake's silver, its `_rest` included. Raises UsageError where the lake has no such resources."""
    table = silver_table(lake, view.resource)
    silver = from_arrow_schema(pa.schema(DeltaTable(str(table)).schema().to_arrow()))
    source = f"delta.{quoted(str(table))}"
    if written_roots(silver, needed):
        source = bracketed(select_text(resource_sql(silver, needed), source))
    return _stages_text(view_stages(resource_schema(silver, needed), view, key=silo_key, depth=depth), source)


def _stages_text(stages: Sequence[Stage], source: str) -> str:
    first, *others = stages
    shown = select_text(first.columns, source, first.where)
    for stage in others:
        shown = select_text(stage.columns, bracketed(shown), stage.where)
    return shown
