"""The checks of the proof that read the rows themselves: near copies, scores, clinical relations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohortlake.core.errors import CatalogError
from synthetic.proof.finding import Finding, found
from synthetic.proof.learners import Encoder
from synthetic.recipe import Recipe, Relation

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NEAR = 0.5
"""A row is a near copy where its distance to the nearest real row is less than this share of the distance between that
real row and the nearest one of another person: it is then that person rather than a new one."""


def near_copies(real: pd.DataFrame, made: pd.DataFrame, types: dict[str, str], recipe: Recipe) -> Finding:
    """Whether few `made` rows lie so near to one of the stratum's `real` rows that they are that person (`NEAR`).

    Distances are over the features, each number in units of its spread. The outcome does not count: a real person's
    features under another outcome would be that person still.
    """
    import numpy as np

    encoder = Encoder.of(real, types)
    rows, other = encoder.transform(real), encoder.transform(made)
    middle, spread = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
    spread[~(spread > 0)] = 1.0
    rows, other = (np.nan_to_num((part - middle) / spread) for part in (rows, other))
    persons = real["person_key"].to_numpy()
    between = _distances(rows, rows)
    between[persons[:, None] == persons[None, :]] = np.inf
    apart = _distances(other, rows)
    nearest = apart.argmin(axis=1)
    distance = apart[np.arange(len(made)), nearest]
    near = int(((distance < NEAR * between.min(axis=1)[nearest]) | (distance == 0)).sum())
    share, most = near / len(made), recipe.max_near_copies
    text = f"{near} of {len(made)} rows lie twice as near to a real row as any other person does, at most {most:.0%}"
    return found("near copies", share <= most, text, rows=near, share=round(share, 4))


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(one, other)


def scored(scores: dict[str, Any], recipe: Recipe) -> Finding:
    """Whether the scores (SDMetrics) reach the recipe's."""
    least = recipe.min_scores.model_dump()
    short = [f"{name} {scores[name]} < {least[name]}" for name in least if (scores[name] or 0) < least[name]]
    told = ", ".join(short) or ", ".join(f"{name} {scores[name]}" for name in least)
    return found("likeness", not short, told, **{name: scores[name] for name in least})


def broken(rows: pd.DataFrame, relation: Relation, path: Path) -> float:
    """The share of rows, or of pairs of rows, that break a relation. Raises CatalogError for SQL that cannot be run."""
    if relation.holds is not None:
        return float(1 - holding(rows, [relation.holds], path).mean()) if len(rows) else 0.0
    first, second = relation.rises or relation.falls or ["", ""]
    return _discordant(rows[first].to_numpy(float), rows[second].to_numpy(float), 1 if relation.rises else -1)


def _discordant(first: np.ndarray, second: np.ndarray, sign: int) -> float:
    """The share of pairs in the wrong order, of those with other values of both."""
    import numpy as np

    known = ~(np.isnan(first) | np.isnan(second))
    first, second = first[known], second[known]
    order = np.sign(first[:, None] - first) * np.sign(second[:, None] - second) * sign
    pairs = np.count_nonzero(order)
    return float(np.count_nonzero(order < 0) / pairs) if pairs else 0.0


def holding(rows: pd.DataFrame, conditions: list[str], path: Path) -> np.ndarray:
    """Whether each SQL condition (across) holds of each row (down); null holds. Raises CatalogError for wrong SQL."""
    import duckdb
    import numpy as np

    if not conditions:
        return np.ones((len(rows), 0), bool)
    columns = ", ".join(f"coalesce(CAST(({text}) AS BOOLEAN), true)" for text in conditions)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("given", rows)
        try:
            answered = connection.execute(f"SELECT {columns} FROM given").fetchall()  # noqa: S608
        except duckdb.Error as error:
            # Of a wrong declaration DuckDB's words are about the declaration; of a wrong value they hold the value.
            is_declared = isinstance(error, duckdb.BinderException | duckdb.ParserException | duckdb.CatalogException)
            why = str(error).splitlines()[0] if is_declared else f"{type(error).__name__}, of a row's value"
            raise CatalogError(
                f"{path}: {why}",
                "Constraints and relations are SQL (DuckDB) over the cohort's features and outcome.",
            ) from error
    return np.array(answered, bool).reshape(len(rows), len(conditions))


def relations_of_real(rows: pd.DataFrame, recipe: Recipe, path: Path) -> Finding:
    """Whether the real training rows keep what the recipe declares; where they do not, the recipe is wrong."""
    shares = {relation.text: broken(rows, relation, path) for relation in recipe.relations}
    wrong = [
        f"{path.name} declares {relation.text!r}, which {shares[relation.text]:.1%} of the real training "
        f"{_unit(relation)} break, more than at_most {relation.at_most:.1%}"
        for relation in recipe.relations
        if shares[relation.text] > relation.at_most
    ]
    told = "; ".join(wrong) or _kept(shares)
    return found("relations of real rows", not wrong, told, **_rounded(shares))


def relations(real: pd.DataFrame, made: pd.DataFrame, recipe: Recipe, path: Path) -> Finding:
    """Whether `made` rows break no relation more often than the `real` training rows do."""
    shares, wrong = {}, []
    for relation in recipe.relations:
        share = shares[relation.text] = broken(made, relation, path)
        theirs = broken(real, relation, path)
        if share > theirs + (0 if relation.holds is not None else relation.margin):
            wrong.append(
                f"{relation.text!r} is broken by {share:.1%} of {_unit(relation)}, by {theirs:.1%} of the real"
            )
    return found("relations", not wrong, "; ".join(wrong) or _kept(shares), **_rounded(shares))


def _unit(relation: Relation) -> str:
    return "rows" if relation.holds is not None else "pairs of rows"


def _kept(shares: dict[str, float]) -> str:
    return ", ".join(f"{name!r} broken by {share:.1%}" for name, share in shares.items()) or "none is declared"


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
