"""The engine under test: views compiled to Spark, many over many resources in one job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import reduce
from itertools import islice
from json import dumps
from pathlib import Path
from typing import Any, TypeVar

from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from cohortlake.core.errors import ViewError
from cohortlake.core.views import ViewPlan, compile_view
from cohortlake.core.views.needed import needed
from spark_jobs.views import raised_by_view, several_stages, staged
from spark_jobs.views_files import read_files
from tests.property.oracle import RefusedError
from tests.property.resources import DEPTH

Json = Mapping[str, Any]
Rows = list[dict[str, Any]]
NUMBER = "resource_number"
T = TypeVar("T")


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
    # One small file is one partition, so that resources are numbered in order.
    numbered = frame.withColumn(NUMBER, F.monotonically_increasing_id().cast("int"))
    views = {f"view{index}": plan for index, plan in enumerate(plans)}
    # Two at once, as gold makes several; eight in one pass would take Spark's planner a quarter of a minute.
    pairs = [dict(pair) for pair in batched(views.items(), 2)]
    frames = [staged(numbered, several_stages(numbered.schema, pair, [NUMBER], depth=DEPTH)) for pair in pairs]
    made = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames).collect()
    found: dict[str, list[Rows]] = {name: [[] for _ in resources] for name in views}
    for row in made:
        (name,) = (name for name in views if row[name] is not None)
        found[name][row[NUMBER]].append(_plain(row[name]))
    return list(found.values())


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    waiting = iter(items)
    while taken := tuple(islice(waiting, size)):
        yield taken


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
