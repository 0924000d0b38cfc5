"""What a run found to be one: facts that came by two doors, and the persons behind the records of several silos."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cohortlake.report import facts
from cohortlake.report.records import Run


@dataclass(frozen=True)
class Door:
    """A resource type of a silo whose facts another silo tells too: resources, by what became of them."""

    silo: str
    resource_type: str
    matched: int
    conflicted: int
    alone: int
    other_alone: int


@dataclass(frozen=True)
class Measured:
    """Some pairs of records of one person: how many there are, were found, and are both."""

    name: str
    true: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        return self.right / self.true if self.true else None


@dataclass(frozen=True)
class People:
    """The persons that were linked, how well where that could be measured, and the facts that came twice.

    `records` are the live Patients of silver. Those `by_second_door` tell of a patient of whom another silo of the same
    hospital tells more; they are linked too, and are no row of gold's `patients`.
    """

    doors: tuple[Door, ...]
    records: int
    by_second_door: int
    persons: int
    of_several_silos: int
    outcomes: dict[str, int]
    measured: tuple[Measured, ...]

    @property
    def waiting(self) -> int:
        """Pairs of records that a human should look at."""
        return self.outcomes.get("review", 0)


def read_people(run: Run) -> People:
    """What the steps `match` and `link` of a run said; empty where they changed nothing."""
    linked = run.step("link", "persons").facts
    return People(
        doors=tuple(_doors(run)),
        records=facts.whole(linked.get("records")),
        by_second_door=facts.whole(linked.get("records_by_second_door")),
        persons=facts.whole(linked.get("persons")),
        of_several_silos=facts.whole(linked.get("persons_of_several_silos")),
        outcomes=facts.tally(linked.get("pairs_by_outcome")),
        measured=tuple(_measured(linked.get("measured"))),
    )


def _measured(told: object) -> Iterator[Measured]:
    for one in facts.objects(told):
        yield Measured(
            facts.text(one.get("name")), *(facts.whole(one.get(kind)) for kind in ("true", "found", "right"))
        )


def _doors(run: Run) -> Iterator[Door]:
    for silo, types in facts.mapping(run.step("match", "doors").facts.get("doors")).items():
        for name, counts in facts.mapping(types).items():
            told = facts.mapping(counts)
            numbers = (facts.whole(told.get(kind)) for kind in ("matched", "conflicted", "alone", "other_alone"))
            yield Door(silo, name, *numbers)
