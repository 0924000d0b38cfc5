"""Tables as Spark's frames: what is live in them, and parts that are not committed yet."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from spark_jobs.delta import Part

# Up to so many files Spark lists without a job, and their deletion vectors cost nothing to look at.
FEW_FILES = 32
# What a table may ask of its readers whose files are plain Parquet as long as none has a deletion vector.
PLAIN = frozenset({"deletionVectors", "variantType"})
# Spark reads a path with one of these as a pattern.
GLOB = frozenset("{}[]*?\\")


def read(spark: SparkSession, table: Path, at: int | None = None, columns: Collection[str] | None = None) -> DataFrame:
    """The live rows, or those of version `at`; of `columns`, if they are given, those that the table has.

    Delta's Spark reader plans with a job of its own, a tenth of a second, which is a small view's time. So a table of
    few files is read as what it is where its log says no more than which files are live: Parquet.
    """
    held = DeltaTable(str(table), version=at)
    features = held.protocol().reader_features or []
    files = held.file_uris()
    is_plain = 0 < len(files) <= FEW_FILES and PLAIN.issuperset(features) and not GLOB.intersection(str(table))
    if is_plain and not any(batch.num_rows for batch in held.deletion_vectors()):
        schema = StructType.fromJson(json.loads(held.schema().to_json()))
        wanted = [field for field in schema if columns is None or field.name in columns]
        frame = spark.read.schema(StructType(wanted)).option("basePath", str(table)).parquet(*files)
        names, parted = [field.name for field in wanted], held.metadata().partition_columns
        # Spark puts the partition last, wherever the table has it, and asked for or not.
        as_read = [*(name for name in names if name not in parted), *parted]
        return frame if names == as_read else frame.select(*names)
    reader = spark.read.format("delta")
    frame = (reader.option("versionAsOf", at) if at is not None else reader).load(str(table))
    return frame if columns is None else frame.select(*(name for name in frame.columns if name in columns))


def read_parts(spark: SparkSession, table: Path, parts: Sequence[Part], schema: Any) -> DataFrame:
    """The rows of parts that are not committed yet, their partition's values as columns."""
    frame = spark.read.schema(schema).parquet(*[str(table / part.path) for part in parts])
    for name, value in parts[0].partition.items():
        frame = frame.withColumn(name, F.lit(value))
    return frame
