"""What publish commits is what Spark's own MERGE would leave, also where Spark has merged into the table before."""

from __future__ import annotations

import json
import shutil

import pytest

from cohortlake.core.lake import Lake
from tests import flow, hospitals

pytestmark = pytest.mark.spark
SILO = "site_a_fhir_r4"
TYPES = ("Patient", "Claim", "Observation")


def amended(lines: list[str], language: str) -> list[str]:
    return [line.replace('"resourceType"', f'"language":"{language}","resourceType"', 1) for line in lines]


def read_by_spark(spark, lake, name):
    rows = spark.read.format("delta").load(str(Lake(lake).silver(name))).select("id", "_rest", "_version")
    return sorted((row["id"], row["_rest"] or "", row["_version"]) for row in rows.collect())


@pytest.mark.acceptance
def test_a_merge_is_what_spark_would_leave(tmp_path, spark):
    first, data = {name: hospitals.site_a(2, 20)[name] for name in TYPES}, tmp_path / "data"
    for name, lines in first.items():
        hospitals.write(data / SILO, f"{name}.0.ndjson.gz", lines[::2])
    flow.run(tmp_path / "ours", data, lambda step: step.scope == SILO)
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    for number, language in enumerate(("de", "fr", "it"), 1):
        # Spark's deletion vectors come first, then ours, then both in one file.
        for name, lines in first.items():
            hospitals.write(data / SILO, f"{name}.{number}.ndjson.gz", amended(lines[number % 3 :: 3], language))
        steps = flow.run(tmp_path / "ours", data, lambda step: step.scope == SILO)
        assert flow.is_balanced(steps)
        assert all(book["digest_in"] for book in steps[f"publish.{SILO}"]["books"])
        for name in TYPES:
            merge_by_spark(spark, tmp_path, name)
            assert read_by_spark(spark, tmp_path / "ours", name) == read_by_spark(spark, tmp_path / "theirs", name)
            if number == 1:
                shutil.rmtree(Lake(tmp_path / "ours").silver(name))
                shutil.copytree(Lake(tmp_path / "theirs").silver(name), Lake(tmp_path / "ours").silver(name))
    assert flow.content(tmp_path / "ours") == flow.content(tmp_path / "theirs")


def merge_by_spark(spark, folder, name):
    """The rows that the last commit of ours added, merged into the other lake's table by Spark."""
    ours, theirs = (Lake(folder / lake).silver(name) for lake in ("ours", "theirs"))
    log = max((ours / "_delta_log").glob("*.json")).read_text(encoding="utf-8").splitlines()
    actions = [json.loads(line) for line in log]
    removed = {action["remove"]["path"] for action in actions if "remove" in action}
    added = [action["add"]["path"] for action in actions if "add" in action]
    files = [str(ours / path) for path in added if path not in removed]
    schema = spark.read.format("delta").load(str(theirs)).schema
    spark.read.schema(schema).option("basePath", str(ours)).parquet(*files).createOrReplaceTempView("came")
    spark.sql(
        f"MERGE INTO delta.`{theirs}` t USING came s ON t.silo = s.silo AND t.id = s.id "
        "WHEN MATCHED AND s._version > t._version THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
