"""How well persons were found: pairwise precision, recall and F1 against a truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from cohortlake.core.persons.ids import Key

# How far a record's demographics are from the person's own, from none to far.
VARIANTS = ("source", "exact", "minor", "major")
# What must hold: precision and recall over all pairs; recall over pairs that differ in minor ways or in none.
PRECISION, RECALL, RECALL_MINOR = 0.99, 0.85, 0.98
ALL, EASY = "all pairs", "exact and minor"


@dataclass(frozen=True)
class Truth:
    """Who a record is of, and how its demographics were disturbed ("" where that is not known)."""

    person: str
    variant: str = ""


@dataclass(frozen=True)
class Measure:
    """Counts of pairs: `true` are one person's, `found` were linked, `right` are both."""

    name: str
    true: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else 1.0

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def measure(persons: Mapping[Key, str], truth: Mapping[Key, Truth]) -> list[Measure]:
    """All pairs first, then those that differ in minor ways or in none, then each variant.

    Only records that have both a person and a truth count. A pair is of the variant of its worse record.
    """
    judged = [record for record in persons if record in truth]
    true = set(_pairs((truth[record].person, record) for record in judged))
    found = set(_pairs((persons[record], record) for record in judged))
    right = true & found
    names = sorted({truth[record].variant for record in judged} - {"", "source"}, key=_rank)
    counts = [Counter(_variant(pair, truth) for pair in pairs) for pairs in (true, found, right)]
    made = [Measure(ALL, len(true), len(found), len(right))]
    if {"exact", "minor"} & set(names):
        easy = [sum(count[name] for name in ("source", "exact", "minor")) for count in counts]
        made.append(Measure(EASY, *easy))
    return made + [Measure(name, *(count[name] for count in counts)) for name in names]


def measure_labels(persons: Mapping[Key, str], labels: Mapping[tuple[Key, Key], bool]) -> list[Measure]:
    """Against labelled pairs: no other pair is judged."""
    known = {pair: is_same for pair, is_same in labels.items() if pair[0] in persons and pair[1] in persons}
    found = {pair for pair in known if persons[pair[0]] == persons[pair[1]]}
    true = {pair for pair, is_same in known.items() if is_same}
    return [Measure(ALL, len(true), len(found), len(true & found))]


def broken(measures: Iterable[Measure]) -> list[str]:
    """The marks that do not hold, in words."""
    by_name = {found.name: found for found in measures}
    whole, easy = by_name[ALL], by_name.get(EASY)
    wrong = []
    if whole.precision < PRECISION:
        wrong.append(f"precision {whole.precision:.4f} is below {PRECISION}")
    if whole.recall < RECALL:
        wrong.append(f"recall {whole.recall:.4f} is below {RECALL}")
    if easy and easy.recall < RECALL_MINOR:
        wrong.append(f"recall of exact and minor pairs {easy.recall:.4f} is below {RECALL_MINOR}")
    return wrong


def _pairs(named: Iterable[tuple[str, Key]]) -> Iterator[tuple[Key, Key]]:
    """The pairs of records that have one name."""
    groups: dict[str, list[Key]] = defaultdict(list)
    for name, record in named:
        groups[name].append(record)
    for group in groups.values():
        yield from combinations(sorted(group), 2)


def _variant(pair: tuple[Key, Key], truth: Mapping[Key, Truth]) -> str:
    return max((truth[record].variant for record in pair), key=_rank)


def _rank(variant: str) -> tuple[int, str]:
    return (VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS) * bool(variant), variant)
