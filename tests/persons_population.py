"""People who are seen at several hospitals, made up by seed: their records, and who they are of.

The disturbances are those of the bundled hospitals' hard cases, and families, whom they lack: siblings and twins at one
address, and sons with their father's name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from cohortlake.core.persons.declared import PersonModel
from cohortlake.core.persons.demographics import Row, row

SOUNDS = (
    "ba",
    "ri",
    "no",
    "len",
    "mar",
    "ta",
    "vi",
    "sol",
    "ka",
    "do",
    "el",
    "an",
    "ju",
    "per",
    "mi",
    "ro",
    "su",
    "gen",
)
ENDS = ("n", "s", "son", "a", "ez", "er", "ski", "ie", "o", "y")
STREETS = ("Oak", "Mill", "Church", "Lake", "Hill", "Main", "Park", "River", "Spring", "Cedar", "Elm", "Station")
KINDS = ("Street", "Avenue", "Road", "Lane", "Court")


@dataclass(frozen=True)
class Person:
    """One record of one person, as a registrar wrote it."""

    person: str
    site: str
    variant: str
    first: str
    middle: str
    last: str
    born: str
    sex: str
    ssn: str
    street: str
    city: str
    postcode: str
    maiden: str = ""


def demographics(one: Person, patient_id: str, model: PersonModel) -> Row:
    """A record as the row of a silo of its site's name."""
    return row(
        model, silo=one.site, patient_id=patient_id, names=[{"given": [one.first, one.middle], "family": one.last}],
        birth_date=one.born, sex=one.sex, ssn=one.ssn, lines=[one.street], city=one.city, postcode=one.postcode,
    )  # fmt: skip


def names(rng: random.Random, count: int, syllables: int) -> list[str]:
    """Distinct names, in an order that is also their frequency's."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(rng.choice(SOUNDS) for _ in range(rng.randint(1, syllables))) + rng.choice(ENDS)] = None
    return [name.capitalize() for name in found]


class Population:
    """People with names of Zipf's frequencies, in so many postal areas; names may be given."""

    def __init__(
        self, seed: int, first_names: Sequence[str] = (), last_names: Sequence[str] = (), areas: int = 400
    ) -> None:
        self.rng, self.areas = random.Random(seed), areas
        self.first_names = list(first_names) or names(self.rng, 3000, 3)
        self.last_names = list(last_names) or names(self.rng, 20000, 3)
        self.weights = {len(given): list(_cumulated(len(given))) for given in (self.first_names, self.last_names)}
        self.count = 0

    def pick(self, given: list[str]) -> str:
        return self.rng.choices(given, cum_weights=self.weights[len(given)])[0]

    def person(self) -> Person:
        rng = self.rng
        self.count += 1
        area, days = rng.randrange(self.areas), rng.randrange(34000)
        number = f"{rng.randint(100, 899)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"
        return Person(
            person=f"p{self.count}", site="a", variant="source",
            first=self.pick(self.first_names), middle=self.pick(self.first_names) if rng.random() < 0.8 else "",
            last=self.pick(self.last_names), born=str(date(1930, 1, 1) + timedelta(days=days)), sex=rng.choice("FM"),
            ssn=number, street=self.street(), city=f"Town {area // 4}", postcode=f"{10000 + area}",
        )  # fmt: skip

    def street(self) -> str:
        return f"{self.rng.randint(1, 999)} {self.rng.choice(STREETS)} {self.rng.choice(KINDS)}"

    def relative(self, of: Person) -> Person:
        """A twin, a sibling, or a parent of the same name: one family at one address."""
        rng = self.rng
        self.count += 1
        other = replace(of, person=f"p{self.count}", ssn=f"{rng.randint(100, 899)}-11-{rng.randint(1000, 9999)}")
        kind = rng.choice(("twin", "sibling", "namesake"))
        if kind == "namesake":
            return replace(other, born=f"{int(of.born[:4]) - 27}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}")
        first = next(name for name in iter(lambda: self.pick(self.first_names), "") if name[:2] != of.first[:2])
        other = replace(other, first=first, middle="", sex=self.rng.choice("FM"))
        if kind == "sibling":
            other = replace(other, born=str(date.fromisoformat(of.born) + timedelta(days=self.rng.randint(400, 3000))))
        return other

    def typo(self, text: str) -> str:
        if len(text) < 3:
            return text + text[-1:]
        at = self.rng.randrange(1, len(text) - 1)
        if self.rng.random() < 0.3:
            return text[: at + 1] + text[at:]
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]

    def seen_again(self, of: Person, site: str, variant: str) -> Person:
        """The person's record at another site, disturbed as the variant says."""
        rng, made = self.rng, replace(of, site=site, variant=variant)
        if variant == "minor":
            for change in rng.sample(("first", "last", "middle", "capitals", "ssn"), 2):
                if change == "first":
                    made = replace(made, first=self.typo(made.first))
                elif change == "last":
                    made = replace(made, last=self.typo(made.last))
                elif change == "middle":
                    made = replace(made, middle=made.middle[:1])
                elif change == "ssn":
                    made = replace(made, ssn="")
                else:
                    made = replace(made, first=made.first.upper(), last=made.last.upper())
        elif variant == "major":
            year, month, day = of.born.split("-")
            is_swappable = int(day) <= 12 and day != month
            born = f"{year}-{day}-{month}" if is_swappable else f"{year}-{month}-01"
            last = of.maiden or self.typo(of.last)
            made = replace(made, born=born, ssn="", last=last, street=self.street())
        return made

    def records(self, people: int, *, again: float = 0.3, families: float = 0.0) -> Iterator[Person]:
        """The records of people; `again` is the share seen at a second site, `families` that with a relative."""
        for _ in range(people):
            one = self.person()
            yield one
            if self.rng.random() < again:
                variant = self.rng.choices(("exact", "minor", "major"), (0.25, 0.5, 0.25))[0]
                yield self.seen_again(one, "b", variant)
            if self.rng.random() < families:
                yield replace(self.relative(one), site=self.rng.choice("ab"))


def _cumulated(count: int) -> Iterator[float]:
    total = 0.0
    for rank in range(count):
        total += 1 / (rank + 8)
        yield total
