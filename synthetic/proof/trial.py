"""The trial: redraw by redraw, a model with the synthetic rows against the best one without, on persons held out.

Each redraw draws anew who is in training, fits the generator on the stratum's training rows, samples, chooses the best
real-only model by folds inside the training part, trains, and judges on the persons held out. Four models are judged:
the best on real rows alone; it with the synthetic rows; it with the same rows, each column shuffled by itself; and
every declared comparator. The real rows are those of training and validation: the test split is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthetic.proof.learners import Encoder, Model, Training, tuned
from synthetic.proof.redraws import redraws
from synthetic.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Scores = np.ndarray

Sampler = Callable[[Sequence["pd.DataFrame"], Sequence[int]], Sequence["pd.DataFrame"]]
"""Synthetic rows for each of some training parts: the stratum's real rows of each, and a seed for each."""

FIRST = 8
"""Redraws after which a trial ends that shows no gain at all: the rest could hardly turn it."""


@dataclass(frozen=True)
class Redraw:
    """The risks of one redraw's held-out rows, by model."""

    outcome: Scores
    inside: Scores
    real: Scores
    augmented: Scores
    permuted: Scores
    comparators: dict[str, Scores]
    chosen: str

    def area(self, name: str) -> Scores:
        """Which of the rows belong to an area: `overall` or `stratum`."""
        return self.inside if name == "stratum" else self.inside | True


@dataclass
class Trial:
    """The redraws made, of how many, and the persons held out by persons trained on."""

    planned: int
    held_out: float
    persons: int
    redraws: list[Redraw] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return len(self.redraws) == self.planned


def try_redraws(
    rows: pd.DataFrame,
    stratum: str,
    types: dict[str, str],
    recipe: Recipe,
    sampler: Sampler,
    share: float,
    keep_on: Callable[[Trial], bool],
) -> Trial:
    """Judge by redraws that train on a `share` of the persons; `keep_on` is asked once, after the first `FIRST`.

    `rows` are the real rows of training and validation, `types` those of the features.
    """
    from threadpoolctl import threadpool_limits

    drawn = list(redraws(rows, stratum, share, recipe.lift.redraws, recipe.seed))
    persons = rows["person_key"]
    ratio = sum(persons.iloc[held].nunique() / persons.iloc[fit].nunique() for fit, held in drawn) / len(drawn)
    trial = Trial(len(drawn), ratio, persons.nunique())
    encoder = Encoder.of(rows, types)
    with threadpool_limits(1):  # small matrices: threads only wait for each other
        for batch in (range(FIRST), range(FIRST, len(drawn))):
            if batch.start and not keep_on(trial):
                break
            trial.redraws += _batch(rows, stratum, recipe, sampler, encoder, [(at, *drawn[at]) for at in batch])
    return trial


def _batch(
    rows: pd.DataFrame,
    stratum: str,
    recipe: Recipe,
    sampler: Sampler,
    encoder: Encoder,
    drawn: Sequence[tuple[int, Scores, Scores]],
) -> Iterator[Redraw]:
    inside = (rows["stratum"] == stratum).to_numpy(bool)
    sources = [rows.iloc[fit[inside[fit]]].reset_index(drop=True) for _, fit, _ in drawn]
    seeds = [(recipe.seed + 1 + at) % 2**32 for at, _, _ in drawn]
    real = Training(encoder.transform(rows), rows["outcome"].to_numpy(bool), inside)
    for made, seed, source, (_, fit, held) in zip(sampler(sources, seeds), seeds, sources, drawn, strict=True):
        training, extra = real.at(fit), recipe.rows_to_make(len(source))
        best, tried = tuned(training, rows.iloc[fit], stratum, recipe.lift, extra, seed)

        def risk(model: Model, on: Training, extra: int = extra, seed: int = seed, held: Scores = held) -> Scores:
            return model.fit(on, extra, seed)(real.features[held])

        with_synthetic, comparators = best.with_synthetic(), {model: risk(model, training) for model in tried}
        yield Redraw(
            outcome=real.outcome[held],
            inside=inside[held],
            real=comparators[best],
            augmented=risk(with_synthetic, training.with_rows(_encoded(made, encoder))),
            permuted=risk(with_synthetic, training.with_rows(_encoded(permuted(made, seed), encoder))),
            comparators={_label(model): risks for model, risks in comparators.items()},
            chosen=_label(best),
        )


def permuted(made: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows with each column shuffled by itself: the columns' distributions stay, what joins them goes."""
    import numpy as np

    draw = np.random.default_rng(seed)
    shuffled = made.copy()
    for name in shuffled.columns:
        shuffled[name] = shuffled[name].to_numpy()[draw.permutation(len(made))]
    return shuffled


def _encoded(made: pd.DataFrame, encoder: Encoder) -> Training:
    import numpy as np

    features = encoder.transform(made) if len(made) else np.empty((0, encoder.width))
    return Training(features, made["outcome"].to_numpy(bool), np.ones(len(made), bool))


def _label(model: Model) -> str:
    """A comparator's name: a treatment is one comparator, whatever learner it treats."""
    return f"best learner, {model.treatment.replace('_', ' ')}" if model.treatment else model.name
