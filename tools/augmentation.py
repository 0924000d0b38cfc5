"""What was tried: the proof of synthetic rows on real and on planted cohorts, as the table of docs/augmentation.md.

    python -m tools.augmentation [--data FOLDER] [--seeds 1 2 3]

The real cohort is the heart disease registry of four hospitals (UCI; Janosi, Steinbrunn, Pfisterer & Detrano 1989): 920
people, each a row. The stratum is one hospital, or the women; the outcome is any narrowing of a coronary artery.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthetic import generator
from synthetic.proof import Proof, Question, prove
from synthetic.recipe import Recipe
from synthetic.scores import score

DATA = Path(__file__).parents[2] / "shared/data"
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
NUMBERS = ["age", "trestbps", "chol", "thalach", "oldpeak"]
LABELS = ["sex", "cp", "fbs", "restecg", "exang"]
TYPES = dict.fromkeys(NUMBERS, "number") | dict.fromkeys([*LABELS, "hospital"], "category")
HEAD = ("stratum", "seed", "persons (with the outcome)", "verdict", "lift in the stratum (95 %)", "why not")


def registry(data: Path) -> pd.DataFrame:
    """A row a person: features, `hospital`, outcome. A cholesterol or blood pressure of 0 is none (docs of the set)."""
    parts = [
        pd.read_csv(data / f"uci_heart_disease/processed.{name}.data", na_values="?").assign(hospital=name)
        for name in HOSPITALS
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows[["chol", "trestbps"]] = rows[["chol", "trestbps"]].replace(0, np.nan)
    rows[LABELS] = rows[LABELS].apply(
        lambda column: column.map(lambda value: "unknown" if value != value else f"{value:g}")
    )
    rows["outcome"] = rows["target"] > 0
    rows["person_key"] = [f"person-{number}" for number in range(len(rows))]
    return rows.astype(dict.fromkeys(NUMBERS, float))[["person_key", *TYPES, "outcome"]]


@dataclass(frozen=True)
class Tried:
    """One proof: of which stratum, of how many persons, with which seed."""

    stratum: str
    seed: int
    persons: int
    events: int
    proof: Proof

    @property
    def row(self) -> tuple[Any, ...]:
        lift = self.proof.facts.get("lift", {}).get("stratum", {}).get("auroc")
        told = f"{lift['difference']:+.3f} ({lift['interval'][0]:+.3f} to {lift['interval'][1]:+.3f})" if lift else "-"
        refused = ", ".join(finding.check for finding in self.proof.findings if not finding.holds)
        if lift and self.proof.facts["redraws"] < self.proof.facts["planned_redraws"]:
            told += f", {self.proof.facts['redraws']} redraws"
        people = f"{self.persons} ({self.events})"
        return self.stratum, self.seed, people, self.proof.told["verdict"], told, refused or "-"


def recipe(seed: int, factor: float) -> Recipe:
    return Recipe.model_validate(
        {
            "cohort": "heart",
            "synthesizer": "GaussianCopula",
            "distribution": "gaussian_kde",
            "min_real_rows": 20,
            "min_real_persons": 20,
            "factor": factor,
            "seed": seed,
            "namespace": "synthetic",
            "min_scores": {"column_shapes": 0.7, "column_pair_trends": 0.5, "new_rows": 0.9},
        }
    )


def attempt(rows: pd.DataFrame, stratum: str, seed: int, factor: float, keep: float) -> Tried:
    """The proof for a stratum of which only a share `keep` of the persons is known, with a split of its own."""
    draw = np.random.default_rng(seed)
    inside = rows["stratum"] == stratum
    rows = rows[~inside | (draw.random(len(rows)) < keep)]
    split = draw.choice(["train", "validation", "test"], len(rows), p=[0.6, 0.2, 0.2])
    known = rows.assign(split=split)[split != "test"].reset_index(drop=True)
    planned, kinds = recipe(seed, factor), TYPES | {"outcome": "boolean"}

    def sampler(parts: Sequence[pd.DataFrame], seeds: Sequence[int]) -> list[pd.DataFrame]:
        seeded = (planned.model_copy(update={"seed": one}) for one in seeds)
        return [
            generator.sample(part[list(kinds)], kinds, one, planned.rows_to_make(len(part)))
            for part, one in zip(parts, seeded, strict=True)
        ]

    held = known[(known["split"] == "validation") & (known["stratum"] == stratum)]

    def scored(real: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
        return score(real[list(kinds)], held[list(kinds)], made, kinds, seed)

    question = Question(known, stratum, TYPES, planned, Path("heart.yaml"), 0.75, sampler, scored)
    proof = prove(question)
    judged = known[known["stratum"] == stratum]
    name = f"{stratum}, {keep:.0%} of it known" if keep < 1 else stratum
    return Tried(f"{name}, {factor:g} a real row", seed, len(judged), int(judged["outcome"].sum()), proof)


def attempts(rows: pd.DataFrame, seeds: Sequence[int]) -> Iterator[Tried]:
    by_hospital = rows.assign(stratum=rows["hospital"])
    women = rows.assign(stratum=np.where(rows["sex"] == "0", "women", "men"))
    for seed in seeds:
        for name in HOSPITALS:
            yield attempt(by_hospital, name, seed, 1.0, 1.0)
        yield attempt(by_hospital, "cleveland", seed, 3.0, 0.2)
        yield attempt(women, "women", seed, 1.0, 1.0)
        yield attempt(women, "women", seed, 3.0, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    for row in (HEAD, ["---"] * len(HEAD)):
        print("| " + " | ".join(row) + " |")
    for tried in attempts(registry(given.data), given.seeds):
        print("| " + " | ".join(map(str, tried.row)) + " |", flush=True)


if __name__ == "__main__":
    main()
