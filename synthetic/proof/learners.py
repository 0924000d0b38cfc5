"""The models that synthetic rows have to beat: trained on real rows alone, tuned, chosen where nobody is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthetic.proof.measures import auroc
from synthetic.proof.redraws import folds
from synthetic.recipe import Lift

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Matrix = np.ndarray

STRENGTHS = (0.01, 0.1, 1.0)
"""Inverse strengths of the logistic regression's ridge penalty, tuned like everything else."""
TUNING_FOLDS = 3
MIN_TUNING_ROWS = 10
"""The least rows with, and without, the outcome for the primary area to choose the model; else all rows choose."""


@dataclass(frozen=True)
class Encoder:
    """Features as numbers: categories one-hot (missing is a category), numbers as they are beside a mark of missing."""

    transform: Callable[[pd.DataFrame], Matrix]
    width: int

    @classmethod
    def of(cls, rows: pd.DataFrame, types: dict[str, str]) -> Encoder:
        """An encoder that knows the categories of the real `rows`; `types` are the features'."""
        from sklearn.compose import make_column_transformer
        from sklearn.impute import MissingIndicator
        from sklearn.preprocessing import OneHotEncoder

        numbers = [name for name, kind in types.items() if kind == "number"]
        labels = [name for name, kind in types.items() if kind != "number"]
        # What is missing together, such as a panel, is one mark.
        patterns = {tuple(rows[name].isna()): name for name in reversed(numbers) if rows[name].isna().any()}
        gaps = sorted(patterns.values())
        encoder = make_column_transformer(
            ("passthrough", numbers),
            (MissingIndicator(features="all"), gaps),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False), labels),
        )

        def plain(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[numbers + labels].astype(dict.fromkeys(numbers, float) | dict.fromkeys(labels, str))

        width = encoder.fit_transform(plain(rows)).shape[1]
        return cls(lambda frame: encoder.transform(plain(frame)).astype(float), width)


@dataclass(frozen=True)
class Training:
    """Rows to train on: features (rows × columns), outcomes, and which rows are of the stratum."""

    features: Matrix
    outcome: Matrix
    inside: Matrix

    def at(self, rows: Matrix) -> Training:
        return Training(self.features[rows], self.outcome[rows], self.inside[rows])

    def with_rows(self, other: Training) -> Training:
        import numpy as np

        parts = [(self.features, other.features), (self.outcome, other.outcome), (self.inside, other.inside)]
        return Training(*(np.concatenate(part) for part in parts))

    def oversampled(self, count: int, seed: int) -> Training:
        """With `count` of the stratum's rows drawn again, with replacement (the bootstrap)."""
        import numpy as np

        rows = np.flatnonzero(self.inside)
        if not len(rows):
            return self
        return self.with_rows(self.at(np.random.default_rng(seed).choice(rows, count)))


@dataclass(frozen=True)
class Model:
    """A learner with its settings, and how it treats scarcity."""

    learner: str
    strength: float = 1.0
    treatment: str = ""

    @property
    def name(self) -> str:
        words = self.learner.replace("_", " ")
        settings = f" (C={self.strength:g})" if self.learner == "logistic_regression" else ""
        return f"{words}{settings}" + (f", {self.treatment.replace('_', ' ')}" if self.treatment else "")

    def fit(self, training: Training, extra: int, seed: int) -> Callable[[Matrix], Matrix]:
        """Train it; gives features → risks. `extra` rows of the stratum are drawn again where that is its treatment."""
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.utils.class_weight import compute_sample_weight

        rows = training.oversampled(extra, seed) if self.treatment == "oversampled_stratum" else training
        estimator = self._estimator(seed)
        model = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), estimator)
        weights = compute_sample_weight("balanced", rows.outcome) if self.treatment == "class_weights" else None
        model.fit(rows.features, rows.outcome, **{f"{model.steps[-1][0]}__sample_weight": weights})
        return lambda features: model.predict_proba(features)[:, 1]

    def _estimator(self, seed: int) -> Any:
        from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
        from sklearn.linear_model import LogisticRegression

        if self.learner == "random_forest":
            return RandomForestClassifier(100, min_samples_leaf=5, random_state=seed)
        if self.learner == "gradient_boosting":
            return GradientBoostingClassifier(n_estimators=50, max_depth=2, subsample=0.8, random_state=seed)
        return LogisticRegression(C=self.strength, max_iter=1000)

    def with_synthetic(self) -> Model:
        """The same model for real and synthetic rows: these stand in place of the stratum's drawn again."""
        return Model(self.learner, self.strength, "" if self.treatment == "oversampled_stratum" else self.treatment)


def plain_models(declared: Lift) -> list[Model]:
    """Every declared learner, the logistic regression once for each strength."""
    models = [Model("logistic_regression", strength) for strength in STRENGTHS]
    models += [Model("random_forest"), Model("gradient_boosting")]
    return [model for model in models if model.learner in declared.comparators]


def treated_models(best: Model, declared: Lift) -> list[Model]:
    """The best learner with each declared treatment of scarcity."""
    treatments = [name for name in ("oversampled_stratum", "class_weights") if name in declared.comparators]
    return [Model(best.learner, best.strength, treatment) for treatment in treatments]


def tuned(
    training: Training, persons: pd.DataFrame, stratum: str, declared: Lift, extra: int, seed: int
) -> tuple[Model, list[Model]]:
    """The best real-only model, chosen by folds inside the training part alone, and all that were tried.

    `persons` are the training part's rows in pandas, for the folds are by person. Learners first, then the best one
    with each treatment; what is compared is the AUROC of the folds' risks.
    """
    import numpy as np

    parts = [(fit, tune) for fit, tune in folds(persons, stratum, TUNING_FOLDS, seed) if _varies(training.outcome[fit])]
    judged = np.concatenate([tune for _, tune in parts])
    if declared.primary == "stratum" and _enough(training.outcome[judged[training.inside[judged]]]):
        judged = judged[training.inside[judged]]

    def score(model: Model) -> float:
        risk = np.full(len(training.outcome), np.nan)
        for fit, tune in parts:
            risk[tune] = model.fit(training.at(fit), extra, seed)(training.features[tune])
        return auroc(training.outcome[judged], risk[judged])

    def best_of(models: Sequence[Model]) -> Iterator[tuple[float, Model]]:
        yield from sorted(((score(model), model) for model in models), key=lambda found: -found[0])

    plain = list(best_of(plain_models(declared)))
    treated = list(best_of(treated_models(plain[0][1], declared)))
    best = max([plain[0], *treated], key=lambda found: found[0])[1]
    return best, [model for _, model in (*plain, *treated)]


def _varies(outcome: Matrix) -> bool:
    return 0 < outcome.sum() < len(outcome)


def _enough(outcome: Matrix) -> bool:
    return bool(min(outcome.sum(), len(outcome) - outcome.sum()) >= MIN_TUNING_ROWS)
