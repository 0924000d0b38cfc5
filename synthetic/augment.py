"""Augment: synthetic rows for the sparsest stratum of the training split, in the training split only.

Each is marked `is_synthetic`, has a key in a namespace that no real key is in, equals no real row, lies inside its
stratum and the recipe's constraints, and is made from training rows alone. They go out only where the proof
(`synthetic/proof`) accepts them; else none do, and the facts say why. They come from no silo, are nobody's and have no
index date: `silo`, `person_key` and `index_date` are null.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cohortlake.core.catalog import Cohort
from cohortlake.core.errors import CatalogError, GateFailedError
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.training import declared_cohort, recipe, recipe_path, stage, staged, unchanged
from synthetic.proof import Finding, Question, not_proved, prove
from synthetic.recipe import Recipe, read_recipe
from synthetic.sampler import RuledSampler, modelling_frame, to_arrow

if TYPE_CHECKING:
    import pandas as pd

STAGES_TOLD = 4
"""Steps of progress: the sample fitted, scored, tried, judged."""


def run(ctx: Context) -> StepResult:
    """Stage the synthetic rows. Their book: rows sampled = rows released + deleted (a rule broken, or a copy; facts say
    which) + left out (more than were wanted, or withheld as not proved).

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
        check_columns(cohort, planned, recipe_path(ctx))
        made, facts = _augmented(ctx, cohort, planned, rows)
    facts["inputs"] = {**cohort_facts["inputs"], "definition": cohort_facts["inputs"]["definition"] | recipe(ctx)}
    stage(ctx, "synthetic", made, facts)
    book = Book(
        f"synthetic.{cohort.name}",
        facts.get("sampled", 0),
        made.num_rows,
        deleted=sum(facts.get("dropped", {}).values()),
        left_out=facts.get("surplus", 0) + facts.get("withheld", 0),
    )
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


def check_columns(cohort: Cohort, planned: Recipe, path: Path) -> None:
    """Raises CatalogError for a relation over a column that is no number of the cohort's."""
    numbers = [name for name, feature in cohort.features.items() if feature.type == "number"]
    for relation in planned.relations:
        for name in relation.rises or relation.falls or []:
            if name not in numbers:
                raise CatalogError(
                    f"{path}: relations: {name!r} is not a number among {cohort.name}'s features",
                    f"Its numbers are: {', '.join(numbers)}.",
                )


def _augmented(ctx: Context, cohort: Cohort, planned: Recipe, rows: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
    """Synthetic rows with the cohort's columns, none where they cannot be had or are not proved; and the facts."""
    from synthetic.scores import score

    types = {name: feature.type for name, feature in cohort.features.items()}
    frame = modelling_frame(rows, types)
    train = frame[frame["split"] == "train"]
    strata = train.groupby("stratum")["person_key"].agg(["size", "nunique"]).sort_index()
    by_stratum = {str(name): {"rows": int(size), "persons": int(count)} for name, size, count in strata.itertuples()}
    facts: dict[str, Any] = {"made": 0, "training": by_stratum}
    stratum = sparsest(train, planned)
    if stratum is None:
        proof = not_proved(none_to_learn_from(by_stratum, planned), train, planned, recipe_path(ctx)).told
        return rows.schema.empty_table(), {**facts, "proof": proof, "why": f"withheld, {proof['why']}"}
    real = train[train["stratum"] == stratum]
    facts |= {"stratum": stratum, "real_rows": len(real), "real_persons": int(real["person_key"].nunique())}
    facts["wanted"] = planned.rows_to_make(len(real))
    if not facts["wanted"]:
        return rows.schema.empty_table(), {**facts, "why": f"the stratum has {len(real)} rows, which is the target"}
    sampler = RuledSampler(ctx, cohort, planned, stratum, rows)
    in_stratum = frame[(frame["split"] == "validation") & (frame["stratum"] == stratum)]
    columns = [*types, "outcome"]
    kinds = types | {"outcome": "boolean"}
    question = Question(
        rows=frame[frame["split"] != "test"].reset_index(drop=True),
        stratum=stratum,
        types=types,
        recipe=planned,
        path=recipe_path(ctx),
        share=cohort.splits.train / (cohort.splits.train + max(cohort.splits.validation, 1)),
        sampler=sampler,
        score=lambda real, made: score(real[columns], in_stratum[columns], made[columns], kinds, planned.seed),
    )
    done = iter(range(1, STAGES_TOLD))
    proof = prove(question, lambda text: ctx.progress(next(done), STAGES_TOLD, text))
    ctx.progress(STAGES_TOLD, STAGES_TOLD, proof.told["verdict"])
    facts |= {"proof": proof.told, **proof.facts, **sampler.tally}
    if not proof.is_accepted or proof.made is None:
        withheld = 0 if proof.made is None else len(proof.made)
        return rows.schema.empty_table(), {**facts, "withheld": withheld, "why": f"withheld, {proof.told['why']}"}
    kept = to_arrow(proof.made, rows.select(columns).schema)
    return with_keys(kept, planned, stratum, rows.schema), {**facts, "made": kept.num_rows}


def none_to_learn_from(by_stratum: dict[str, dict[str, int]], planned: Recipe) -> Finding:
    """What is found where no stratum has enough rows and persons to fit on: a verdict cannot be given."""
    least = f"{planned.min_real_rows} rows of {planned.min_real_persons} persons"
    has = ", ".join(f"{name} {found['rows']} of {found['persons']}" for name, found in by_stratum.items())
    return Finding("evidence", "cannot judge", f"no stratum has {least} in training ({has})", by_stratum)


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
