"""The Spark SQL that a view becomes, over a table of its resource type or a lake's silver. No engine is started."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql.pandas.types import from_arrow_schema

from cohortlake.core.lake import Lake
from cohortlake.core.views import ViewPlan
from cohortlake.core.views.needed import Needed
from spark_jobs.view_source import resource_schema, resource_sql, silo_key, silver_table, written_roots
from spark_jobs.views import view_sql
from spark_jobs.views_files import row_schema
from spark_jobs.views_text import quoted, select_text


def table_sql(view: ViewPlan, needed: Needed, depth: int) -> str:
    """A SELECT from a table or view of the resource type's name, whose columns are the elements that the view needs."""
    columns, where = view_sql(row_schema(needed.tree), view, depth=depth)
    return select_text(columns, quoted(view.resource), where)


def silver_sql(view: ViewPlan, needed: Needed, lake: Lake, depth: int) -> str:
    """A SELECT from a lake's silver, its `_rest` included. Raises UsageError where the lake has no such resources."""
    table = silver_table(lake, view.resource)
    silver = from_arrow_schema(pa.schema(DeltaTable(str(table)).schema().to_arrow()))
    source = f"delta.{quoted(str(table))}"
    if written_roots(silver, needed):
        inner = select_text(resource_sql(silver, needed), source).replace("\n", "\n  ")
        source = f"(\n  {inner}\n)"
    columns, where = view_sql(resource_schema(silver, needed), view, key=silo_key, depth=depth)
    return select_text(columns, source, where)
