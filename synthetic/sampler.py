"""The recipe's generator, its rows held to the rules before anybody sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cohortlake.core.catalog import Cohort
from spark_jobs.context import Context
from spark_jobs.training import recipe_path
from synthetic.proof import holding
from synthetic.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

OVERSAMPLING = 3
"""Rows sampled for each one wanted, since some are dropped; the surplus is dropped too."""


class RuledSampler:
    """The recipe's generator, its rows held to the rules: inside the stratum, no constraint broken, no copy.

    `tally` has the figures of the first call, which is the one whose rows may be released.
    """

    def __init__(self, ctx: Context, cohort: Cohort, planned: Recipe, stratum: str, rows: pa.Table) -> None:
        self._ctx, self._cohort, self._recipe, self._stratum, self._rows = ctx, cohort, planned, stratum, rows
        self._types = {name: feature.type for name, feature in cohort.features.items()} | {"outcome": "boolean"}
        self.tally: dict[str, Any] = {}

    def __call__(self, parts: Sequence[pd.DataFrame], seeds: Sequence[int]) -> list[pd.DataFrame]:
        """Rows for each of some training parts of the stratum, as many as the recipe wants, where as many are left."""
        from synthetic import generator

        columns, drawn = self._rows.select(list(self._types)), []
        for part, seed in zip(parts, seeds, strict=True):
            count = OVERSAMPLING * self._recipe.rows_to_make(len(part))
            real = part[columns.column_names].reset_index(drop=True)
            seeded = self._recipe.model_copy(update={"seed": seed})
            made = generator.sample(real, self._types, seeded, count) if count else real.head(0)
            drawn.append(to_arrow(made, columns.schema))
        breaks = iter(self._breaks(pa.concat_tables(drawn)))
        return [
            self._kept(part, made, [next(breaks) for _ in range(made.num_rows)])
            for part, made in zip(parts, drawn, strict=True)
        ]

    def _kept(self, part: pd.DataFrame, made: pa.Table, breaks: list[str | None]) -> pd.DataFrame:
        reasons = dropped(made, self._rows, list(self._cohort.features), breaks)
        kept = made.filter(pa.array([reason is None for reason in reasons], pa.bool_()))
        wanted = self._recipe.rows_to_make(len(part))
        if not self.tally:
            tally = dict(sorted(Counter(reason for reason in reasons if reason).items()))
            self.tally = {"sampled": made.num_rows, "dropped": tally, "surplus": kept.slice(wanted).num_rows}
        return modelling_frame(kept.slice(0, wanted), self._types)

    def _breaks(self, sampled: pa.Table) -> list[str | None]:
        """For each sampled row the rule it breaks, or None. The stratum is Spark's SQL, as in the cohort step."""
        from pyspark.sql import functions as F

        # Before any column: with Spark Connect, columns belong to the kind of session that there is.
        spark = self._ctx.spark
        inside = F.coalesce(F.expr(self._cohort.stratum).cast("string"), F.lit("unknown")) == F.lit(self._stratum)
        numbered = sampled.append_column("row_number", pa.array(range(sampled.num_rows), pa.int64()))
        found = spark.createDataFrame(numbered).select("row_number", inside.alias("inside")).toArrow()
        is_inside = found.sort_by("row_number")["inside"].to_pylist()
        constraints = self._recipe.constraints
        holds = holding(sampled.to_pandas(), constraints, recipe_path(self._ctx))
        names = ["outside the stratum", *(f"breaks: {constraint}" for constraint in constraints)]
        return [
            next((name for name, kept in zip(names, (inside, *row), strict=True) if not kept), None)
            for inside, row in zip(is_inside, holds, strict=True)
        ]


def modelling_frame(rows: pa.Table, types: dict[str, str]) -> pd.DataFrame:
    """The rows in pandas, numbers as floats (missing is NaN), so that real and synthetic rows have the same types."""
    return rows.to_pandas().astype({name: "float64" for name, kind in types.items() if kind == "number"})


def to_arrow(made: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Sampled rows in the real rows' types: integers stay integers, gaps are nulls."""
    whole = [field.name for field in schema if pa.types.is_integer(field.type)]
    return pa.Table.from_pandas(made.round(dict.fromkeys(whole, 0)), schema=schema, preserve_index=False)


def dropped(sampled: pa.Table, real: pa.Table, features: list[str], breaks: list[str | None]) -> list[str | None]:
    """For each sampled row why it is dropped, or None: the rule it breaks, or a copy.

    A copy is a row whose features all equal those of a real row, of any split, or of an earlier sampled row. The
    outcome does not count: a real person's features under another outcome would be that person still.
    """
    both = pa.concat_tables([real.select(features), sampled.select(features)]).to_pandas()
    copies = both.duplicated().to_numpy()[real.num_rows :]
    return [broken or ("a copy" if copy else None) for broken, copy in zip(breaks, copies, strict=True)]
