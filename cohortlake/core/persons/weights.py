"""Match weights, in bits: log2 of the odds that two records are one person's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def weight_of(probability: float) -> float:
    return math.log2(probability / (1 - probability))


def probability_of(weight: float) -> float:
    """The probability of a weight, without overflow."""
    odds: float = 2.0 ** -abs(weight)
    return 1 / (1 + odds) if weight >= 0 else odds / (1 + odds)


def estimated_prior(weights: Sequence[float], first: float, share: Callable[[float], float], rounds: int) -> float:
    """The probability that two random records match, by EM over scored pairs.

    `weights` contain the `first` prior. A round expects as many matches as the pairs' probabilities sum to; `share`
    makes matches a probability. m and u stay, so a round moves every weight alike. The sum is exact, so that the order
    of the pairs does not matter.
    """
    prior = first
    for _ in range(rounds):
        moved = weight_of(prior) - weight_of(first)
        prior = share(math.fsum(probability_of(weight + moved) for weight in weights))
    return prior
