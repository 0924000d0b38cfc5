"""Cohort: who is in and why, what is known of each at the index date, what came of it, and in which split each stands.

The cohort's three SQL files run over the pinned versions of the gold tables; their columns are fixed:

| file | gives | a row |
|---|---|---|
| `index.sql` | patient_key, silo, index_date; in_1…in_n, out_1…out_m, as the declaration lists them | a candidate |
| `features.sql` | patient_key, silo, index_date, the declared features | in the cohort |
| `outcome.sql` | patient_key, index_date, outcome | in the cohort |

A candidate is in if every `in_*` is true and no `out_*` is; a criterion that is null is not true. Whose records cannot
tell what the criteria and the outcome need is left out before, and a feature that cannot be known is null, whatever the
SQL says (`spark_jobs.eligibility`). `features.sql` and `outcome.sql` read the rows that are in from the view
`cohort_index`. A person may have several index dates, and records in several silos: counts and splits are by person
(`person_key`), not by record (`patient_key`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog import Cohort
from cohortlake.core.catalog.cohort import Splits
from cohortlake.core.errors import CatalogError, GateFailedError
from spark_jobs import delta_read
from spark_jobs.cohort_books import cohort_book
from spark_jobs.context import Context, StepResult
from spark_jobs.eligibility import Eligibility, row_needs, withhold
from spark_jobs.person_keys import person_keys, person_of
from spark_jobs.training import (
    KEYS,
    SQL,
    cohort_folder,
    declared_cohort,
    inputs,
    stage,
    unchanged,
    unstage,
)

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

ROW_KEY = ["patient_key", "index_date"]
ARROW_TYPES = {
    "number": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    "category": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "boolean": pa.types.is_boolean,
}


def run(ctx: Context) -> StepResult:
    """Stage the cohort's rows. Its book: in = candidates, out = rows staged, left out = excluded (by the first).

    Raises CatalogError where the SQL does not keep its contract, GateFailedError where no candidate is left, BooksError
    where the book does not balance.
    """
    cohort = declared_cohort(ctx)
    if done := unchanged(ctx):
        return done
    pinned = inputs(ctx)
    with _gold_views(ctx, pinned["gold"]):
        candidates = _candidates(ctx, cohort)
        persons = person_keys(ctx, pinned["gold"])
        flags = candidates.to_pandas()
        flags["person_key"] = [person_of(key, persons) for key in flags["patient_key"]]
        known = Eligibility(ctx.lake, ctx.catalog, pinned["gold"], candidates)
        needs = {need.column: ~flags["patient_key"].isin(known.lacking(need)) for need in row_needs(cohort)}
        steps = attrition(flags, cohort, needs)
        inclusion, exclusion = _criteria(cohort)
        is_in = flags[inclusion].all(axis=1) & ~flags[exclusion].any(axis=1)
        for can_tell in needs.values():
            is_in &= can_tell
        _check_index(ctx, flags[is_in], steps)
        ctx.progress(1, 3, f"{int(is_in.sum())} of {len(flags)} candidates")
        rows = _rows(ctx, cohort, candidates.select(list(KEYS)).filter(pa.array(is_in)))
    ctx.progress(2, 3, "features and outcome")
    check_rows(cohort_folder(ctx), cohort, rows, int(is_in.sum()))
    rows, unknown = withhold(rows, cohort, known)
    rows = _finished(cohort, rows, persons)
    facts = {"cohort": cohort.name, "inputs": pinned, "attrition": steps, **describe(rows.to_pandas(), cohort)}
    facts["unlinked_patients"] = len(set(rows["patient_key"].to_pylist()) - set(persons))
    facts["cannot_be_known"] = unknown
    unstage(ctx, "synthetic")  # those there may be were made from other rows
    stage(ctx, "cohort", rows, facts)
    book, facts["left_out"] = cohort_book(ctx, cohort, candidates, needs, _criteria(cohort), rows)
    ctx.progress(3, 3, "staged")
    return StepResult([book], facts)


@contextmanager
def _gold_views(ctx: Context, versions: Mapping[str, int]) -> Iterator[None]:
    """Temp views named as the gold tables, at their pinned versions; dropped afterwards.

    The steps of a run share a Spark session, so one at a time makes them.
    """
    with ctx.lake.lock("views"):
        for name, version in versions.items():
            delta_read.read(ctx.spark, ctx.lake.gold(name), version).createOrReplaceTempView(name)
        try:
            yield
        finally:
            for name in (*versions, "cohort_index"):
                ctx.spark.catalog.dropTempView(name)


def _query(ctx: Context, name: str, expected: Sequence[str]) -> DataFrame:
    """The frame of one of the cohort's SQL files. Raises CatalogError where it fails or gives other columns."""
    from pyspark.errors import AnalysisException

    path = cohort_folder(ctx) / name
    try:
        frame = ctx.spark.sql(path.read_text(encoding="utf-8"))
        columns = frame.columns
    except AnalysisException as error:
        raise CatalogError(f"{path}: {str(error).splitlines()[0]}", "Are the tables it reads curated?") from error
    if sorted(columns) != sorted(expected):
        missing, extra = sorted(set(expected) - set(columns)), sorted(set(columns) - set(expected))
        raise CatalogError(
            f"{path}: its columns are not the declared ones: {missing or 'none'} missing, {extra or 'none'} too many",
            "Declare each column in cohort.yaml, in the order of its criteria.",
        )
    return frame


def _criteria(cohort: Cohort) -> tuple[list[str], list[str]]:
    """The columns of `index.sql` that hold the criteria: inclusion, exclusion."""
    inclusion = [f"in_{number}" for number in range(1, len(cohort.inclusion) + 1)]
    return inclusion, [f"out_{number}" for number in range(1, len(cohort.exclusion) + 1)]


def _candidates(ctx: Context, cohort: Cohort) -> pa.Table:
    """The candidates, each criterion true or false."""
    from pyspark.sql import functions as F

    flags = [*_criteria(cohort)[0], *_criteria(cohort)[1]]
    frame = _query(ctx, "index.sql", [*KEYS, *flags])
    return frame.select(*KEYS, *(F.coalesce(F.col(name), F.lit(False)).alias(name) for name in flags)).toArrow()


def attrition(
    flags: pd.DataFrame, cohort: Cohort, needs: Mapping[str, pd.Series] | None = None
) -> list[dict[str, Any]]:
    """How many candidates are left after each criterion, in the declared order: rows, persons, rows by silo.

    `needs` tells by column whether a candidate's records can tell it; who they cannot tell of is left out first, since
    no criterion can be judged of them.
    """
    inclusion, exclusion = _criteria(cohort)
    steps = [("candidates", "every candidate", None)]
    steps += [
        ("eligibility", f"left out: the silo cannot tell {column}", can_tell)
        for column, can_tell in (needs or {}).items()
        if not can_tell.all()
    ]
    steps += [("inclusion", text, flags[name]) for text, name in zip(cohort.inclusion, inclusion, strict=True)]
    steps += [("exclusion", text, ~flags[name]) for text, name in zip(cohort.exclusion, exclusion, strict=True)]
    left = flags
    found = []
    for kind, text, keeps in steps:
        left = left if keeps is None else left[keeps[left.index]]
        silos = {silo: int((left["silo"] == silo).sum()) for silo in sorted(flags["silo"].unique())}
        persons = left["person_key"].nunique()
        found.append({"kind": kind, "criterion": text, "rows": len(left), "persons": persons, "silos": silos})
    return found


def _check_index(ctx: Context, index: pd.DataFrame, steps: Sequence[Mapping[str, Any]]) -> None:
    path = cohort_folder(ctx) / SQL[0]
    if index.empty:
        emptied = next(step["criterion"] for step in steps if step["rows"] == 0)
        raise GateFailedError(f"{path}: no candidate is left after: {emptied}", "Look at the criteria and at gold.")
    if index[list(KEYS)].isna().any(axis=None):
        raise CatalogError(f"{path}: a row of the cohort has no patient_key, silo or index_date")
    if twice := int(index.duplicated(ROW_KEY).sum()):
        raise CatalogError(f"{path}: {twice} rows repeat a patient_key and index_date")


def _rows(ctx: Context, cohort: Cohort, index: pa.Table) -> pa.Table:
    """Index, features, outcome and stratum as they meet; `has_*` tells where a row came from, for `check_rows`.

    `cohort_index` is handed to Spark as plain rows, and the three meet here: the cohort is small by now, and planned as
    one query of joins it cost Spark twice as long.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import DecimalType, DoubleType, FloatType

    ctx.spark.createDataFrame(index).createOrReplaceTempView("cohort_index")
    features = _query(ctx, "features.sql", [*KEYS, *cohort.features])
    outcome = _query(ctx, "outcome.sql", [*ROW_KEY, "outcome"])
    real = {f.name for f in features.schema.fields if isinstance(f.dataType, DecimalType | DoubleType | FloatType)}
    # A number that is not a number is a missing one.
    values = [F.nanvl(F.col(name).cast("double"), F.lit(None)).alias(name) for name in cohort.features if name in real]
    known = features.select(
        *ROW_KEY,
        *(name for name in cohort.features if name not in real),
        *values,
        F.expr(f"coalesce(cast(({cohort.stratum}) AS string), 'unknown')").alias("stratum"),
    )
    rows = _marked(index, "has_index")
    for found, marker in ((known.toArrow(), "has_features"), (outcome.toArrow(), "has_outcome")):
        rows = rows.join(_marked(found, marker), ROW_KEY, join_type="full outer")
    return rows


def _marked(rows: pa.Table, name: str) -> pa.Table:
    return rows.append_column(name, pa.array([True] * rows.num_rows, pa.bool_()))


def check_rows(folder: Path, cohort: Cohort, rows: pa.Table, expected: int) -> None:
    """One row of features and one of outcome for each of the `expected` index rows, no more, of the declared types.

    Raises CatalogError, which names the SQL file in `folder`.
    """
    for name, marker in (("features.sql", "has_features"), ("outcome.sql", "has_outcome")):
        path = folder / name
        lost = rows.filter(pc.is_null(rows[marker])).num_rows
        strange = rows.filter(pc.is_null(rows["has_index"])).num_rows
        if lost or strange or rows.num_rows != expected:
            raise CatalogError(
                f"{path}: {lost} index rows have none, {strange} rows are not in cohort_index, "
                f"{rows.num_rows - strange - expected} repeat an index row",
                "Start from cohort_index, LEFT JOIN what is known, and group by patient_key, silo and index_date.",
            )
    for name, feature in cohort.features.items():
        if not ARROW_TYPES[feature.type](rows.schema.field(name).type):
            found = rows.schema.field(name).type
            raise CatalogError(f"{folder}/features.sql: {name} is a {found}, declared as a {feature.type}")
    if not pa.types.is_boolean(rows.schema.field("outcome").type) or rows["outcome"].null_count:
        raise CatalogError(
            f"{folder}/outcome.sql: outcome must be true or false, found "
            f"{rows['outcome'].null_count} nulls in a {rows.schema.field('outcome').type}",
            "Exclude those whose outcome cannot be known, with a criterion of their own.",
        )


def split_of(person_key: str, splits: Splits) -> str:
    """A person's split: a function of the seed and the key alone, so that data may grow and nobody moves."""
    share = int(hashlib.sha256(f"{splits.seed}|{person_key}".encode()).hexdigest()[:15], 16) % 100
    if share < splits.train:
        return "train"
    return "validation" if share < splits.train + splits.validation else "test"


def _finished(cohort: Cohort, rows: pa.Table, persons: Mapping[str, str]) -> pa.Table:
    """The rows with their person and split, none synthetic, columns and rows in an order that is always the same.

    `persons` are patients' person keys: one person at two hospitals stands in one split.
    """
    keys = [person_of(key, persons) for key in rows["patient_key"].to_pylist()]
    splits = [split_of(key, cohort.splits) for key in keys]
    rows = rows.append_column("person_key", pa.array(keys, pa.string()))
    rows = rows.append_column("split", pa.array(splits, pa.string()))
    rows = rows.append_column("is_synthetic", pa.array([False] * rows.num_rows, pa.bool_()))
    columns = ["patient_key", "person_key", "silo", "index_date", "split", "stratum", "is_synthetic"]
    rows = rows.select([*columns, *cohort.features, "outcome"])
    return rows.sort_by([(name, "ascending") for name in ROW_KEY]).combine_chunks()


def counts(rows: pd.DataFrame) -> dict[str, Any]:
    """Rows, persons, rows with the outcome, and the outcome's prevalence (share of rows, null where there are none)."""
    events = int(rows["outcome"].sum())
    prevalence = round(events / len(rows), 4) if len(rows) else None
    return {"rows": len(rows), "persons": rows["person_key"].nunique(), "events": events, "prevalence": prevalence}


def describe(rows: pd.DataFrame, cohort: Cohort) -> dict[str, Any]:
    """The cohort in counts: overall, by split, silo, stratum and (split, stratum); missing values by feature."""
    found: dict[str, Any] = {"counts": counts(rows)}
    for name in ("split", "silo", "stratum"):
        found[f"by_{name}"] = {str(value): counts(part) for value, part in rows.groupby(name)}
    pairs = rows.groupby(["split", "stratum"])
    found["by_split_and_stratum"] = [
        {"split": split, "stratum": stratum, **counts(part)} for (split, stratum), part in pairs
    ]
    found["missing"] = {name: int(rows[name].isna().sum()) for name in cohort.features}
    return found
