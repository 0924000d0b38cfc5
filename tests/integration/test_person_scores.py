"""Scored pairs: placeholders are no evidence, every level can be reached, blocking finds what comparing all does."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cohortlake.core.persons.declared import load_model
from cohortlake.core.persons.demographics import SCHEMA, row
from spark_jobs.link_model import Scorer, connection
from spark_jobs.link_persons import find_persons
from tests.persons_population import Population, demographics

MODEL = load_model()
BLOCKED = MODEL.model_copy(update={"compare_all_up_to": 0})


def person(number: int, given: str = "Ann", family: str = "Lee", born: str = "", **more: Any) -> dict[str, Any]:
    named = [{"given": given.split(), "family": family}]
    return row(MODEL, silo="a", patient_id=f"{number:04}", names=named, birth_date=born, **more)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def levels(*pairs: tuple[dict[str, Any], dict[str, Any]]) -> list[dict[str, str]]:
    """The level of each comparison, for each pair of records."""
    with connection() as con:
        scorer = Scorer(con, table(*(record for pair in pairs for record in pair)), MODEL)
        scorer.prior = scorer.first_prior
        places = [(2 * number, 2 * number + 1) for number in range(len(pairs))]
        found = {(one["left"], one["right"]): one for one in scorer.among(places).to_pylist()}
    return [{step["comparison"]: step["level"] for step in found[place]["evidence"]} for place in places]


@pytest.mark.parametrize(
    ("comparison", "left", "right", "level"),
    [
        ("first_name", {"given": "Robert"}, {"given": "Bob"}, "nickname"),
        ("first_name", {"given": "R"}, {"given": "Robert"}, "initial"),
        # In so few records nobody can know which names are usual.
        ("first_name", {"given": "Robert"}, {"given": "Roebrt"}, "alike"),
        ("first_name", {"given": "Logan", "family": "Morgan"}, {"given": "Morgan", "family": "Logan"}, "swapped"),
        ("surname", {"given": "Logan", "family": "Morgan"}, {"given": "Morgan", "family": "Logan"}, "swapped"),
        ("first_name", {"given": "Logan", "family": ""}, {"given": "Morgan", "family": "Logan"}, "misplaced"),
        ("first_name", {"given": "Ann", "family": "Morgan"}, {"given": "Smith", "family": "Ann"}, "crossed"),
        ("first_name", {"given": "Ann", "family": "Morgan"}, {"given": "Morgan", "family": "Morgan"}, "different"),
        ("first_name", {"given": "Robert Lee"}, {"given": "Lee"}, "middle"),
        ("first_name", {"given": "Robert Lee"}, {"given": "Lee Owen"}, "different"),
        ("first_name", {"given": "Marie"}, {"given": "Ma rie"}, "typo"),
        ("surname", {"family": "Smith-Jones"}, {"family": "Jones"}, "shared"),
        ("middle_name", {"given": "Ann Marie"}, {"given": "Ann M"}, "initial"),
        ("birth_date", {"born": "1972-05-11"}, {"born": "1972-11-05"}, "swapped"),
        ("birth_date", {"born": "1972-05-11"}, {"born": "1972-05-01"}, "first_of_month"),
        ("birth_date", {"born": "1972-05-11"}, {"born": "1973-05-11"}, "typo"),
        ("birth_date", {"born": "1972-05-11"}, {"born": "1972"}, "partial"),
        ("birth_date", {"born": "1972-05-11"}, {"born": "1945-07-30"}, "other_generation"),
        ("birth_date", {"born": "1972-05-11"}, {"born": ""}, "missing"),
        ("ssn", {"ssn": "123-45-6780"}, {"ssn": "123-45-6870"}, "typo"),
        ("ssn", {"ssn": "123-45-6780"}, {"ssn": "123-45-6781"}, "consecutive"),
        ("ssn", {"ssn": "123-45-6780"}, {"ssn": "193-45-6280"}, "two_digits"),
        ("ssn", {"ssn": "123-45-6780"}, {"ssn": "193-45-6289"}, "different"),
        ("ssn", {"ssn": "123-45-6780"}, {"ssn": "000-00-0000"}, "missing"),
        ("identifiers", {"identifiers": [("dl|ma", "S1")]}, {"identifiers": [("dl|tx", "S2")]}, "missing"),
        ("identifiers", {"identifiers": [("dl|ma", "S1")]}, {"identifiers": [("dl|ma", "S2")]}, "different"),
        ("address", {"lines": ["1 Oak Street"], "city": "X"}, {"lines": ["1 Oak St."], "city": "x"}, "same"),
        (
            "address",
            {"lines": ["12 Oak Street", "The Mews"], "postcode": "02780"},
            {"lines": ["The Mews 12 Oak Street"], "postcode": "02790"},
            "mistyped",
        ),
        ("address", {"city": "Lynn"}, {"city": "Lynn"}, "same_city_only"),
        ("address", {"postcode": "02780", "city": "Lynn"}, {"postcode": "00000", "city": "Lynn"}, "same_city_only"),
        ("phone", {"phones": ["+1 555 150 1856"]}, {"phones": ["5551501856", "5550001111"]}, "same"),
        ("email", {"emails": ["a.lee@x.org"]}, {"emails": ["a.lee@y.com"]}, "same_user"),
        ("sex", {"sex": "female"}, {"sex": "unknown"}, "missing"),
    ],
)
def test_levels(comparison: str, left: dict[str, Any], right: dict[str, Any], level: str) -> None:
    one, other = person(1, **left), person(2, **right)
    assert [found[comparison] for found in levels((one, other), (other, one))] == [level, level]


def test_a_number_or_date_that_many_share_tells_no_one_apart() -> None:
    """A clinic's own phone, a default number and a default birth date, on 150 records of as many people."""
    made = list(Population(seed=2).records(150, again=0))
    rows = [
        person(
            number, one.first, one.last, "1970-01-01", ssn="555-66-7777", phones=["555-123-4567"], emails=["a@b.org"]
        )
        for number, one in enumerate(made)
    ]
    for model in (MODEL, BLOCKED):
        assert find_persons(table(*rows), model).clusters == []
    with connection() as con:
        Scorer(con, table(*rows), MODEL)
        left = con.execute("SELECT count(ssn) + count(email) + count(birth_date) + sum(len(phones)) FROM records")
        assert left.fetchone() == (0,)


@pytest.mark.acceptance
def test_blocking_loses_next_to_nothing() -> None:
    people = list(Population(seed=4).records(800, again=0.5))
    rows = table(*(demographics(one, f"{number:04}", MODEL) for number, one in enumerate(people)))
    every, blocked = (find_persons(rows, model) for model in (MODEL, BLOCKED))
    assert blocked.compared < every.compared / 100
    assert len(blocked.clusters) >= 0.99 * len(every.clusters)


def test_pairs_that_a_source_or_a_human_names_are_kept_with_their_evidence() -> None:
    rows = table(person(1, "Ann", "Lee", "1980-01-01"), person(2, "Zoe", "Quill", "1950-02-02"), person(3, "Bo", "Ek"))
    found = find_persons(rows, MODEL, told=[(0, 1)], different=[(0, 2)])
    assert found.clusters == [[0, 1]]
    assert {(row["left"], row["right"]) for row in found.pairs.to_pylist()} >= {(0, 1), (0, 2)}
    assert all(len(row["evidence"]) == len(MODEL.comparisons) for row in found.pairs.to_pylist())


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count: int) -> None:
    assert find_persons(table(*(person(number) for number in range(count))), MODEL).clusters == []
