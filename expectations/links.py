"""Checks across tables: references that resolve, and dates within the patient's life, for all staged tables at once.

Every reference of every staged row is a *claim* on a key, and so is every date of a patient's. Claims meet *targets*,
the keys that are staged or live, in one join: a silo costs one query, not one a reference.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial, reduce

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from cohortlake.core.catalog import Node
from cohortlake.core.checks import PATIENT_ELEMENTS, Check, InLife, Resolves
from expectations.audit import FAILED
from expectations.references import CLAIMS, PLACE, TARGETS, Dated, Reference, extract, target_columns, targets
from spark_jobs import delta
from spark_jobs.context import Context
from spark_jobs.fhir_types import PARTITION
from spark_jobs.parallel import Unit, run_units


@dataclass(frozen=True)
class Claimed:
    """What of a resource type is claimed: its references, and the dates of its patient's."""

    references: tuple[Reference, ...]
    dates: tuple[Dated, ...]


def claimed(checks: Iterable[Check]) -> Claimed:
    """The references and dates that a type's checks judge across tables."""
    references, edges = [], {}
    for check in checks:
        path = tuple(check.element.split("."))
        if isinstance(check.rule, Resolves):
            is_patient = check.element in PATIENT_ELEMENTS
            references.append(Reference(path, check.name, check.rule.targets[0], is_patient))
        elif isinstance(check.rule, InLife):
            edges[path, check.rule.edge] = (check.name, check.rule.days)
    dates = []
    for path in dict.fromkeys(path for path, _ in edges):
        (born, before), (died, after) = edges[path, "birth"], edges[path, "death"]
        dates.append(Dated(path, born, died, before, after))
    return Claimed(tuple(references), tuple(dates))


class Links:
    """The claims of a silo's staged tables, judged. `checks` are by resource type.

    `refused` are the places of staged patients that fail a check of their own: unless such a patient is live, who
    refers to it refers to nobody. Of other types every staged resource is a target, since a reference to them that
    does not resolve is only a warning.
    """

    def __init__(
        self,
        ctx: Context,
        staged: Mapping[str, delta.Staged],
        checks: Mapping[str, Sequence[Check]],
        refused: DataFrame | None,
    ) -> None:
        self._folder = ctx.lake.staging("phi", ctx.scope) / "links"
        self._extract(ctx, staged, checks)
        read = ctx.spark.read
        claims = read.schema(from_arrow_schema(CLAIMS)).parquet(str(self._folder / "claims"))
        found = read.schema(from_arrow_schema(TARGETS)).parquet(str(self._folder / "targets"))
        if refused is not None:
            places = refused.select(F.lit("Patient").alias("table"), *PLACE)
            found = found.join(places, ["table", *PLACE], "left_anti").select(*TARGETS.names)
        self.duplicates = _duplicates(found)
        known = reduce(DataFrame.unionAll, [found, *_live(ctx)])
        self._failed = _judged(claims, _by_key(known)).persist()
        counted = self._failed.groupBy("table", "check").agg(F.count("*").alias("claims")).collect()
        self.failing = {table: {row["check"] for row in counted if row["table"] == table} for table in staged}
        days = claims.where(F.col("first") <= F.current_date()).agg(F.max("first").alias("newest")).collect()
        self.newest: date | None = days[0]["newest"]

    def _extract(self, ctx: Context, staged: Mapping[str, delta.Staged], checks: Mapping[str, Sequence[Check]]) -> None:
        """Claims and targets of every staged part, as files below the batch's staging."""
        shutil.rmtree(self._folder, ignore_errors=True)
        work = {name: claimed(checks[name]) for name in staged}
        units = [
            {"table": name, "rows": part.rows, "source": str(ctx.lake.silver(name) / part.path)}
            | {kind: str(self._folder / kind / f"{name}-{number}.parquet") for kind in ("claims", "targets")}
            for name, table in staged.items()
            for number, part in enumerate(table.parts)
        ]
        units.sort(key=lambda unit: -int(str(unit["rows"])))
        run_units(ctx.spark, units, partial(_extract, work=work, resources=dict(ctx.catalog.resources)))

    def failures(self, table: str) -> DataFrame:
        """The rows of a table that failed a check across tables: their `PLACE`, and the checks' names as `FAILED`."""
        rows = self._failed.where(F.col("table") == table)
        return rows.groupBy(*PLACE).agg(F.collect_set("check").alias(FAILED))

    def close(self) -> None:
        """Let go of what is cached and written."""
        self._failed.unpersist()
        shutil.rmtree(self._folder, ignore_errors=True)


def _extract(unit: Unit, work: Mapping[str, Claimed], resources: Mapping[str, Node]) -> Unit:
    of = work[unit["table"]]
    return extract(unit, resources[unit["table"]], of.references, of.dates, set(resources))


def _judged(claims: DataFrame, known: DataFrame) -> DataFrame:
    """The claims that fail, and the check that each fails: `table`, `PLACE`, `check`."""
    check = (
        F.when(F.col("resolves").isNotNull() & F.col("is_target").isNull(), F.col("resolves"))
        .when(F.expr("last < date_sub(birth, days_before)"), F.col("after_birth"))
        .when(F.expr("first > date_add(death, days_after)"), F.col("before_death"))
    )
    judged = claims.join(known, "key", "left").select("table", *PLACE, check.alias("check"))
    return judged.where("check IS NOT NULL")


def _duplicates(found: DataFrame) -> dict[str, int]:
    """Keys whose newest version is staged twice, by table: `publish` could not tell which one is to live."""
    places = found.where("is_id").groupBy("table", "key", "version").agg(F.count("*").alias("rows"))
    newest = places.groupBy("table", "key").agg(F.max_by("rows", "version").alias("rows")).where("rows > 1")
    return {row["table"]: row["count"] for row in newest.groupBy("table").count().collect()}


def _by_key(known: DataFrame) -> DataFrame:
    """Every key once; a patient's dates are those of its newest version."""
    newest = [F.max_by(name, "version").alias(name) for name in ("birth", "death")]
    patients = known.where(F.col("table") == "Patient").groupBy("key").agg(*newest)
    return known.select("key").distinct().join(patients, "key", "left").withColumn("is_target", F.lit(True))


def _live(ctx: Context) -> Iterator[DataFrame]:
    """The targets among the silo's live rows; the log says which tables have any, so that no empty one is read."""
    schema = from_arrow_schema(TARGETS)
    for name, tree in ctx.catalog.resources.items():
        table = ctx.lake.silver(name)
        if delta.exists(table) and any(
            part.get(PARTITION) == ctx.scope for part in DeltaTable(str(table)).partitions()
        ):
            rows = delta.read(ctx.spark, table).where(F.col(PARTITION) == ctx.scope)
            made = rows.select(*target_columns(tree), "_version", *PLACE)
            yield made.mapInArrow(partial(_targets, name=name), schema)


def _targets(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from targets(pa.Table.from_batches([batch]), name).combine_chunks().to_batches()
