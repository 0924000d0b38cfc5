"""The conformance suite's cases, run as `cohortlake view run` runs a view on NDJSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from cohortlake.core.errors import ViewError
from cohortlake.core.views import compile_view
from cohortlake.core.views.needed import needed
from cohortlake.core.views.suite import Case, Outcome, Suite, Verdict, judge
from spark_jobs.views import raised_by_view, view_frame
from spark_jobs.views_files import read_files

# Each level of `repeat` doubles what is compiled where it has two paths.
DEEPEST = 8


def run_suite(spark: SparkSession, suite: Suite, scratch: Path) -> Iterator[Verdict]:
    """The verdict on each case of a suite's file. `scratch` is a folder for its resources."""
    place = scratch / f"{suite.name}.ndjson"
    place.write_text("".join(f"{line}\n" for line in suite.resources), encoding="utf-8")
    depth = min(DEEPEST, max((_nesting(json.loads(line)) for line in suite.resources), default=1))
    for case in suite.cases:
        reason = case.problem or judge(case, run_case(spark, case, place, depth))
        yield Verdict(case.title, reason)


def run_case(spark: SparkSession, case: Case, place: Path, depth: int) -> Outcome:
    """What a case's view gives over a file of NDJSON."""
    try:
        view = compile_view(case.view)
        reading = read_files(spark, [place], needed(view, depth=depth).tree, place.parent)
        rows = view_frame(reading.rows, view, depth=depth).toArrow()
        return Outcome(rows.to_pylist(), rows.column_names)
    except ViewError as error:
        return Outcome(error=str(error))
    except PySparkException as error:
        said = raised_by_view(error)
        # An error of Spark's own is a fault of ours, and not the error that a case may expect.
        return Outcome(crash=str(error).split("\n", 1)[0]) if said is None else Outcome(error=said)
    except Exception as error:
        return Outcome(crash=f"{type(error).__name__}: {error}")


def _nesting(value: Any) -> int:
    """How many objects deep a JSON value is."""
    match value:
        case dict():
            return 1 + max(map(_nesting, value.values()), default=0)
        case list():
            return max(map(_nesting, value), default=0)
    return 0
