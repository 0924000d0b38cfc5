"""How well persons are found: the three hospitals, a public linkage set, and a made-up town with its families."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations
from typing import Any

import pyarrow as pa
import pytest

from cohortlake.core.persons.columns import read_records
from cohortlake.core.persons.declared import PersonModel, load_model
from cohortlake.core.persons.evaluate import Measure, Truth, broken
from spark_jobs.link_persons import find_persons, regrouped
from tests import persons_hospitals as the
from tests.persons_population import Population, demographics

pytestmark = pytest.mark.acceptance
if not the.TRUTH.exists():
    pytest.skip(f"{the.TRUTH} is not there (set COHORTLAKE_DATA)", allow_module_level=True)


def model(*, keep_digits: bool = False, **changes: Any) -> PersonModel:
    declared = load_model()
    cleaning = declared.cleaning.model_copy(update={"keep_digits_in_names": keep_digits})
    return declared.model_copy(update={"cleaning": cleaning, **changes})


def without(rows: pa.Table, *columns: str) -> pa.Table:
    """The rows with nothing in those columns."""
    for name in columns:
        place = rows.schema.get_field_index(name)
        kind = rows.schema.field(place).type
        empty: Any = [] if pa.types.is_list(kind) else None
        rows = rows.set_column(place, name, pa.array([empty] * rows.num_rows, kind))
    return rows


NUMBERS = ("ssn", "identifiers", "identifier_kinds", "record_numbers")


@pytest.mark.parametrize("keep_digits", [False, True], ids=["as people are called", "with Synthea's digits"])
@pytest.mark.parametrize("compare_all_up_to", [1500, 0], ids=["every pair", "blocked"])
@pytest.mark.parametrize(
    "lacking", [(), NUMBERS, (*NUMBERS, "middle_name", "phones")], ids=["whole", "no numbers", "little"]
)
def test_the_marks_hold_on_three_hospitals(
    keep_digits: bool, compare_all_up_to: int, lacking: tuple[str, ...], record_property: Any
) -> None:
    chosen = model(keep_digits=keep_digits, compare_all_up_to=compare_all_up_to)
    rows = the.hospitals(chosen)
    told = the.truth(rows)
    found = find_persons(without(rows, *lacking), chosen)
    measured = the.measures(found.clusters, the.keys(rows), told)
    for name, one in measured.items():
        record_property(name, f"precision {one.precision:.4f}, recall {one.recall:.4f}, {one.true} pairs")
    assert broken(measured.values()) == []
    assert {name: one.true for name, one in measured.items()} == {
        "all pairs": 36, "exact and minor": 24, "exact": 7, "minor": 17, "major": 12,
    }  # fmt: skip


@pytest.mark.parametrize("keep_digits", [False, True])
def test_the_threshold_may_move_far_before_a_mark_breaks(keep_digits: bool) -> None:
    chosen = model(keep_digits=keep_digits)
    rows = the.hospitals(chosen)
    told = the.truth(rows)
    found = find_persons(rows, chosen)
    for link in (0.02, 0.1, 0.5, 0.9, 0.99, 0.999):
        measured = the.measures(regrouped(found, chosen, link), the.keys(rows), told)
        assert broken(measured.values()) == [], link


def test_neither_the_order_of_records_nor_the_run_matters() -> None:
    chosen = model()
    rows = the.hospitals(chosen)

    def found(order: list[int]) -> set[frozenset[int]]:
        clusters = find_persons(rows.take(order), chosen).clusters
        return {frozenset(order[number] for number in cluster) for cluster in clusters}

    order = list(range(rows.num_rows))
    first = found(order)
    assert found(order) == first
    random.Random(5).shuffle(order)
    assert found(order) == first


@pytest.mark.parametrize("keep_digits", [False, True])
def test_other_hospitals_that_see_other_people(keep_digits: bool) -> None:
    """Sets of hospitals of other seeds: sixty of A's patients are seen at two more, among the patients of B and C."""
    chosen, counts = model(keep_digits=keep_digits), Counter[tuple[str, str]]()
    for seed in range(8):
        population, records = Population(seed), list(the.people())
        for one in population.rng.sample(the.people(), 60):
            for site, lacks in (("b", {}), ("c", {"ssn": "", "middle": ""})):
                if population.rng.random() < 0.6:
                    again = population.seen_again(one, site, population.rng.choice(("exact", "minor", "major")))
                    records.append(replace(again, **lacks))
        made = (demographics(one, str(number), chosen) for number, one in enumerate(records))
        rows = the.table([*made, *the.hospital_b(chosen), *the.hospital_c(chosen)])
        of = the.keys(rows)
        told = {key: Truth(one.person, one.variant) for key, one in zip(of, records, strict=False)}
        found = find_persons(without(rows, *NUMBERS[1:]), chosen)
        for name, one in the.measures(found.clusters, of, told).items():
            counts += Counter({(name, "true"): one.true, (name, "found"): one.found, (name, "right"): one.right})
    names = {name for name, _ in counts}
    measured = {name: Measure(name, *(counts[name, kind] for kind in ("true", "found", "right"))) for name in names}
    assert measured["all pairs"].true > 500
    assert broken(measured.values()) == []


def test_a_public_set() -> None:
    """Splink's fake_1000: names, birth dates, towns and addresses of mail, half of them missing or mistyped."""
    path = the.PUBLIC / "fake_1000.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there (set COHORTLAKE_DATA)")
    chosen = model()
    read = read_records(path, chosen)
    rows = the.table(read.rows)
    measured = the.measures(find_persons(rows, chosen).clusters, the.keys(rows), read.truth)["all pairs"]
    assert measured.true == 2031
    assert measured.precision >= 0.99
    assert measured.recall >= 0.85


@pytest.mark.parametrize("lacking", [(), ("ssn", "middle_name"), ("ssn", "address", "city", "postcode")])
def test_a_town_with_its_families(lacking: tuple[str, ...]) -> None:
    """Seven thousand people with twins, siblings and namesakes at their addresses: no one is taken for another."""
    chosen = model()
    people = list(Population(seed=11).records(7000, again=0.3, families=0.2))
    rows = the.table(demographics(one, str(number), chosen) for number, one in enumerate(people))
    of = the.keys(rows)
    told = {key: Truth(one.person, one.variant) for key, one in zip(of, people, strict=True)}
    found = find_persons(without(rows, *lacking), chosen)
    assert broken(the.measures(found.clusters, of, told).values()) == []
    pairs = [(told[of[left]], told[of[right]]) for group in found.clusters for left, right in combinations(group, 2)]
    assert sum(left.person != right.person for left, right in pairs) <= 0.002 * len(pairs)
