"""What keeps records of a family apart, what outweighs it, and when it does not apply: planted cases."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest

from cohortlake.core.persons.declared import PersonModel, load_model
from cohortlake.core.persons.demographics import SCHEMA, Row, row
from spark_jobs.link_persons import Found, find_persons
from tests.persons_population import Person, Population, demographics

MODEL = load_model()
FAMILIES = {hold.name for hold in MODEL.holds if hold.of_families}


def record(number: int, given: str, born: str, ssn: str = "", family: str = "Berg", **more: Any) -> Row:
    at = {"lines": ["12 Oak Street"], "city": "Lynn", "postcode": "01901"} | more
    named = [{"given": given.split(), "family": family}]
    return row(MODEL, silo="a", patient_id=f"{number:04}", names=named, birth_date=born, ssn=ssn, **at)


def find(*rows: Row, model: PersonModel = MODEL) -> Found:
    return find_persons(pa.Table.from_pylist(list(rows), schema=SCHEMA), model)


def held(found: Found) -> set[str | None]:
    return set(found.pairs["hold"].to_pylist())


BORN, FIRST, SECOND = "2010-05-05", "412-45-6780", "733-91-2046"


@pytest.mark.parametrize(
    ("left", "right", "hold"),
    [
        (("Anna", BORN, FIRST), ("Zoe", BORN, SECOND), "twins"),
        (("Anna", BORN), ("Zoe", BORN), "twins"),
        (("Anna", BORN, FIRST), ("Zoe", BORN, "412-45-6781"), "twins"),
        (("", BORN), ("", BORN), "nameless_twin"),
        (("BabyGirl", BORN), ("Baby Boy", BORN), "nameless_twin"),
        (("Jan", BORN, FIRST), ("Jana", BORN, SECOND), "other_number"),
        (("Anna", BORN), ("Zoe", "2011-05-05"), "household"),
        (("Anna", "1981-05-09", FIRST), ("Anna", BORN, SECOND), "generations"),
        (("Anna", "2003-11-21", FIRST), ("Anna", BORN, SECOND), "namesakes"),
    ],
)
def test_two_of_a_family_wait_for_a_human(left: tuple[str, ...], right: tuple[str, ...], hold: str) -> None:
    found = find(record(1, *left), record(2, *right))
    assert found.clusters == []
    assert held(found) == {hold}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("Anna", BORN, FIRST), ("Zoe", BORN, FIRST)),
        # One digit or two of the number were mistyped: no two people have such numbers.
        (("Anna", BORN, FIRST), ("Zoe", BORN, "412-45-9780")),
        (("Anna", BORN, FIRST), ("Zoe", BORN, "412-54-9780")),
        (("Anna Zoe", BORN), ("Zoe", BORN)),
    ],
    ids=["one number", "a digit", "two digits", "called by the middle name"],
)
def test_one_person_is_linked_though_a_name_or_date_differs(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    assert find(record(1, *left), record(2, *right)).clusters == [[0, 1]]


def test_a_twins_record_under_the_others_number_goes_to_its_name() -> None:
    annas = [record(1, "Anna", BORN, FIRST), record(2, "Anna", BORN, FIRST)]
    zoes = [record(3, "Zoe", BORN, SECOND), record(4, "Zoe", BORN, FIRST)]
    assert find(*annas, *zoes).clusters == [[0, 1], [2, 3]]


def test_a_record_with_two_errors_is_joined_by_those_that_have_one() -> None:
    """Another number and another birth date contradict; but a record between shares the number, and one the date."""
    rows = [record(1, "Anna", BORN, FIRST), record(2, "Anna", BORN, SECOND), record(3, "Anna", "2003-11-21", FIRST)]
    found = find(*rows)
    assert "namesakes" in held(found)
    assert found.clusters == [[0, 1, 2]]
    alone = MODEL.model_copy(update={"outweighs_holds": []})
    assert len(find(*rows, model=alone).clusters[0]) == 2


def test_a_name_that_nobody_else_has_is_a_typing_error_in_many_records() -> None:
    """In few records it cannot be known whether Rebecac is a name: there it is held as Jan and Jana are."""
    rows = [record(1, "Rebecca", BORN, FIRST), record(2, "Rebecac", BORN, SECOND), record(3, "Rebecca", "1950-01-02")]
    assert find(*rows).clusters == []
    cleaning = MODEL.cleaning.model_copy(update={"usual_names_from": 0})
    many = MODEL.model_copy(update={"cleaning": cleaning})
    assert find(*rows, model=many).clusters == [[0, 1]]
    usual = [*rows, record(4, "Rebecac", "1971-03-04", family="Ek", lines=["9 Elm Road"])]
    assert find(*usual, model=many).clusters == []


@pytest.fixture(scope="module")
def town() -> list[Person]:
    """People who live alone, two in five seen twice: over a thousand pairs agree."""
    return list(Population(seed=5).records(4500, again=0.4))


@pytest.fixture(scope="module")
def linked(town: list[Person]) -> Callable[[int], tuple[Found, list[str]]]:
    """Persons found in the town with so many people's twins added, one record each."""

    def find_with(twins: int) -> tuple[Found, list[str]]:
        population, people = Population(seed=6), list(town)
        for one in [one for one in town if one.variant == "source"][:twins]:
            first = next(name for name in population.first_names[50:] if name[:2] != one.first[:2])
            people.append(
                Person(f"twin of {one.person}", "b", "source", first, "", one.last, one.born, one.sex, "",
                       one.street, one.city, one.postcode)
            )  # fmt: skip
        rows = [demographics(one, str(number), MODEL) for number, one in enumerate(people)]
        return find(*rows), [one.person for one in people]

    return find_with


def precision(found: Found, people: list[str]) -> float:
    pairs = [pair for group in found.clusters for pair in combinations(group, 2)]
    return sum(people[left] == people[right] for left, right in pairs) / len(pairs)


def test_where_the_data_hold_no_families_their_holds_do_not_apply(linked: Any) -> None:
    found, people = linked(0)
    assert not FAMILIES & set(found.holds)
    assert precision(found, people) == 1.0


def test_a_few_families_bring_their_holds_back(linked: Any) -> None:
    found, people = linked(40)
    assert found.households >= 40
    assert set(found.holds) >= FAMILIES
    assert precision(found, people) >= 0.999


def test_what_is_lost_where_holds_do_not_apply_is_bounded_by_the_declared_share(linked: Any) -> None:
    """Two or three twins among thousands of people who live alone: they may be taken for one, and no more than that."""
    found, people = linked(3)
    assert precision(found, people) >= 1 - 2 * MODEL.families.share  # type: ignore[union-attr]


def test_families_need_many_links_before_their_holds_are_dropped() -> None:
    few = [demographics(one, str(n), MODEL) for n, one in enumerate(Population(seed=5).records(300, again=0.4))]
    assert set(find(*few).holds) >= FAMILIES
    undeclared = MODEL.model_copy(update={"families": None})
    assert set(find(*few, model=undeclared).holds) >= FAMILIES
