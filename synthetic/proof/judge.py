"""What the trial shows: lift, gain over shuffled columns, calibration, no harm in the other area."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from synthetic.proof.finding import Finding, found
from synthetic.proof.measures import auroc, brier, corrected_interval, recalibration
from synthetic.proof.trial import Redraw, Trial
from synthetic.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np

    Scores = np.ndarray
    Measure = Callable[[Scores, Scores], float]

AREAS = ("stratum", "overall")
MEASURES: dict[str, tuple[Measure, int]] = {"auroc": (auroc, 1), "brier": (brier, -1)}
"""Each measure, and the sign of an improvement."""


def _each(trial: Trial, area: str, measure: Measure, of: Callable[[Redraw], Scores]) -> list[float]:
    """A measure of a model in each redraw, where the area's held-out outcomes vary."""
    rows = ((redraw, redraw.area(area)) for redraw in trial.redraws)
    return [
        measure(redraw.outcome[at], of(redraw)[at]) for redraw, at in rows if 0 < redraw.outcome[at].sum() < at.sum()
    ]


def compared(trial: Trial, area: str, measure: str, without: Callable[[Redraw], Scores]) -> dict[str, Any]:
    """A measure without and with synthetic rows, their difference and its 95 % interval, and a verdict."""
    score, sign = MEASURES[measure]
    real, both = (_each(trial, area, score, of) for of in (without, lambda redraw: redraw.augmented))
    mean, low, high = corrected_interval([b - a for a, b in zip(real, both, strict=True)], trial.held_out)
    better, worse = (low > 0, high < 0) if sign > 0 else (high < 0, low > 0)
    return {
        "real": round(sum(real) / len(real), 4),
        "augmented": round(sum(both) / len(both), 4),
        "difference": round(mean, 4),
        "interval": [round(low, 4), round(high, 4)],
        "verdict": "helps" if better else "hurts" if worse else "inconclusive",
    }


def _told(numbers: dict[str, Any]) -> str:
    low, high = numbers["interval"]
    return f"{numbers['difference']:+.4f} ({low:+.4f} to {high:+.4f})"


def keep_on(trial: Trial, recipe: Recipe) -> bool:
    """Whether the redraws so far leave a chance: some gain over real rows alone, and over shuffled columns."""
    if _too_few(trial):
        return False
    area = recipe.lift.primary
    against = (lambda redraw: redraw.real), (lambda redraw: redraw.permuted)
    return all(compared(trial, area, "auroc", without)["difference"] > 0 for without in against)


def _too_few(trial: Trial) -> list[Finding]:
    """What is found where the outcome seldom varies among the stratum's rows held out: there is nothing to compare."""
    varies = sum(0 < redraw.outcome[redraw.inside].sum() < redraw.inside.sum() for redraw in trial.redraws)
    if 2 * varies >= len(trial.redraws):
        return []
    told = f"the outcome varies among the stratum's rows held out in {varies} of {len(trial.redraws)} redraws"
    return [Finding("lift", "cannot judge", told, {"varies": int(varies)})]


def judge(trial: Trial, recipe: Recipe) -> tuple[list[Finding], dict[str, Any]]:
    """The findings of a trial, and the facts beside them: every measure, and every comparator's."""
    if few := _too_few(trial):
        return few, {}
    area = recipe.lift.primary
    lift: dict[str, Any] = {
        name: {measure: compared(trial, name, measure, lambda redraw: redraw.real) for measure in MEASURES}
        for name in AREAS
    }
    comparators = {
        name: {
            area: round(sum(scores) / len(scores), 4)
            for area in AREAS
            if (scores := _each(trial, area, auroc, lambda redraw, name=name: redraw.comparators[name]))
        }
        for name in trial.redraws[0].comparators
    }
    facts = {
        "primary": area,
        "redraws": len(trial.redraws),
        "planned_redraws": trial.planned,
        "persons": trial.persons,
        "lift": lift,
        "comparators": comparators,
        "chosen": {name: sum(redraw.chosen == name for redraw in trial.redraws) for name in comparators},
    }
    early = "" if trial.is_whole else f", after {len(trial.redraws)} of {trial.planned} redraws, which left no chance"
    return [
        _lift(lift[area]["auroc"], comparators, area, early),
        _permuted(trial, area, early),
        _calibration(trial, lift[area]["brier"], recipe),
        _no_harm(lift, recipe),
    ], facts


def _lift(numbers: dict[str, Any], comparators: dict[str, dict[str, float]], area: str, early: str) -> Finding:
    """Above zero against the model chosen in each redraw, and no comparator better by itself."""
    name, best = max(((name, found.get(area, 0.0)) for name, found in comparators.items()), key=lambda pair: pair[1])
    text = f"AUROC {_told(numbers)} over the best real-only model, {area}{early}"
    if is_shown := numbers["interval"][0] > 0 and not early:
        is_shown = best <= numbers["augmented"]
        text += "" if is_shown else f"; but {name} alone reaches {best}, more than {numbers['augmented']}"
    return found("lift", is_shown, text, **numbers)


def _permuted(trial: Trial, area: str, early: str) -> Finding:
    numbers = compared(trial, area, "auroc", lambda redraw: redraw.permuted)
    text = f"AUROC {_told(numbers)} over the same rows with each column shuffled, {area}{early}"
    return found("column-permuted", numbers["interval"][0] > 0 and not early, text, **numbers)


def _calibration(trial: Trial, numbers: dict[str, Any], recipe: Recipe) -> Finding:
    """Brier score by redraw; slope and intercept over the risks of all redraws, for one redraw has too few events."""
    import numpy as np

    margin, area = recipe.lift.calibration, recipe.lift.primary
    outcome = np.concatenate([redraw.outcome[redraw.area(area)] for redraw in trial.redraws])
    risks = [
        np.concatenate([of(redraw)[redraw.area(area)] for redraw in trial.redraws])
        for of in (lambda redraw: redraw.real, lambda redraw: redraw.augmented)
    ]
    (slope, intercept), (with_slope, with_intercept) = (recalibration(outcome, risk) for risk in risks)
    wrong = []
    if numbers["interval"][1] > margin.brier:
        wrong.append(f"Brier score may be worse by {numbers['interval'][1]:.4f}, more than {margin.brier}")
    if abs(with_slope - 1) > abs(slope - 1) + margin.slope:
        wrong.append(f"slope {with_slope:.2f} is farther from 1 than {slope:.2f}, by more than {margin.slope}")
    if abs(with_intercept) > abs(intercept) + margin.intercept:
        wrong.append(
            f"intercept {with_intercept:.2f} is farther from 0 than {intercept:.2f}, by more than {margin.intercept}"
        )
    kept = f"Brier {_told(numbers)}, slope {slope:.2f} → {with_slope:.2f}, "
    kept += f"intercept {intercept:.2f} → {with_intercept:.2f}"
    numbers = {"brier": numbers["interval"], "slope": [round(slope, 4), round(with_slope, 4)]}
    numbers["intercept"] = [round(intercept, 4), round(with_intercept, 4)]
    return found("calibration", not wrong, "; ".join(wrong) or kept, **numbers)


def _no_harm(lift: dict[str, Any], recipe: Recipe) -> Finding:
    area = next(name for name in AREAS if name != recipe.lift.primary)
    numbers, most = lift[area]["auroc"], recipe.lift.max_loss_elsewhere
    text = f"AUROC {_told(numbers)} {area}, a loss of at most {most}"
    return found("no harm elsewhere", numbers["interval"][1] >= -most, text, **numbers)
