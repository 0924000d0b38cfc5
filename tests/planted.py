"""Planted populations and generators: synthetic rows of which it is known whether they help.

Everybody's risk depends on their age. In the stratum it depends on a panel of biomarkers too, which is measured there
alone; with few persons, a model cannot learn the panel's many weights from real rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthetic.proof import Proof, Question, prove
from synthetic.recipe import Recipe

STRATUM = "sparse"
Rows = pd.DataFrame
One = Callable[[Rows, np.random.Generator, int], Rows]


def types(rows: Rows) -> dict[str, str]:
    """The features' types."""
    return {name: "number" for name in rows if name == "age" or name.startswith("marker_")} | {"is_flagged": "boolean"}


def numbers(rows: Rows) -> list[str]:
    return [name for name, kind in types(rows).items() if kind == "number"]


@dataclass(frozen=True)
class Population:
    """How many markers the panel has, and how strongly age and each marker tell the outcome (0, 0: a coin toss)."""

    markers: int = 80
    by_age: float = 1.0
    by_marker: float = 0.45

    def rows(self, draw: np.random.Generator, count: int, is_sparse: bool) -> Rows:
        panel = [f"marker_{number}" for number in range(1, self.markers + 1)]
        rows = pd.DataFrame(draw.normal(size=(count, 1 + self.markers)), columns=["age", *panel])
        odds = self.by_age * rows["age"]
        if is_sparse:
            odds += self.by_marker * rows[panel].mul([(-1) ** at for at in range(self.markers)]).sum(axis=1)
        else:
            rows[panel] = np.nan
        return rows.assign(is_flagged=is_sparse, outcome=draw.random(count) < 1 / (1 + np.exp(-odds)))

    def cohort(self, seed: int, sparse: int = 120, others: int = 150, a_person: int = 1) -> Rows:
        """The real rows of training and validation, `a_person` rows a person, with who they are."""
        draw = np.random.default_rng(seed)
        parts = []
        for count, is_sparse in ((sparse, True), (others, False)):
            rows = self.rows(draw, count * a_person, is_sparse)
            stratum = STRATUM if is_sparse else "others"
            persons = [f"{stratum}-{number // a_person}" for number in range(len(rows))]
            split = {person: "train" if at % 4 else "validation" for at, person in enumerate(dict.fromkeys(persons))}
            rows.insert(0, "person_key", persons)
            rows.insert(1, "split", rows["person_key"].map(split))
            parts.append(rows.assign(stratum=stratum))
        return pd.concat(parts, ignore_index=True)


def recipe(**changes: object) -> Recipe:
    given = {
        "cohort": "planted",
        "synthesizer": "GaussianCopula",
        "distribution": "gaussian_kde",
        "min_real_rows": 20,
        "min_real_persons": 20,
        "target_rows": 900,
        "seed": 7,
        "namespace": "synthetic",
        "min_scores": {"column_shapes": 0, "column_pair_trends": 0, "new_rows": 0},
        "lift": {"comparators": ["logistic_regression", "oversampled_stratum"]},
    }
    return Recipe.model_validate(given | changes)


def ask(rows: Rows, generator: One, planned: Recipe | None = None) -> Proof:
    """The proof of a generator on a cohort; scores are left out, they have tests of their own."""
    asked, kinds = planned or recipe(), types(rows)

    def sampler(parts: Sequence[Rows], seeds: Sequence[int]) -> list[Rows]:
        draws = (np.random.default_rng(seed) for seed in seeds)
        made = zip(parts, draws, strict=True)
        return [
            generator(part, draw, asked.rows_to_make(len(part)))[[*kinds, "outcome"]].reset_index(drop=True)
            for part, draw in made
        ]

    no_scores = {"column_shapes": 1.0, "column_pair_trends": 1.0, "new_rows": 1.0}
    path = Path("planted.yaml")
    return prove(Question(rows, STRATUM, kinds, asked, path, 0.75, sampler, lambda real, made: no_scores))


def oracle(population: Population) -> One:
    """A generator that knows the truth: new persons of the stratum."""
    return lambda real, draw, count: population.rows(draw, count, True)


def noise(real: Rows, draw: np.random.Generator, count: int) -> Rows:
    """Each column by itself, from the real one with a little noise."""
    made = pd.DataFrame({name: draw.choice(real[name].to_numpy(), count) for name in [*types(real), "outcome"]})
    made[numbers(real)] += draw.normal(0, 0.3, (count, len(numbers(real))))
    return made


def with_outcomes(population: Population, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> One:
    """New persons of the stratum whose outcomes are changed: inverted, tossed, permuted, mislabelled."""

    def made(real: Rows, draw: np.random.Generator, count: int) -> Rows:
        rows = population.rows(draw, count, True)
        return rows.assign(outcome=change(rows["outcome"].to_numpy(bool), draw))

    return made


def copies(jitter: float) -> One:
    """Real rows drawn again, each number moved by a share of its spread."""

    def made(real: Rows, draw: np.random.Generator, count: int) -> Rows:
        rows = real.iloc[draw.integers(len(real), size=count)].reset_index(drop=True)
        for name in numbers(real):
            rows[name] += draw.normal(0, jitter, count) * real[name].std() if jitter else 0
        return rows

    return made


def fitted(real: Rows, draw: np.random.Generator, count: int) -> Rows:
    """A normal distribution fitted to each outcome's rows: an honest generator, cheap enough for hundreds of trials."""
    parts, names = [], numbers(real)
    for outcome, part in real.groupby("outcome"):
        values = part[names].to_numpy()
        share = round(count * len(part) / len(real))
        spread = np.cov(values.T) if len(part) > 2 * len(names) else np.diag(values.var(axis=0) + 0.1)
        rows = pd.DataFrame(draw.multivariate_normal(values.mean(axis=0), spread, share), columns=names)
        parts.append(rows.assign(outcome=outcome, is_flagged=True))
    return pd.concat(parts, ignore_index=True)


def accepted_by_chance(trials: int) -> int:
    """In how many trials an honest generator is accepted, where nothing tells the outcome, so that none can help."""
    asked = recipe(target_rows=80, lift={"comparators": ["logistic_regression"], "redraws": 16})
    nothing = Population(markers=3, by_age=0, by_marker=0)
    cohorts = (nothing.cohort(seed, sparse=60, others=60) for seed in range(trials))
    return sum(ask(rows, fitted, asked).is_accepted for rows in cohorts)
