"""Redraws: who trains and who is held out, drawn anew by persons, as the release's own split might have been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Rows = np.ndarray


def _kinds(rows: pd.DataFrame, stratum: str) -> pd.Series:
    """Each person's kind, whose shares a redraw keeps: in the stratum or not, ever with the outcome or never."""
    inside = (rows["stratum"] == stratum).groupby(rows["person_key"]).any()
    outcome = rows["outcome"].astype(bool).groupby(rows["person_key"]).any()
    return inside.astype(int) * 2 + outcome.astype(int)


def redraws(rows: pd.DataFrame, stratum: str, share: float, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """`count` times the positions of the rows to train on (of a `share` of the persons) and of those held out.

    No person is on both sides; each kind of person is on each, where there are two of it.
    """
    import numpy as np

    kinds = _kinds(rows, stratum)
    persons = rows["person_key"].to_numpy()
    draw = np.random.default_rng(seed)
    for _ in range(count):
        training: list[str] = []
        for kind in sorted(kinds.unique()):
            members = draw.permutation(kinds.index[kinds == kind].to_numpy(dtype=object))
            size = round(share * len(members))
            training += list(members[: min(max(size, 1), max(len(members) - 1, 1))])
        chosen = np.isin(persons, np.array(training, dtype=persons.dtype))
        yield np.flatnonzero(chosen), np.flatnonzero(~chosen)


def folds(rows: pd.DataFrame, stratum: str, count: int, seed: int) -> list[tuple[Rows, Rows]]:
    """`count` folds by persons, each kind dealt out evenly: the positions to train on and to tune on."""
    import numpy as np

    kinds = _kinds(rows, stratum)
    draw = np.random.default_rng(seed)
    dealt = np.concatenate(
        [draw.permutation(kinds.index[kinds == kind].to_numpy(dtype=object)) for kind in sorted(kinds.unique())]
    )
    fold_of = {person: number % count for number, person in enumerate(dealt)}
    fold = rows["person_key"].map(fold_of).to_numpy()
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(count)]
