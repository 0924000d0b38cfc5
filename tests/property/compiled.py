"""The engine under test: views compiled to Spark, many over many resources in one job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from json import dumps
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession

from cohortlake.core.errors import ViewError
from cohortlake.core.views import ViewPlan, compile_view
from cohortlake.core.views.needed import needed
from spark_jobs.views import raised_by_view, view_rows
from spark_jobs.views_files import read_files
from tests.property.oracle import RefusedError
from tests.property.resources import DEPTH

Json = Mapping[str, Any]
Rows = list[dict[str, Any]]


def rows(spark: SparkSession, views: Sequence[Json], resources: Sequence[Json], scratch: Path) -> list[list[Rows]]:
    """For each view, for each resource, the rows that it gives. One job, over resources of the views' type.

    Raises RefusedError where a view is refused, by the compiler or when it runs.
    """
    try:
        return _rows(spark, [compile_view(view) for view in views], resources, scratch)
    except ViewError as error:
        raise RefusedError(str(error)) from error
    except PySparkException as error:
        if said := raised_by_view(error):
            raise RefusedError(said) from error
        raise


def refuses(spark: SparkSession, view: Json, resources: Sequence[Json], scratch: Path) -> bool:
    """Whether the view is refused: RefusedError is what the oracle raises too."""
    try:
        rows(spark, [view], resources, scratch)
    except RefusedError:
        return True
    return False


def _rows(spark: SparkSession, plans: Sequence[ViewPlan], resources: Sequence[Json], scratch: Path) -> list[list[Rows]]:
    place = scratch / "resources.ndjson"
    place.write_text("".join(f"{_json(resource)}\n" for resource in resources), encoding="utf-8")
    frame = read_files(spark, [place], needed(*plans, depth=DEPTH).tree, scratch).rows
    arrays = [view_rows(frame.schema, plan, depth=DEPTH).alias(f"view{index}") for index, plan in enumerate(plans)]
    # One small file is one partition, so that resources stay in order.
    found = frame.select(*arrays).collect()
    return [[[_plain(row) for row in one[index] or ()] for one in found] for index in range(len(plans))]


def _plain(row: Row) -> dict[str, Any]:
    plain: dict[str, Any] = row.asDict(recursive=True)
    return plain


def _json(value: Any) -> str:
    """JSON with decimals as they are written: 1.50 is not 1.5."""
    match value:
        case Mapping():
            return "{" + ",".join(f"{dumps(name)}:{_json(item)}" for name, item in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case Decimal():
            return str(value)
    return dumps(value)
