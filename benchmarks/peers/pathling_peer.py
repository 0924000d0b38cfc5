"""Pathling as a contender, run by its own environment's Python (see peers/install.py).

Its settings are the defaults, but for those that our session sets for a small machine too, and no terminology server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pathling import PathlingContext
from pyspark.sql import SparkSession

from benchmarks.hospital import SILO
from benchmarks.peers.worker import serve


@cache
def context() -> PathlingContext:
    """The one session of the process."""
    cores = len(os.sched_getaffinity(0))
    settings = {
        "spark.jars": ",".join(str(jar) for jar in Path(os.environ["PATHLING_JARS"]).glob("*.jar")),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": os.environ.get("COHORTLAKE_DRIVER_MEMORY", "3g"),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.sql.shuffle.partitions": str(max(2, cores)),
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[*]").appName("pathling")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return PathlingContext.create(session, enable_terminology=False)


def ingest(data: str, target: str) -> Mapping[str, Any]:
    """A folder of NDJSON to Delta tables, through Pathling's own sink."""
    context().read.ndjson(str(Path(data) / SILO)).write.delta(target)
    return {}


def count(source: str) -> Mapping[str, Any]:
    """The resources in its Delta tables."""
    tables = context().read.delta(source)
    return {"resources": sum(tables.read(resource).count() for resource in tables.resource_types())}


def view(source: str, definition: str, sql: str, target: str) -> Mapping[str, Any]:
    """Write a view's rows over its own Delta tables to Parquet."""
    rows = context().read.delta(source).view(json=Path(definition).read_text(encoding="utf-8"))
    rows.write.parquet(target)
    return {}


if __name__ == "__main__":
    context()
    serve({"ingest": ingest, "count": count, "view": view})
