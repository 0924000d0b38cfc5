"""How like the real rows the synthetic ones are, and how near to single persons: SDMetrics 0.32."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from synthetic.generator import TABLE, metadata, varying

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 20
MIN_HOLDOUT_ROWS = 10


def quality(real: pd.DataFrame, other: pd.DataFrame, types: dict[str, str]) -> dict[str, float | None]:
    """SDMetrics' quality report of `other` against `real`, 0 to 1: columns' shapes and pairs' trends.

    A column that has one value in `real` has no shape, and stays out. None where there is nothing to compare.
    """
    from scipy.stats import ConstantInputWarning
    from sdv.evaluation import evaluate_quality
    from sdv.metadata import Metadata

    names = varying(real)
    described = Metadata.load_from_dict(metadata(real[names], types))
    with warnings.catch_warnings():
        # A number with one known value in one of the sets correlates with nothing: SDMetrics leaves the pair out.
        warnings.simplefilter("ignore", ConstantInputWarning)
        report = evaluate_quality({TABLE: real[names]}, {TABLE: other[names]}, described, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    return {
        key: None if math.isnan(scores[name]) else round(float(scores[name]), 4)
        for key, name in (("column_shapes", "Column Shapes"), ("column_pair_trends", "Column Pair Trends"))
    }


def new_rows(real: pd.DataFrame, made: pd.DataFrame, types: dict[str, str]) -> float:
    """The share of synthetic rows that match no real one to within 1 % in every column (SDMetrics NewRowSynthesis)."""
    from sdmetrics.single_table import NewRowSynthesis

    return round(float(NewRowSynthesis.compute(real, made, metadata(real, types)["tables"][TABLE])), 4)


def closer_to_training(
    train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame, types: dict[str, str], seed: int
) -> float | None:
    """The share of synthetic rows that lie closer to a training row than to any holdout row; 0.5 is no memory at all.

    A larger set lies closer by its size alone, so the larger one is cut to the smaller one's size, `DRAWS` times, and
    the shares are averaged (SDMetrics DCROverfittingProtection compares them uncut). None where a set is too small.
    """
    from sdmetrics.single_table import DCROverfittingProtection

    size = min(len(train), len(holdout))
    if size < MIN_HOLDOUT_ROWS:
        return None
    described = metadata(train, types)
    shares = []
    for draw in range(DRAWS):
        cut = [rows.sample(size, random_state=seed + draw) for rows in (train, holdout)]
        found = DCROverfittingProtection.compute_breakdown(cut[0], made, cut[1], described, TABLE)
        shares.append(found["synthetic_data_percentages"]["closer_to_training"])
    return round(float(sum(shares) / DRAWS), 4)


def score(
    train: pd.DataFrame, holdout: pd.DataFrame, made: pd.DataFrame, types: dict[str, str], seed: int
) -> dict[str, Any]:
    """Every score of synthetic rows against the stratum's real training rows, and against rows never fitted on.

    `real_holdout` is the quality that the holdout's real rows reach against the training rows: with few rows even real
    data falls well short of 1, and synthetic data cannot be asked for more. None where there are too few of them.
    """
    enough = len(holdout) >= MIN_HOLDOUT_ROWS
    return {
        **quality(train, made, types),
        "new_rows": new_rows(train, made, types),
        "closer_to_training": closer_to_training(train, holdout, made, types, seed),
        "real_holdout": quality(train, holdout, types) if enough else None,
        "holdout_rows": len(holdout),
    }
