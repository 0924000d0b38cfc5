"""Does the sample bear a verdict? Counted in persons, before anything is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthetic.proof.finding import Finding, found
from synthetic.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd


def evidence(rows: pd.DataFrame, stratum: str, recipe: Recipe) -> Finding:
    """Persons with and without the outcome among the real `rows` of training and validation, and in the stratum."""
    outcome, inside = rows["outcome"].astype(bool), rows["stratum"] == stratum
    counted = {
        "persons_with_outcome": rows.loc[outcome, "person_key"].nunique(),
        "persons_without_outcome": rows.loc[~outcome, "person_key"].nunique(),
        "stratum_persons_with_outcome": rows.loc[outcome & inside, "person_key"].nunique(),
        "stratum_persons_without_outcome": rows.loc[~outcome & inside, "person_key"].nunique(),
    }
    least = recipe.evidence.model_dump()
    short = [f"{counted[name]} {name.replace('_', ' ')} of at least {least[name]}" for name in least]
    missing = [text for name, text in zip(least, short, strict=True) if counted[name] < least[name]]
    if missing:
        return Finding("evidence", "cannot judge", ", ".join(missing), counted)
    return found("evidence", True, ", ".join(short), **counted)
