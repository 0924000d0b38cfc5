"""The people of the grid: a town with families, and what registrars do to a record.

Given names are those of `catalog/nicknames.yaml`, so that people have short forms; surnames are the bundled hospitals'.
"""

from __future__ import annotations

import csv
import gzip
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path

from cohortlake.core.persons.declared import PersonModel, load_model
from cohortlake.core.persons.demographics import Row, row
from tests.persons_population import KINDS as STREET_KINDS
from tests.persons_population import STREETS, names

KINSHIP = ("spouse", "sibling", "twin", "parent of one name")
# What is done to a record, by what it is done to; a name of a disturbance is also its function's below.
KINDS: dict[str, Sequence[str]] = {
    "given name": (
        "nickname",
        "other given name",
        "no given name",
        "initial",
        "typo in given name",
        "middle name first",
    ),
    "surname": ("typo in surname", "married", "double-barrelled", "names swapped"),
    "birth date": (
        "day and month swapped",
        "first of the month",
        "a digit wrong",
        "year off by one",
        "year off by ten",
        "no birth date",
    ),
    "address": ("moved street", "moved town"),
    "numbers": ("no number or phone",),
}
DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Seen:
    """One record of one person: `cell` says what was done to it, `kinship` what they are to the household's first."""

    person: str
    household: str
    silo: str
    first: str
    middle: str
    last: str
    born: str
    sex: str
    ssn: str
    phone: str
    street: str
    city: str
    postcode: str
    cell: tuple[str, ...] = ()
    kinship: str = ""


def demographics(one: Seen, patient_id: str, model: PersonModel) -> Row:
    return row(
        model, silo=one.silo, patient_id=patient_id, names=[{"given": [one.first, one.middle], "family": one.last}],
        birth_date=one.born, sex=one.sex, ssn=one.ssn, lines=[one.street], city=one.city, postcode=one.postcode,
        phones=[one.phone],
    )  # fmt: skip


@cache
def surnames() -> list[str]:
    """The bundled hospitals' surnames without their digits, then made-up ones: some thousands."""
    with gzip.open(DATA / "site_b_csv/patients.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        real = {re.sub(r"\d", "", line["LAST"]) for line in csv.DictReader(stream)}
    return [*sorted(real), *names(random.Random(1), 4000, 3)]


@cache
def _frequencies(count: int) -> list[float]:
    """Zipf's, summed up."""
    return list(accumulate(1 / (rank + 8) for rank in range(count)))


class Town:
    """People by seed. Names are of Zipf's frequencies; a postal code has four streets of houses."""

    def __init__(self, seed: int, areas: int = 400) -> None:
        self.rng, self.areas, self.count = random.Random(seed), areas, 0
        short = load_model().nicknames
        self.nicknames: dict[str, list[str]] = {}
        for form, fulls in short.items():
            for full in fulls:
                self.nicknames.setdefault(full, []).append(form)
        self.firsts = sorted(self.nicknames)
        self.rng.shuffle(self.firsts)

    def pick(self, given: Sequence[str]) -> str:
        return self.rng.choices(given, cum_weights=_frequencies(len(given)))[0]

    def number(self, digits: int) -> str:
        return "".join(str(self.rng.randint(1, 9)) for _ in range(digits))

    def place(self, area: int | None = None) -> dict[str, str]:
        """A house: street, town and postal code; of an `area`, if one is given."""
        area = self.rng.randrange(self.areas) if area is None else area
        street = f"{self.rng.randint(1, 400)} {self.rng.choice(STREETS)} {self.rng.choice(STREET_KINDS)}"
        return {
            "street": street,
            "city": f"Town {chr(97 + area // 4 % 26)}{area // 104}",
            "postcode": f"{10000 + area}",
        }

    def person(self, cell: tuple[str, ...] = ()) -> Seen:
        """Someone to whom a cell's disturbances can be done: a day beyond 12 cannot be swapped with the month."""
        rng = self.rng
        self.count += 1
        name = f"p{self.count}"
        born = date(1935, 1, 1) + timedelta(days=rng.randrange(31000))
        if {"day and month swapped", "first of the month"} & set(cell):
            born = born.replace(day=rng.choice([day for day in range(2, 13) if day != born.month]))
        return Seen(
            person=name, household=name, silo="a", first=self.pick(self.firsts), middle=self.pick(self.firsts),
            last=self.pick(surnames()), born=str(born), sex=rng.choice("FM"), ssn=self.number(9),
            phone=self.number(10), **self.place(),
        )  # fmt: skip

    def relative(self, of: Seen) -> Seen:
        """One of the household: same address and surname, mostly one phone; twins' numbers may follow each other."""
        rng = self.rng
        self.count += 1
        kin, born = rng.choice(KINSHIP), date.fromisoformat(of.born)
        phone = of.phone if rng.random() < 0.7 else self.number(10)
        other = replace(
            of, person=f"p{self.count}", silo=rng.choice("ab"), kinship=kin, phone=phone, ssn=self.number(9),
            middle=self.pick(self.firsts), first=self.other_name(of.first),
        )  # fmt: skip
        if kin == "spouse":
            return replace(
                other, sex="M" if of.sex == "F" else "F", born=str(born + timedelta(days=rng.randint(-3000, 3000)))
            )
        if kin == "sibling":
            return replace(other, sex=rng.choice("FM"), born=str(born + timedelta(days=rng.randint(330, 3600))))
        if kin == "twin":
            follows = str(int(of.ssn) + 1).zfill(9)
            return replace(other, sex=rng.choice("FM"), ssn=follows if rng.random() < 0.4 else other.ssn)
        years = rng.randint(18, 40)
        born = date(born.year - years, rng.randint(1, 12), rng.randint(1, 28))
        return replace(other, first=of.first, born=str(born), middle=of.middle if rng.random() < 0.3 else other.middle)

    def other_name(self, than: str) -> str:
        return next(name for name in iter(lambda: self.pick(self.firsts), "") if name[:2] != than[:2])

    def again(self, of: Seen, cell: tuple[str, ...]) -> Seen:
        """The person's record at the other hospital, with all that the cell says done to it."""
        made = replace(of, silo="b" if of.silo == "a" else "a", cell=cell)
        for name in cell:
            made = DISTURB[name](self, made)
        return made

    def typo(self, text: str) -> str:
        at, kind = self.rng.randrange(1, max(len(text) - 1, 2)), self.rng.randrange(4)
        letter = self.rng.choice("abcdefghijklmnopqrstuvwxyz")
        if kind == 0:
            return text[:at] + letter + text[at:]
        if kind == 1 and len(text) > 3:
            return text[:at] + text[at + 1 :]
        if kind == 2:
            return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
        return text[:at] + letter + text[at + 1 :]


def _date(one: Seen, **parts: int) -> Seen:
    """The record with parts of its birth date replaced; a day that the month lacks becomes its 28th."""
    born = date.fromisoformat(one.born)
    try:
        return replace(one, born=str(born.replace(**parts)))
    except ValueError:
        return replace(one, born=str(born.replace(**{**parts, "day": 28})))


def _swapped_date(town: Town, one: Seen) -> Seen:
    born = date.fromisoformat(one.born)
    return replace(one, born=f"{born.year}-{born.day:02}-{born.month:02}")


def _digit(town: Town, one: Seen) -> Seen:
    """Another last digit of the day, or of the year."""
    born = date.fromisoformat(one.born)
    if town.rng.random() < 0.5:
        return _date(one, year=born.year // 10 * 10 + (born.year + town.rng.randint(2, 8)) % 10)
    tens = born.day // 10 * 10
    days = [tens + digit for digit in range(10) if tens + digit not in (0, born.day) and tens + digit <= 28]
    return _date(one, day=town.rng.choice(days or [28]))


DISTURB: dict[str, Callable[[Town, Seen], Seen]] = {
    "nickname": lambda town, one: replace(one, first=town.rng.choice(town.nicknames[one.first])),
    "other given name": lambda town, one: replace(one, first=town.other_name(one.first)),
    "no given name": lambda town, one: replace(one, first="", middle=""),
    "initial": lambda town, one: replace(one, first=one.first[:1], middle=one.middle[:1]),
    "typo in given name": lambda town, one: replace(one, first=town.typo(one.first)),
    "middle name first": lambda town, one: replace(one, first=one.middle, middle=""),
    "typo in surname": lambda town, one: replace(one, last=town.typo(one.last)),
    "married": lambda town, one: replace(one, last=town.pick(surnames())),
    "double-barrelled": lambda town, one: replace(one, last=f"{one.last}-{town.pick(surnames())}"),
    "names swapped": lambda town, one: replace(one, first=one.last, last=one.first),
    "day and month swapped": _swapped_date,
    "first of the month": lambda town, one: _date(one, day=1),
    "a digit wrong": _digit,
    "year off by one": lambda town, one: _date(one, year=int(one.born[:4]) + town.rng.choice((-1, 1))),
    "year off by ten": lambda town, one: _date(one, year=int(one.born[:4]) + town.rng.choice((-10, 10))),
    "no birth date": lambda town, one: replace(one, born=""),
    "moved street": lambda town, one: replace(one, **town.place(int(one.postcode) - 10000)),
    "moved town": lambda town, one: replace(one, **town.place()),
    "no number or phone": lambda town, one: replace(one, ssn="", phone=""),
}
