"""Synthetic rows from a Gaussian copula (SDV 2.0), fitted on one stratum's real training rows.

A Gaussian copula keeps each column's distribution and the rank correlation of each pair (Patki, Wedge & Veeramachaneni,
"The Synthetic Data Vault", DSAA 2016). Around SDV stand three things that small clinical strata need:

* A column that has one value in the stratum is not modelled; it keeps that value.
* Missing values are modelled. SDV by default scatters them at random; but a laboratory panel is missing as a whole, and
  for a reason. So each pattern of missing numbers becomes a column of its own, and the gaps are filled, for the fit
  only, with values drawn from the others (a hot deck keeps the distribution; a mean would put a spike into it).
* SDV samples with a fixed seed of its own; the recipe's is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthetic.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

TABLE = "cohort"


def metadata(rows: pd.DataFrame, types: dict[str, str]) -> dict[str, Any]:
    """SDV metadata of the columns, from their declared types: never inferred from values."""
    sdtypes = {"number": "numerical", "category": "categorical", "boolean": "boolean"}
    columns = {name: {"sdtype": sdtypes[types[name]]} for name in rows.columns}
    return {"tables": {TABLE: {"columns": columns}}, "relationships": []}


def varying(rows: pd.DataFrame) -> list[str]:
    """The columns with more than one value, missing being a value."""
    return [name for name in rows.columns if rows[name].nunique(dropna=False) > 1]


def missing_patterns(rows: pd.DataFrame, types: dict[str, str]) -> dict[str, list[str]]:
    """Numbers that are missing together, by the name of the column that tells so; always-known ones are left out."""
    patterns: dict[tuple[bool, ...], list[str]] = {}
    for name in rows.columns:
        if types[name] == "number" and rows[name].isna().any():
            patterns.setdefault(tuple(rows[name].isna()), []).append(name)
    return {f"{names[0]}.is_missing": names for names in patterns.values()}


def _filled(rows: pd.DataFrame, patterns: dict[str, list[str]], seed: int) -> pd.DataFrame:
    """The rows with gaps filled from known values, drawn with the seed, and a column for each pattern."""
    import numpy as np

    draw = np.random.default_rng(seed)
    filled = rows.copy()
    for indicator, names in patterns.items():
        gaps = rows[names[0]].isna()
        for name in names:
            known = rows.loc[~gaps, name].to_numpy()
            filled.loc[gaps, name] = draw.choice(known, size=int(gaps.sum()))
        filled[indicator] = gaps
    return filled


def sample(real: pd.DataFrame, types: dict[str, str], recipe: Recipe, count: int) -> pd.DataFrame:
    """`count` synthetic rows with the columns of `real` (numbers as floats); equal input gives equal output.

    `types` gives each column's declared type: number, category or boolean.
    """
    import pandas as pd
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    modelled = real[varying(real)]
    patterns = missing_patterns(modelled, types)
    filled = _filled(modelled, patterns, recipe.seed)
    described = metadata(filled, types | dict.fromkeys(patterns, "boolean"))
    synthesizer = GaussianCopulaSynthesizer(
        Metadata.load_from_dict(described), default_distribution=recipe.distribution
    )
    synthesizer.fit({TABLE: filled})
    synthesizer._set_random_state(recipe.seed)  # SDV 2.0 has no public way to choose the seed
    made = synthesizer.sample(num_rows=count)[TABLE]
    for indicator, names in patterns.items():
        made.loc[made[indicator].astype(bool), names] = float("nan")
    fixed = {name: real[name].iloc[0] for name in real.columns if name not in made}
    return pd.DataFrame({name: made[name] if name in made else fixed[name] for name in real.columns}, index=made.index)
