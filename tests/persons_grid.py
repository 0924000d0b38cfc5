"""Linkage on a grid of disturbances, with and without families: `python -m tests.persons_grid --help`.

Made-up people are seen at hospital a and again at b, where a registrar wrote a disturbed record: one thing changed, two
of different kinds, or three. Beside them live spouses, siblings, twins, parents and children of one name. Printed are,
as Markdown, the recall of each disturbance, of each two, of threes, the pairs that wait for a human, and wrong links
by kinship; intervals are Wilson's of 95 %. The same seed gives the same numbers.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import sqrt
from pathlib import Path

import pyarrow as pa

from cohortlake.core.persons.declared import PersonModel, load_model
from cohortlake.core.persons.demographics import SCHEMA
from spark_jobs.link_persons import Found, find_persons
from tests.persons_grid_people import KINDS, KINSHIP, Seen, Town, demographics

Cell = tuple[str, ...]


@dataclass(frozen=True)
class Count:
    """Pairs of one cell: that are one person's, of those linked, of those not linked that wait for a human."""

    true: int
    linked: int
    waiting: int

    def __add__(self, other: Count) -> Count:
        return Count(self.true + other.true, self.linked + other.linked, self.waiting + other.waiting)

    @property
    def recall(self) -> float:
        return self.linked / self.true if self.true else 0.0

    @property
    def seen(self) -> float:
        """The share that is linked or waits: what no human would get to see is lost."""
        return (self.linked + self.waiting) / self.true if self.true else 0.0


NONE = Count(0, 0, 0)
# The cell of relatives, who are seen again too: nothing was done to their records.
RELATIVE = ("relatives",)


@dataclass(frozen=True)
class Result:
    """A grid measured: counts by cell; pairs of two people that were linked, and that wait, by how they are related."""

    cells: dict[Cell, Count]
    wrong: Counter[str]
    asked: Counter[str]
    found: int

    @property
    def whole(self) -> Count:
        return sum(self.cells.values(), NONE)

    @property
    def precision(self) -> float:
        return 1 - self.wrong.total() / self.found if self.found else 1.0

    @property
    def f1(self) -> float:
        both = self.precision + self.whole.recall
        return 2 * self.precision * self.whole.recall / both if both else 0.0


def grid(kinds: dict[str, Sequence[str]]) -> list[Cell]:
    """No disturbance; each one; each two and each three of different kinds."""
    cells: list[Cell] = [()]
    for count in (1, 2, 3):
        for chosen in combinations(kinds.values(), count):
            cells += product(*chosen)
    return cells


def interval(part: int, whole: int) -> tuple[float, float]:
    """Wilson's interval of 95 % for a share."""
    if not whole:
        return 0.0, 1.0
    z, share = 1.96, part / whole
    middle = share + z * z / (2 * whole)
    spread = z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return max(0.0, (middle - spread) / (1 + z * z / whole)), min(1.0, (middle + spread) / (1 + z * z / whole))


def records(cells: Sequence[Cell], each: int, seed: int, families: float, lacking: Iterable[str]) -> Iterator[Seen]:
    """The records of `each` people a cell at hospitals a and b, and of their relatives; nobody's `lacking` is known."""
    town = Town(seed)
    gone = dict.fromkeys(lacking, "")
    for cell in cells:
        for _ in range(each):
            person = town.person(cell)
            yield replace(person, **gone)
            yield replace(town.again(person, cell), **gone)
            if town.rng.random() < families:
                relative = town.relative(person)
                yield replace(relative, **gone)
                if town.rng.random() < 0.5:
                    yield replace(town.again(relative, ()), cell=RELATIVE, **gone)


def measure(people: Sequence[Seen], found: Found, model: PersonModel) -> Result:
    place = {number: name for name, group in enumerate(found.clusters) for number in group}
    of_person: dict[str, list[int]] = defaultdict(list)
    for number, one in enumerate(people):
        of_person[one.person].append(number)
    pairs = {
        (row["left"], row["right"]): row["probability"]
        for row in found.pairs.select(["left", "right", "probability"]).to_pylist()
    }
    waits = {pair for pair, chance in pairs.items() if chance >= model.thresholds.review}
    cells: dict[Cell, Count] = defaultdict(lambda: NONE)
    for numbers in of_person.values():
        for left, right in combinations(numbers, 2):
            is_linked = left in place and place[left] == place.get(right)
            is_waiting = not is_linked and (left, right) in waits
            cells[people[right].cell] += Count(1, int(is_linked), int(is_waiting))
    linked = [pair for group in found.clusters for pair in combinations(sorted(group), 2)]
    wrong = Counter(related(people[a], people[b]) for a, b in linked if people[a].person != people[b].person)
    asked = Counter(
        related(people[a], people[b])
        for a, b in waits
        if people[a].person != people[b].person and not (a in place and place[a] == place.get(b))
    )
    return Result(dict(cells), wrong, asked, len(linked))


def related(left: Seen, right: Seen) -> str:
    if left.household != right.household:
        return "strangers"
    return next((one.kinship for one in (left, right) if one.kinship), "strangers")


def run(model: PersonModel, each: int, seed: int, families: float, lacking: Sequence[str] = ()) -> Result:
    people = list(records(grid(KINDS), each, seed, families, lacking))
    rows = pa.Table.from_pylist([demographics(one, f"{n:07}", model) for n, one in enumerate(people)], schema=SCHEMA)
    return measure(people, find_persons(rows, model), model)


def share(part: int, whole: int) -> str:
    low, high = interval(part, whole)
    return f"{part / whole if whole else 0:.3f} ({low:.3f}–{high:.3f})"


def kinds_of(cell: Cell) -> tuple[str, ...]:
    kind = {name: kind for kind, names in KINDS.items() for name in names}
    return tuple(kind.get(name, name) for name in cell)


def summary(results: dict[str, Result]) -> Iterator[str]:
    yield "| population | true pairs | linked | precision | recall | F1 | wrong links | seen by a human or linked |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, found in results.items():
        whole, wrong = found.whole, found.wrong.total()
        yield (
            f"| {name} | {whole.true:,} | {found.found:,} | {share(found.found - wrong, found.found)} | "
            f"{share(whole.linked, whole.true)} | {found.f1:.3f} | {wrong:,} | {whole.seen:.3f} |"
        )


def singles(results: dict[str, Result]) -> Iterator[str]:
    yield f"| one thing changed | {' | '.join(results)} |"
    yield "|---|" + "---|" * len(results)
    for cell in [(), *((name,) for names in KINDS.values() for name in names)]:
        told = []
        for found in results.values():
            one = found.cells[cell]
            waits = f", {one.waiting} wait" if one.waiting else ""
            told.append(f"{one.linked}/{one.true}{waits}")
        yield f"| {cell[0] if cell else 'nothing'} | {' | '.join(told)} |"


def doubles(found: Result) -> Iterator[str]:
    names = [name for names in KINDS.values() for name in names]
    yield f"| recall | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    for left in names:
        row = []
        for right in names:
            one = found.cells.get((left, right)) or found.cells.get((right, left))
            row.append(f"{one.recall:.2f}" if one else "")
        yield f"| {left} | {' | '.join(row)} |"


def by_kinds(results: dict[str, Result], count: int) -> Iterator[str]:
    yield f"| {count} things changed | {' | '.join(f'{name}: recall | or waits' for name in results)} |"
    yield "|---|" + "---|---|" * len(results)
    for chosen in combinations(KINDS, count):
        told = []
        for found in results.values():
            whole = sum((one for cell, one in found.cells.items() if kinds_of(cell) == chosen), NONE)
            told += [share(whole.linked, whole.true), f"{whole.seen:.3f}"]
        yield f"| {' and '.join(chosen)} | {' | '.join(told)} |"


def kinships(results: dict[str, Result]) -> Iterator[str]:
    yield f"| two people | {' | '.join(f'{name}: linked | wait' for name in results)} |"
    yield "|---|" + "---|---|" * len(results)
    for kin in (*KINSHIP, "strangers"):
        told = [f"{found.wrong[kin]:,} | {found.asked[kin]:,}" for found in results.values()]
        yield f"| {kin} | {' | '.join(told)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=40, help="people a cell of the grid (default 40)")
    parser.add_argument("--seed", type=int, default=17, help="of the people and their disturbances (default 17)")
    parser.add_argument("--families", type=float, default=0.5, help="share of people with a relative (default 0.5)")
    parser.add_argument("--catalog", type=Path, help="a catalog folder with a persons.yaml (default: the project's)")
    parser.add_argument("--short", action="store_true", help="the summary, one thing changed, and kinship only")
    asked = parser.parse_args()
    model = load_model(asked.catalog) if asked.catalog else load_model()
    results = {
        "with families": run(model, asked.each, asked.seed, asked.families),
        "no families": run(model, asked.each, asked.seed, 0.0),
        "families, no numbers": run(model, asked.each, asked.seed, asked.families, ("ssn", "phone")),
    }
    first = next(iter(results.values()))
    parts = [
        summary(results),
        kinships(results),
        singles(results),
        by_kinds(results, 2),
        by_kinds(results, 3),
        doubles(first),
    ]
    for part in parts[: 3 if asked.short else None]:
        sys.stdout.write("\n".join(part) + "\n\n")


if __name__ == "__main__":
    main()
