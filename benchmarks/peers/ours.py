"""Cohortlake as a contender."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql.functions import broadcast

from benchmarks.hospital import SILO
from benchmarks.peers.worker import serve
from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from cohortlake.core.views import compile_view
from cohortlake.core.views.needed import needed
from spark_jobs import delta, delta_read, land, publish, standardise
from spark_jobs.context import Context
from spark_jobs.session import spark_session
from spark_jobs.view_source import lake_resources, silver_table
from spark_jobs.views import view_frame

CATALOG = load_catalog()


def ingest(data: str, target: str) -> Mapping[str, Any]:
    """Land, standardise and publish what is new: the resources that it brought, and the seconds of each step."""
    ctx = Context(Lake(Path(target)), Path(data), CATALOG, SILO, "benchmark")
    seconds, resources = {}, 0
    for step in (land, standardise, publish):
        begun = time.monotonic()
        books = step.run(ctx).books
        assert all(book.is_balanced for book in books)
        seconds[step.__name__.rpartition(".")[2]] = time.monotonic() - begun
        resources = sum(book.rows_out for book in books)
    return {"resources": resources, "seconds": seconds}


def view(source: str, definition: str, sql: str, target: str) -> Mapping[str, Any]:
    """Write a view's rows over silver to Parquet."""
    compiled = compile_view(json.loads(Path(definition).read_text(encoding="utf-8")))
    table = silver_table(Lake(Path(source)), compiled.resource)
    resources = lake_resources(spark_session(), table, needed(compiled))
    view_frame(resources, compiled).write.parquet(target)
    return {}


def rewrite(lake: str, resource: str, version: int, target: str) -> Mapping[str, Any]:
    """Write a silver table's live rows anew: those of a version that were not changed since, and those that were."""
    spark, table = spark_session(), Lake(Path(lake)).silver(resource)
    before, now = delta_read.read(spark, table, version), delta_read.read(spark, table)
    # Spark takes five million ids for few, since they compress well, and would send them to every task.
    unchanged = before.select("id", "_version").hint("merge")
    changed = now.join(unchanged, ["id", "_version"], "left_anti").select(*before.columns)
    changed = changed.localCheckpoint()
    begun = time.monotonic()
    kept = before.join(broadcast(changed.select("id")), "id", "left_anti").select(*before.columns)
    kept.unionByName(changed).write.format("delta").partitionBy("silo").save(target)
    return {"seconds": time.monotonic() - begun}


def silver(lake: str, resource: str) -> Mapping[str, Any]:
    """A silver table's version and live rows."""
    table = Lake(Path(lake)).silver(resource)
    return {"version": delta.version(table), "rows": delta_read.read(spark_session(), table).count()}


if __name__ == "__main__":
    spark_session()
    serve({"ingest": ingest, "view": view, "rewrite": rewrite, "silver": silver})
