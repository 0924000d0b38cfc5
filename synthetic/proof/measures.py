"""Measures of risks, and the interval of a mean difference over redraws."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    Scores = np.ndarray


def auroc(outcome: Scores, risk: Scores) -> float:
    """The chance that a row with the outcome has a higher risk than one without (Hanley & McNeil 1982); 1 is best."""
    from scipy.stats import rankdata

    events = int(outcome.sum())
    ranks = rankdata(risk)[outcome].sum()
    return float((ranks - events * (events + 1) / 2) / (events * (len(outcome) - events)))


def brier(outcome: Scores, risk: Scores) -> float:
    """The mean squared distance of risk and outcome (Brier 1950); 0 is best."""
    return float(((risk - outcome) ** 2).mean())


def recalibration(outcome: Scores, risk: Scores) -> tuple[float, float]:
    """The slope (1 is best) and intercept (calibration in the large, 0 is best) of risks against outcomes.

    Logistic recalibration on the log odds of the risk (Cox 1958); the intercept is that of a slope of 1.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import expit, logit
    from sklearn.linear_model import LogisticRegression

    odds = logit(np.clip(risk, 1e-6, 1 - 1e-6))
    slope = LogisticRegression(C=1e6, max_iter=1000).fit(odds[:, None], outcome).coef_[0, 0]
    intercept = brentq(lambda shift: expit(odds + shift).sum() - outcome.sum(), -30, 30)
    return float(slope), float(intercept)


def corrected_interval(
    differences: Sequence[float], held_out: float, level: float = 0.95
) -> tuple[float, float, float]:
    """The mean difference over redraws, and its interval (Nadeau & Bengio, Machine Learning 52, 2003).

    `held_out` is the number of persons held out by persons trained on. Redraws share persons, so their spread alone
    would make the interval too narrow; the correction adds that share of the variance. Since each redraw trains,
    samples and judges anew, the interval carries the luck of all three.
    """
    import numpy as np
    from scipy.stats import t

    values = np.asarray(differences)
    reach = t.ppf((1 + level) / 2, len(values) - 1) * np.sqrt((1 / len(values) + held_out) * values.var(ddof=1))
    return float(values.mean()), float(values.mean() - reach), float(values.mean() + reach)
