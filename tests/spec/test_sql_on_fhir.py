"""SQL on FHIR v2's own conformance cases, run as `cohortlake view run` runs a view on NDJSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from cohortlake.core.views.suite import Case, Suite, load_suites
from spark_jobs.views_conformance import run_suite

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
FOLDER = DATA / "sql_on_fhir_v2"
if not FOLDER.is_dir():
    pytest.skip(f"{FOLDER} holds no cases (set COHORTLAKE_DATA)", allow_module_level=True)

pytestmark = pytest.mark.spark


def cases() -> list[Any]:
    """Every case with its file, named by file and title."""
    return [
        pytest.param(suite, case, id=f"{suite.name.removesuffix('.json')}: {case.title}")
        for suite in load_suites(FOLDER)
        for case in suite.cases
    ]


@pytest.mark.parametrize(("suite", "case"), cases())
def test_case(spark: SparkSession, tmp_path: Path, suite: Suite, case: Case) -> None:
    [verdict] = run_suite(spark, Suite(suite.name, suite.resources, [case]), tmp_path)
    assert verdict.reason is None
