"""Augment: synthetic rows for the sparsest stratum of the training split, in the training split only.

What must hold of them, and is checked here: made from training rows alone; `is_synthetic` on each; keys in a namespace
that no real key is in; no row equal to a real one; inside their stratum and the recipe's constraints; scores that reach
the recipe's. Where one of these cannot be had, none are made, and the facts say why. They come from no silo and have no
index date: both are null.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cohortlake.core.catalog import Cohort
from cohortlake.core.errors import CatalogError, GateFailedError
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.training import declared_cohort, recipe, recipe_path, stage, staged, unchanged
from synthetic.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    import pandas as pd

OVERSAMPLING = 3
"""Rows sampled for each one wanted, since some are dropped; the surplus is dropped too."""


def run(ctx: Context) -> StepResult:
    """Stage the synthetic rows. Their book: in = rows sampled, out = rows kept, deleted = rows dropped; facts say why.

    Raises CatalogError for a wrong recipe, GateFailedError where a real key is in the synthetic namespace.
    """
    cohort = declared_cohort(ctx)
    if done := unchanged(ctx):
        return done
    rows, cohort_facts = staged(ctx, "cohort")
    planned = read_recipe(recipe_path(ctx))
    made, facts = rows.schema.empty_table(), {"made": 0, "why": "the cohort has no recipe"}
    if planned:
        check_namespace(rows["patient_key"].to_pylist(), planned)
        made, facts = _augmented(ctx, cohort, planned, rows)
    facts["inputs"] = {**cohort_facts["inputs"], "definition": cohort_facts["inputs"]["definition"] | recipe(ctx)}
    stage(ctx, "synthetic", made, facts)
    sampled = facts.get("sampled", 0)
    book = Book(f"synthetic.{cohort.name}", sampled, made.num_rows, deleted=sampled - made.num_rows)
    return StepResult([book], facts)


def check_namespace(patient_keys: list[str], planned: Recipe) -> None:
    """Raises GateFailedError where a real key could be taken for a synthetic one."""
    if taken := sum(key.startswith(f"{planned.namespace}:") for key in patient_keys):
        raise GateFailedError(
            f"{taken} real rows have a patient_key in the synthetic namespace {planned.namespace!r}",
            f"Give synthetic/{planned.cohort}.yaml another namespace.",
        )


def sparsest(train: pd.DataFrame, planned: Recipe) -> str | None:
    """The stratum with fewest training rows among those with enough rows and persons to learn from, or None."""
    strata = train.groupby("stratum")["person_key"].agg(["size", "nunique"])
    enough = strata[(strata["size"] >= planned.min_real_rows) & (strata["nunique"] >= planned.min_real_persons)]
    return None if enough.empty else str(enough.sort_index()["size"].idxmin())


def _augmented(ctx: Context, cohort: Cohort, planned: Recipe, rows: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """Synthetic rows with the cohort's columns, none where they cannot be had or are not good enough; and the facts."""
    from synthetic.generator import sample
    from synthetic.lift import lift
    from synthetic.scores import score

    columns = [*cohort.features, "outcome"]
    types = {name: feature.type for name, feature in cohort.features.items()} | {"outcome": "boolean"}
    frame = modelling_frame(rows, types)
    train, validation = frame[frame["split"] == "train"], frame[frame["split"] == "validation"]
    strata = train["stratum"].value_counts().sort_index()
    facts: dict[str, Any] = {"made": 0, "training_rows_by_stratum": {name: int(n) for name, n in strata.items()}}
    stratum = sparsest(train, planned)
    if stratum is None:
        least = f"{planned.min_real_rows} rows of {planned.min_real_persons} persons"
        return rows.schema.empty_table(), {**facts, "why": f"no stratum has {least} in training"}
    real = train[train["stratum"] == stratum].reset_index(drop=True)
    wanted = planned.rows_to_make(len(real))
    facts |= {"stratum": stratum, "real_rows": len(real), "real_persons": int(real["person_key"].nunique())}
    if not wanted:
        return rows.schema.empty_table(), {**facts, "why": f"the stratum has {len(real)} rows, which is the target"}
    ctx.progress(1, 3, f"fitting {len(real)} rows")
    sampled = to_arrow(sample(real[columns], types, planned, OVERSAMPLING * wanted), rows.select(columns).schema)
    breaks = _rule_breaks(ctx, cohort, planned, stratum, sampled)
    reasons = dropped(sampled, rows, list(cohort.features), breaks)
    kept = sampled.filter(pa.array([reason is None for reason in reasons])).slice(0, wanted)
    tally = dict(sorted(Counter(reason for reason in reasons if reason).items()))
    facts |= {"sampled": sampled.num_rows, "wanted": wanted, "dropped": tally}
    if not kept.num_rows:
        return rows.schema.empty_table(), {**facts, "why": "no sampled row is new and inside the stratum"}
    ctx.progress(2, 3, f"scoring {kept.num_rows} rows")
    made = modelling_frame(kept, types)
    holdout = validation[validation["stratum"] == stratum]
    facts["scores"] = score(real[columns], holdout[columns], made, types, planned.seed)
    feature_types = {name: types[name] for name in cohort.features}
    facts["lift"] = lift(train, made, validation, stratum, feature_types, planned.seed)
    ctx.progress(3, 3, "scored")
    if why := shortfall(facts["scores"], planned):
        return rows.schema.empty_table(), {**facts, "why": why}
    return with_keys(kept, planned, stratum, rows.schema), {**facts, "made": kept.num_rows}


def modelling_frame(rows: pa.Table, types: dict[str, str]) -> pd.DataFrame:
    """The rows in pandas, numbers as floats (missing is NaN), so that real and synthetic rows have the same types."""
    return rows.to_pandas().astype({name: "float64" for name, kind in types.items() if kind == "number"})


def to_arrow(made: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Sampled rows in the real rows' types: integers stay integers, gaps are nulls."""
    whole = [field.name for field in schema if pa.types.is_integer(field.type)]
    return pa.Table.from_pandas(made.round(dict.fromkeys(whole, 0)), schema=schema, preserve_index=False)


def _rule_breaks(ctx: Context, cohort: Cohort, planned: Recipe, stratum: str, sampled: pa.Table) -> list[str | None]:
    """For each sampled row the rule it breaks, or None: Spark says, in the SQL in which the rules are declared."""
    from pyspark.errors import AnalysisException
    from pyspark.sql import functions as F

    # Before any column: with Spark Connect, columns belong to the kind of session that there is.
    spark = ctx.spark
    rules = [F.coalesce(F.expr(cohort.stratum).cast("string"), F.lit("unknown")) == F.lit(stratum)]
    rules += [F.coalesce(F.expr(constraint), F.lit(True)) for constraint in planned.constraints]
    numbered = sampled.append_column("row_number", pa.array(range(sampled.num_rows), pa.int64()))
    try:
        checked = spark.createDataFrame(numbered).select("row_number", *rules).toArrow()
    except AnalysisException as error:
        raise CatalogError(f"{recipe_path(ctx)}: {str(error).splitlines()[0]}", "Mend its constraints.") from error
    names = ["outside the stratum", *(f"breaks: {constraint}" for constraint in planned.constraints)]
    verdicts = zip(*(column.to_pylist() for column in checked.sort_by("row_number").columns[1:]), strict=True)
    return [next((name for name, holds in zip(names, row, strict=True) if not holds), None) for row in verdicts]


def dropped(sampled: pa.Table, real: pa.Table, features: list[str], breaks: list[str | None]) -> list[str | None]:
    """For each sampled row why it is dropped, or None: the rule it breaks, or a copy.

    A copy is a row whose features all equal those of a real row, of any split, or of an earlier sampled row. The
    outcome does not count: a real person's features under another outcome would be that person still.
    """
    both = pa.concat_tables([real.select(features), sampled.select(features)]).to_pandas()
    copies = both.duplicated().to_numpy()[real.num_rows :]
    return [broken or ("a copy" if copy else None) for broken, copy in zip(breaks, copies, strict=True)]


def shortfall(scores: dict[str, Any], planned: Recipe) -> str:
    """Which scores fall short of the recipe's, in words; empty where none does."""
    least = planned.min_scores.model_dump()
    short = [f"{name} {scores[name]} < {least[name]}" for name in least if (scores[name] or 0) < least[name]]
    return f"withheld: {', '.join(short)}" if short else ""


def with_keys(kept: pa.Table, planned: Recipe, stratum: str, schema: pa.Schema) -> pa.Table:
    """Synthetic rows with all the cohort's columns, each in the training split under a key of its own."""
    count = kept.num_rows
    given = {
        "patient_key": [planned.patient_key(number) for number in range(1, count + 1)],
        "split": ["train"] * count,
        "stratum": [stratum] * count,
        "is_synthetic": [True] * count,
    }
    for field in schema:
        if field.name not in kept.column_names:
            kept = kept.append_column(field, pa.array(given.get(field.name, [None] * count), field.type))
    return kept.select(schema.names).cast(schema)
