"""The link step over a lake: persons across silos, stable as the lake grows; decisions, merges, deletions."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pytest

from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.persons.decisions import Decision
from cohortlake.core.persons.ids import merged_into
from spark_jobs import delta, match
from spark_jobs.link_tables import forget, keep_decision, live, now, read_decisions, read_members, read_pairs, table
from tests.persons_lake import ANN, ANN_A, ANN_B, BOB_A, HOSPITALS, Patient, hold, linkage, patient, persons, run


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.mark.acceptance
def test_one_person_at_three_hospitals_whatever_the_order(tmp_path: Path, catalog: Catalog) -> None:
    for number, order in enumerate(itertools.permutations(HOSPITALS)):
        lake, here = Lake(tmp_path / str(number)), {}
        for silo in order:
            here[silo] = HOSPITALS[silo]
            hold(lake, catalog, here)
            result = run(lake, catalog)
            assert all(book.is_balanced for book in result.books)
        assert persons(lake) == {ANN, frozenset({("a", "2")})}
    assert result.facts["persons_of_several_silos"] == 1


def test_a_run_is_measured_where_the_delivery_says_who_is_who(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path / "lake")
    hold(lake, catalog, HOSPITALS)
    same = "ann,a,1,source,x\nann,b,9,minor,x\nann,c,5,major,x\nann,a,2,minor,x\n"  # the last one is a lie
    (tmp_path / "mpi_truth.csv").write_text(f"person_key,site,local_patient_id,demographic_variant,population\n{same}")
    every, *_ = run(lake, catalog, tmp_path).facts["measured"]
    assert every == {"name": "all pairs", "true": 6, "found": 3, "right": 3}


def test_nothing_is_done_where_nothing_changed(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, HOSPITALS)
    facts = run(lake, catalog).facts
    before = [delta.version(table(lake, name)) for name in ("members", "pairs")]
    assert run(lake, catalog).facts == {"unchanged": True, **facts}
    # Killed before it said that it was done, it does the same again.
    (lake.ops("progress") / "persons.json").unlink()
    members = read_members(lake)
    run(lake, catalog)
    assert read_members(lake) == members
    assert delta.version(table(lake, "members")) == before[0]


def test_an_id_stays_as_records_come_and_go(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, {"a": [ANN_A, BOB_A]})
    run(lake, catalog)
    first = live(read_members(lake))
    hold(lake, catalog, HOSPITALS)
    run(lake, catalog)
    grown = live(read_members(lake))
    assert {record: grown[record] for record in first} == first
    assert grown["b", "9"] == grown["c", "5"] == first["a", "1"]
    hold(lake, catalog, {"a": [BOB_A], "b": [ANN_B]})
    run(lake, catalog)
    assert live(read_members(lake)) == {("a", "2"): first["a", "2"], ("b", "9"): first["a", "1"]}
    hold(lake, catalog, {})
    assert run(lake, catalog).facts["records"] == 0
    assert live(read_members(lake)) == {}


def test_decisions_are_obeyed_and_kept(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, HOSPITALS)
    run(lake, catalog)
    ann = live(read_members(lake))["a", "1"]
    keep_decision(lake, Decision(("a", "1"), ("c", "5"), False, "records office", "a cousin", now()))
    keep_decision(lake, Decision(("a", "2"), ("c", "5"), True, "records office", "seen", now()))
    with pytest.raises(UsageError, match="contradicts"):
        keep_decision(lake, Decision(("a", "1"), ("a", "2"), True, "records office", "seen", now()))
    run(lake, catalog)
    assert persons(lake) == {frozenset({("a", "1"), ("b", "9")}), frozenset({("a", "2"), ("c", "5")})}
    assert live(read_members(lake))["a", "1"] == ann
    outcomes = {(row["left_id"], row["right_id"]): row["outcome"] for row in read_pairs(lake)}
    assert outcomes["1", "5"] == outcomes["2", "5"] == "decided"
    keep_decision(lake, Decision(("c", "5"), ("a", "1"), True, "records office", "it is her", now()))
    keep_decision(lake, Decision(("c", "5"), ("a", "2"), False, "records office", "it is not him", now()))
    run(lake, catalog)
    assert persons(lake) == {ANN, frozenset({("a", "2")})}


def test_what_a_silo_merges_is_one_and_what_it_parts_again_is_two(tmp_path: Path, catalog: Catalog) -> None:
    """HL7 v2's A40 as FHIR has it: a Patient that another replaces, however unlike they are; then the un-merge."""
    lake = Lake(tmp_path)
    other = patient("7", "Unknown", "Unknown", "1900-01-01")
    hold(lake, catalog, {"a": [ANN_A, other]})
    run(lake, catalog)
    assert len(persons(lake)) == 2
    linked = {**other, "link": [{"other": {"reference": "Patient/1"}, "type": "replaced-by"}]}
    hold(lake, catalog, {"a": [ANN_A, linked], "b": [patient("1", "Zoe", "Quill", "2001-01-01")]})
    run(lake, catalog)
    assert persons(lake) == {frozenset({("a", "1"), ("a", "7")}), frozenset({("b", "1")})}
    assert len(merged_into(read_members(lake))) == 1
    hold(lake, catalog, {"a": [ANN_A, other]})
    run(lake, catalog)
    assert len(persons(lake)) == 2


def test_linkages_join_records_and_part_them(tmp_path: Path, catalog: Catalog) -> None:
    """HL7 v2's A24 and A37: unlike records linked, like ones not; a human and a merge know better."""
    lake = Lake(tmp_path)
    namesake = {**ANN_A, "id": "8"}
    hold(lake, catalog, {"a": [ANN_A, BOB_A, namesake]})
    linkage(lake, catalog, {("1", "2"): True, ("1", "8"): False, ("1", "gone"): True})
    run(lake, catalog)
    assert persons(lake) == {frozenset({("a", "1"), ("a", "2")}), frozenset({("a", "8")})}
    outcomes = {(row["left_id"], row["right_id"]): row["outcome"] for row in read_pairs(lake)}
    assert (outcomes["1", "8"], outcomes["1", "2"]) == ("parted", "linked")
    linkage(lake, catalog, {("1", "2"): False, ("1", "8"): True})
    run(lake, catalog)
    both = {frozenset({("a", "1"), ("a", "8")}), frozenset({("a", "2")})}
    assert persons(lake) == both
    linkage(lake, catalog, {("1", "8"): False})
    hold(lake, catalog, {"a": [ANN_A, BOB_A, {**namesake, "link": [{"other": {"reference": "Patient/1"}}]}]})
    run(lake, catalog)
    assert persons(lake) == both
    hold(lake, catalog, {"a": [ANN_A, BOB_A, namesake]})
    run(lake, catalog)
    assert len(persons(lake)) == 3
    keep_decision(lake, Decision(("a", "1"), ("a", "8"), True, "records office", "it is her", now()))
    run(lake, catalog)
    assert persons(lake) == both


def test_a_patient_by_two_doors_of_one_hospital_is_one(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, {"a": [ANN_A], "b": [patient("1", "Zoe", "Quill", "2001-01-01")]})
    run(lake, catalog)
    assert len(persons(lake)) == 2
    said = {"resource_type": "Patient", "silo": "b", "id": "1", "stands_silo": "a", "stands_id": "1", "differs": []}
    delta.replace_rows(lake.same_facts, pa.Table.from_pylist([said], schema=match.SCHEMA), "true")
    run(lake, catalog)
    assert persons(lake) == {frozenset({("a", "1"), ("b", "1")})}


TWIN_1 = patient("1", "Anna", "Berg", "2010-05-05")
TWIN_2 = patient("2", "Zoe", "Berg", "2010-05-05")
FATHER = patient("3", "Anna", "Berg", "1981-09-12")


def test_a_family_is_not_one_person_and_waits_for_a_human(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, {"a": [TWIN_1], "b": [TWIN_2], "c": [FATHER]})
    run(lake, catalog)
    assert len(persons(lake)) == 3
    held = {(row["left_id"], row["right_id"]): (row["hold"], row["outcome"]) for row in read_pairs(lake)}
    assert held["1", "2"] == ("twins", "review")
    assert held["1", "3"] == ("generations", "review")


def test_a_number_alone_is_not_enough(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    child = patient("4", "Milo", "Reyes", "2015-03-03", ssn="999-30-6432", address=[{"city": "Salem"}], gender="male")
    hold(lake, catalog, {"a": [ANN_A], "b": [child]})
    run(lake, catalog)
    assert len(persons(lake)) == 2


NOBODY: list[Patient] = [{"id": str(number)} for number in range(4)]


@pytest.mark.parametrize(
    ("silos", "count"),
    [
        ({}, 0),
        ({"a": [ANN_A]}, 1),
        ({"a": [ANN_A, BOB_A]}, 2),
        ({"a": NOBODY, "b": NOBODY}, 8),
        ({"a": [{**ANN_A, "birthDate": None, "address": None}], "b": [{**ANN_B, "name": None}]}, 2),
    ],
    ids=["no Patient", "one", "one silo", "nothing known of anyone", "little in common"],
)
def test_little_or_nothing_is_no_trouble(
    tmp_path: Path, catalog: Catalog, silos: dict[str, list[Patient]], count: int
) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, silos)
    result = run(lake, catalog)
    assert len(persons(lake)) == count
    assert [(book.rows_in, book.rows_out) for book in result.books] == [(sum(map(len, silos.values())),) * 2]


def test_a_lake_without_patients(tmp_path: Path, catalog: Catalog) -> None:
    assert run(Lake(tmp_path), catalog).facts["records"] == 0


def test_pairs_hold_no_value_of_a_record(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, HOSPITALS)
    run(lake, catalog)
    told = str(read_pairs(lake)).lower()
    assert not [value for value in ("walker", "ann", "999306432", "1965", "taunton", "oak") if f"'{value}" in told]


def test_a_record_is_forgotten_in_every_table(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake(tmp_path)
    hold(lake, catalog, HOSPITALS)
    run(lake, catalog)
    keep_decision(lake, Decision(("a", "2"), ("c", "5"), False, "records office", "seen", now()))
    assert read_pairs(lake, of=[("c", "5")])
    assert forget(lake, [("c", "5")]) == {"members": 1, "pairs": 2, "decisions": 1}
    assert persons(lake) == {ANN - {("c", "5")}, frozenset({("a", "2")})}
    assert read_pairs(lake, of=[("c", "5")]) == []
    assert read_pairs(lake, outcome="linked")
    assert read_decisions(lake) == []
    assert forget(lake, [("c", "5")]) == {}
