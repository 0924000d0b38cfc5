"""Does it help? A first number: one model, trained without and with the synthetic rows, judged on real validation rows.

The model is a logistic regression, which some hundred rows can bear. Intervals are 95 % percentile bootstrap intervals
of the paired difference; persons are drawn, not rows, since a person's rows are alike (Efron & Tibshirani, "An
Introduction to the Bootstrap", 1993). They carry the chance of the validation split, not that of the training rows or
of the sampling seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Scores = np.ndarray

DRAWS = 500
MIN_PERSONS = 10
"""The least persons with, and without, the outcome for a verdict: the interval of fewer is too narrow."""


def auroc(outcome: Scores, risk: Scores) -> float:
    """The chance that a row with the outcome has a higher risk than one without (Hanley & McNeil 1982); 1 is best."""
    from scipy.stats import rankdata

    events = int(outcome.sum())
    ranks = rankdata(risk)[outcome].sum()
    return float((ranks - events * (events + 1) / 2) / (events * (len(outcome) - events)))


def brier(outcome: Scores, risk: Scores) -> float:
    """The mean squared distance of risk and outcome (Brier 1950); 0 is best."""
    return float(((risk - outcome) ** 2).mean())


MEASURES = {"auroc": (auroc, 1), "brier": (brier, -1)}
"""Each measure, and the sign of an improvement."""


def predicted_risk(train: pd.DataFrame, on: pd.DataFrame, types: dict[str, str]) -> Scores:
    """The outcome's risk for the rows `on`, by a model trained on `train`; `types` are the features'."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name, kind in types.items() if kind == "number" and train[name].notna().any()]
    labels = [name for name, kind in types.items() if kind != "number"]
    impute = SimpleImputer(strategy="median", add_indicator=True)
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(impute, StandardScaler()), numbers), (OneHotEncoder(handle_unknown="ignore"), labels)
        ),
        LogisticRegression(max_iter=1000),
    )
    # A missing category or boolean is a category of its own.
    model.fit(train[numbers + labels].astype(dict.fromkeys(labels, str)), train["outcome"].astype(bool))
    return model.predict_proba(on[numbers + labels].astype(dict.fromkeys(labels, str)))[:, 1]


def _draws(persons: Scores, outcome: Scores, seed: int) -> list[Scores]:
    """The rows of each bootstrap draw of persons; draws in which the outcome does not vary are drawn again."""
    import numpy as np

    rows_of = [np.flatnonzero(persons == person) for person in np.unique(persons)]
    draw = np.random.default_rng(seed)
    found: list[Scores] = []
    while len(found) < DRAWS:
        rows = np.concatenate([rows_of[at] for at in draw.integers(len(rows_of), size=len(rows_of))])
        if 0 < outcome[rows].sum() < len(rows):
            found.append(rows)
    return found


def compare(rows: pd.DataFrame, without: Scores, augmented: Scores, seed: int) -> dict[str, Any]:
    """The measures of two models' risks on the same rows, their difference, and a verdict.

    `helps` or `hurts` where the interval of the difference leaves out 0, else `inconclusive`; so too where too few
    persons have, or lack, the outcome.
    """
    import numpy as np

    outcome, persons = rows["outcome"].to_numpy(bool), rows["person_key"].to_numpy()
    with_outcome, without_outcome = len(np.unique(persons[outcome])), len(np.unique(persons[~outcome]))
    found: dict[str, Any] = {"rows": len(rows), "persons": len(np.unique(persons)), "events": int(outcome.sum())}
    if min(with_outcome, without_outcome) < MIN_PERSONS:
        why = f"{with_outcome} persons with the outcome and {without_outcome} without, of at least {MIN_PERSONS} each"
        return {**found, "verdict": "inconclusive", "why": why}
    draws = _draws(persons, outcome, seed)
    for name, (measure, sign) in MEASURES.items():
        differences = [measure(outcome[at], augmented[at]) - measure(outcome[at], without[at]) for at in draws]
        low, high = (float(value) for value in np.percentile(differences, [2.5, 97.5]))
        better, worse = (low > 0, high < 0) if sign > 0 else (high < 0, low > 0)
        real, both = measure(outcome, without), measure(outcome, augmented)
        found[name] = {
            "real": round(real, 4),
            "augmented": round(both, 4),
            "difference": round(both - real, 4),
            "interval": [round(low, 4), round(high, 4)],
            "verdict": "helps" if better else "hurts" if worse else "inconclusive",
        }
    verdicts = {found[name]["verdict"] for name in MEASURES} - {"inconclusive"}
    return {**found, "verdict": verdicts.pop() if len(verdicts) == 1 else "inconclusive"}


def lift(
    train: pd.DataFrame, made: pd.DataFrame, validation: pd.DataFrame, stratum: str, types: dict[str, str], seed: int
) -> dict[str, Any]:
    """Training with the synthetic rows against training without, on real validation rows: all, and the stratum's."""
    import pandas as pd

    inside = (validation["stratum"] == stratum).to_numpy(bool)
    if train["outcome"].nunique() < 2 or validation.empty:
        why = "the outcome does not vary in training" if len(validation) else "there are no validation rows"
        return {"overall": {"verdict": "inconclusive", "why": why}, "stratum": {"verdict": "inconclusive", "why": why}}
    without = predicted_risk(train, validation, types)
    augmented = predicted_risk(pd.concat([train, made], ignore_index=True), validation, types)
    return {
        "overall": compare(validation, without, augmented, seed),
        "stratum": compare(validation[inside], without[inside], augmented[inside], seed),
    }
