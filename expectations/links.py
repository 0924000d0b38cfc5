"""Checks across tables: references that resolve, and dates within the patient's life, for all staged tables at once.

Every reference of every staged row becomes a *claim* on a key, and a patient's claim carries the row's dates. Claims
meet the *targets*, the keys that are staged or live, in one join, so that a silo costs one Spark query and not one a
reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from cohortlake.core.catalog import Node
from cohortlake.core.checks import PATIENT_ELEMENTS, InLife, Resolves
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.lake import Lake
from expectations.audit import FAILED, KEY, Audited
from expectations.paths import element_sql, first_day, last_day, literal, present_sql, reference_key
from spark_jobs import delta
from spark_jobs.fhir_types import PARTITION

EVENTS = "ARRAY<STRUCT<`check`: STRING, edge: STRING, days: INT, first: DATE, last: DATE>>"
PLACE = KEY[:2]


@dataclass(frozen=True)
class Findings:
    """What the claims came to: the claims that failed, by check, and the newest day that a record tells of."""

    failing: Mapping[str, int]
    newest: date | None


class Links:
    """The claims of a silo's staged rows, and the targets they meet. `rows` and `items` are by resource type.

    `refused` are the places of the staged patients that fail a check of their own: unless such a patient is live, who
    refers to it refers to nobody. Of other types every staged resource is a target, since a reference to them that does
    not resolve is only a warning.
    """

    def __init__(
        self, rows: Mapping[str, DataFrame], items: Mapping[str, Sequence[Audited]], resources: Mapping[str, Node]
    ) -> None:
        self._rows, self._items, self._resources = rows, items, resources
        self._targets: DataFrame | None = None

    def meet(self, spark: SparkSession, lake: Lake, silo: str, refused: DataFrame | None) -> Findings:
        """Judge every claim, in one query."""
        tables = [name for name in self._rows if any(item.is_across for item in self._items[name])]
        if not tables:
            return Findings({}, None)
        known = []
        for name, frame in self._rows.items():
            staged = frame.join(refused, PLACE, "left_anti") if name == "Patient" and refused is not None else frame
            known.append(_keys(staged, self._resources[name]))
        known += [_keys(frame, self._resources[name]) for name, frame in _live(spark, lake, silo, self._resources)]
        self._targets = _targets(known).persist()
        claims = reduce(DataFrame.unionAll, [self._claims(name) for name in tables])
        judged = _judged(claims, self._targets).select(F.explode_outer(FAILED).alias("check"), "newest")
        counted = judged.groupBy("check").agg(F.count("*").alias("claims"), F.max("newest").alias("newest")).collect()
        days = [row["newest"] for row in counted if row["newest"]]
        return Findings({row["check"]: row["claims"] for row in counted if row["check"]}, max(days, default=None))

    def failures(self, table: str) -> DataFrame:
        """The rows of a table that failed a check across tables: their `PLACE`, and the checks as `FAILED`."""
        if self._targets is None:
            raise RuntimeError("the claims have not met their targets yet")
        judged = _judged(self._claims(table), self._targets).where(F.size(FAILED) > 0)
        return judged.groupBy(*PLACE).agg(F.flatten(F.collect_list(FAILED)).alias(FAILED))

    def close(self) -> None:
        """Let go of what is cached."""
        if self._targets is not None:
            self._targets.unpersist()

    def _claims(self, table: str) -> DataFrame:
        """One row a reference: its place, its check, its key and, of the patient's, the dates to judge."""
        tree = self._resources[table]
        made = ", ".join(_claim_sql(tree, self._items[table]))
        claims = self._rows[table].select(*PLACE, F.expr(f"inline(concat({made}))"))
        # A type that silver does not hold cannot be looked up; its references are not judged.
        unheld = sorted(resource_types() - set(self._resources))
        kind = F.substring_index(F.substring_index("key", "/", 1), "?", 1)
        return claims.where(F.col("key").isNotNull() & ~kind.isin(unheld))


def _claim_sql(tree: Node, items: Iterable[Audited]) -> Iterator[str]:
    """For each reference of a row, an array of its claims."""
    dates = []
    for item in items:
        rule = item.check.rule
        if isinstance(rule, InLife):
            text, _ = element_sql(tree, item.check.element)
            dates.append(
                f"named_struct('check', {literal(item.check.name)}, 'edge', '{rule.edge}', 'days', {rule.days}, "
                f"'first', {first_day(text)}, 'last', {last_day(text)})"
            )
    dated, undated = f"CAST(array({', '.join(dates)}) AS {EVENTS})", f"CAST(NULL AS {EVENTS})"
    for item in items:
        rule, path = item.check.rule, item.check.element
        if not isinstance(rule, Resolves):
            continue
        sql, is_list = element_sql(tree, path)
        is_patient = path in PATIENT_ELEMENTS
        events = dated if is_patient and dates else undated
        key = reference_key("r" if is_list else sql, rule.targets[0])
        if is_patient:
            # A patient that is named by a mere text is nobody.
            key = f"CASE WHEN {present_sql(tree, path)} THEN coalesce({key}, '') END"
        claim = f"named_struct('check', {literal(item.check.name)}, 'key', {key}, 'events', {events})"
        yield f"coalesce(transform({sql}, r -> {claim}), array())" if is_list else f"array({claim})"


def _judged(claims: DataFrame, targets: DataFrame) -> DataFrame:
    """Claims with the checks that they fail (`FAILED`), and the newest of their days that is not in the future."""
    joined = claims.join(targets, "key", "left")
    before = "filter(events, e -> e.edge = 'birth' AND e.last < date_sub(birth, e.days))"
    after = "filter(events, e -> e.edge = 'death' AND e.first > date_add(death, e.days))"
    unmet = "CASE WHEN is_target THEN CAST(array() AS ARRAY<STRING>) ELSE array(`check`) END"
    failed = f"concat({unmet}, coalesce({before}.`check`, array()), coalesce({after}.`check`, array()))"
    newest = "array_max(filter(events, e -> e.first <= current_date()).first)"
    return joined.select(*PLACE, F.expr(failed).alias(FAILED), F.expr(newest).alias("newest"))


def _keys(rows: DataFrame, tree: Node) -> DataFrame:
    """What a resource can be referred to by, and a patient's first and last day."""
    name = tree.name
    keys = f"array(concat('{name}/', id))"
    if "identifier" in tree.children:
        token = "concat(coalesce(i.system, ''), '|', i.value)"
        forms = f"array(concat('{name}?identifier=', {token}), concat('{name}?identifier=', i.value), concat('?identifier=', {token}))"
        keys = f"concat({keys}, coalesce(flatten(transform(identifier, i -> {forms})), array()))"
    birth, death = "NULL", "NULL"
    if name == "Patient":
        birth = first_day("birthDate") if "birthDate" in tree.children else birth
        death = last_day("deceasedDateTime") if "deceasedDateTime" in tree.children else death
    return rows.select(
        F.expr(f"explode({keys})").alias("key"),
        F.expr("_version" if name == "Patient" else "CAST(NULL AS STRING)").alias("version"),
        F.expr(f"CAST({birth} AS DATE)").alias("birth"),
        F.expr(f"CAST({death} AS DATE)").alias("death"),
    ).where("key IS NOT NULL")


def _live(
    spark: SparkSession, lake: Lake, silo: str, resources: Mapping[str, Node]
) -> Iterator[tuple[str, DataFrame]]:
    """The silo's live rows of each type that has any; the log says which, so that no empty table is read."""
    for name in resources:
        table = lake.silver(name)
        if delta.exists(table) and any(part.get(PARTITION) == silo for part in DeltaTable(str(table)).partitions()):
            yield name, delta.read(spark, table).where(F.col(PARTITION) == silo)


def _targets(known: Sequence[DataFrame]) -> DataFrame:
    """Every key once; a patient's dates are those of its newest version."""
    union = reduce(DataFrame.unionAll, known)
    keys = union.select("key").distinct()
    newest = [F.max_by(name, "version").alias(name) for name in ("birth", "death")]
    patients = union.where("version IS NOT NULL").groupBy("key").agg(*newest)
    return keys.join(patients, "key", "left").withColumn("is_target", F.lit(True))
