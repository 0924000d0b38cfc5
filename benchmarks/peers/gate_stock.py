"""Stock Great Expectations on stock Spark as a contender: one frame, flattened and cached, COMPLETE results."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import great_expectations as gx
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import expectations  # noqa: F401 (before Great Expectations: it tells it not to report its use)
from benchmarks.gate_table import ITEMS, spark_sql
from benchmarks.peers.worker import serve
from expectations.suites import judged_items, suite
from spark_jobs.session import java_environment

MEMORY = "6g"
KEYS = {"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]}


def session() -> SparkSession:
    """Spark as it comes, but for its memory, its time zone and its UI."""
    os.environ.update(java_environment())
    builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", MEMORY)
    builder = builder.config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


def judge(table: str, target: str) -> Mapping[str, Any]:
    """Judge a staged table; writes check -> failing keys to `target`. Gives the seconds of caching and of judging."""
    begun = time.monotonic()
    rows = SPARK.read.parquet(table)
    frame = rows.select(*(F.expr(sql).alias(name) for name, sql in spark_sql().items())).cache()
    frame.count()
    cached = time.monotonic()
    source = gx.get_context(mode="ephemeral").data_sources.add_spark("staged")
    batches = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    wanted = suite("Observation", judged_items(ITEMS))
    judged = batches.get_batch({"dataframe": frame}).validate(wanted, result_format=KEYS)
    failing = {}
    for one in judged.results:
        assert one.expectation_config is not None
        places = one.result.get("unexpected_index_list") or []
        assert bool(one.success) is not bool(places), one.exception_info
        failing[one.expectation_config.meta["check"]] = [place["id"] for place in places]
    Path(target).write_text(json.dumps(failing), encoding="utf-8")
    frame.unpersist()
    return {"cached": cached - begun, "judged": time.monotonic() - cached}


if __name__ == "__main__":
    SPARK = session()
    serve({"judge": judge})
