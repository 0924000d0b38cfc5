"""One row a human: which value of several is used, by which rule, whatever the order in which records came."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cohortlake.core.catalog import Table, load_catalog
from cohortlake.core.catalog.attributes import Attribute, Resolution
from cohortlake.core.recount.people import person, recount_people
from spark_jobs.fhir_types import table_schema
from spark_jobs.person_rows import PERSON_KEYS, persons_of, with_persons

TABLES = load_catalog().tables
PERSONS, PATIENTS = TABLES["persons"], TABLES["patients"]
TRUST = ["a", "b", "c", "d"]
BIRTH = PERSONS.resolve.attributes["birth_date"]  # type: ignore[union-attr]


def types(table: Table) -> pa.Schema:
    return table_schema({name: column.type for name, column in table.columns.items()})


def record(silo: str, person: str | None = "p", **said: Any) -> dict[str, Any]:
    born = said.pop("born", None)
    return {"silo": silo, "person_key": person, "birth_date": born and date.fromisoformat(born), **said}


def resolved(*records: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    """The persons of records, by the declared attributes; silos are a, b, c and d, the first the most trusted."""
    assert PERSONS.resolve is not None
    resolution = PERSONS.resolve.model_copy(update={"sources": {}, "trust": TRUST, **changes})
    found: list[dict[str, Any]] | None = None
    for order in itertools.permutations(records):
        rows = pa.Table.from_pylist(list(order), schema=types(PATIENTS))
        made = persons_of(rows, resolution, types(PERSONS)).to_pylist()
        assert found in (None, made), "the order of the records matters"
        found = made
        by_person = {one["person_key"]: [] for one in rows.to_pylist() if one["person_key"]}
        for one in rows.to_pylist():
            if one["person_key"]:
                by_person[one["person_key"]].append(one)
        recounted = [person(key, by_person[key], resolution) for key in sorted(by_person)]
        assert recounted == made, "the books' own reading of the rules gives another row"
    return found or []


def born(*records: dict[str, Any], **changes: Any) -> tuple[str, str, int]:
    """The birth date that is used, why, and how many there were."""
    (one,) = resolved(*records, **changes)
    assert one["has_birth_date_conflict"] == (one["birth_date_count"] > 1)
    return str(one["birth_date"]), one["birth_date_basis"], one["birth_date_count"]


@pytest.mark.parametrize(
    ("dates", "used", "basis"),
    [
        (("1967-03-13", "1967-03-13", "1967-03-13"), "1967-03-13", "agreed"),
        (("1967-03-13", None, None), "1967-03-13", "agreed"),
        # Two copied the first of the month, and one knows the day.
        (("1967-03-01", "1967-03-01", "1967-03-13"), "1967-03-13", "most_precise"),
        (("1967-01-01", "1967-01-01", "1967-10-05"), "1967-10-05", "most_precise"),
        # Another month's first is as good a date as any.
        (("1980-02-12", "1980-12-01", "1980-12-01"), "1980-12-01", "most_sources"),
        (("1980-12-02", "1980-02-12", "1980-02-12"), "1980-02-12", "most_sources"),
        (("1980-12-02", "1980-02-12", "1980-05-05"), "1980-12-02", "most_trusted"),
        # A precise date and two others: the first of the month is out, the trusted one of the rest is in.
        (("1980-12-01", "1980-12-20", "1980-02-12"), "1980-12-20", "most_trusted"),
    ],
)
def test_three_records_of_one_human(dates: tuple[str | None, ...], used: str, basis: str) -> None:
    records = [record(silo, born=said) for silo, said in zip("abc", dates, strict=True)]
    assert born(*records) == (used, basis, len(set(dates) - {None}))


def test_silos_of_one_place_are_one_voice() -> None:
    records = [record("a", born="1980-02-12"), record("c", born="1980-05-05"), record("d", born="1980-05-05")]
    assert born(*records) == ("1980-05-05", "most_sources", 2)
    together = {"sources": {"hospital": ["c", "d"]}}
    assert born(*records, **together) == ("1980-02-12", "most_trusted", 2)
    (one,) = resolved(*records, **together)
    assert (one["record_count"], one["silo_count"], one["source_count"]) == (3, 3, 2)


def test_a_silo_that_says_two_things_of_one_human_has_the_lowest_taken() -> None:
    assert born(record("a", born="1980-05-05"), record("a", born="1980-02-12")) == ("1980-02-12", "lowest_value", 2)


def test_silos_that_trust_does_not_name_come_last() -> None:
    records = [record("z", born="1980-05-05"), record("d", born="1980-02-12")]
    assert born(*records) == ("1980-02-12", "most_trusted", 2)
    assert born(*records, trust=[]) == ("1980-02-12", "most_trusted", 2)
    assert born(*records, trust=["z"]) == ("1980-05-05", "most_trusted", 2)


def test_what_means_unknown_gives_way_and_is_no_conflict() -> None:
    (one,) = resolved(
        record("a", gender="unknown", race_code="UNK", race_display="Unknown"),
        record("b", gender="female", race_code="2106-3", race_system="cdc", race_display="White"),
        record("c", gender="unknown", race_code="2106-3", race_display="white"),
    )
    assert (one["gender"], one["gender_basis"], one["gender_count"]) == ("female", "agreed", 1)
    assert (one["race_code"], one["race_system"], one["race_display"]) == ("2106-3", "cdc", "White")
    assert not one["has_gender_conflict"] | one["has_race_conflict"]
    (other,) = resolved(record("a", gender="unknown"))
    assert (other["gender"], other["gender_basis"], other["gender_count"]) == ("unknown", "only_unknown", 0)
    assert (other["race_code"], other["race_basis"], other["race_count"]) == (None, None, 0)


def test_a_death_that_one_source_knows_of_is_one() -> None:
    (one,) = resolved(record("a", is_deceased=False), record("b", is_deceased=False), record("c", is_deceased=True))
    assert (one["is_deceased"], one["deceased_basis"], one["has_deceased_conflict"]) == (True, "any_true", True)
    assert resolved(record("a"))[0]["is_deceased"] is None


def test_people_are_kept_apart_and_records_of_no_one_left_out() -> None:
    made = resolved(record("a", "p", born="1980-05-05"), record("a", "q", born="1981-05-05"), record("a", None))
    assert [(one["person_key"], one["record_count"], one["has_birth_date_conflict"]) for one in made] == [
        ("p", 1, False),
        ("q", 1, False),
    ]


def test_the_person_of_a_patient_is_looked_up() -> None:
    rows = pa.table({"patient_key": ["1", "2", None]})
    known = pa.table([["2"], ["p"]], schema=PERSON_KEYS)
    assert with_persons(rows, {"person_key": "patient_key"}, known)["person_key"].to_pylist() == [None, "p", None]
    assert with_persons(rows, {}, known).column_names == ["patient_key"]
    nobody = PERSON_KEYS.empty_table()
    assert with_persons(rows, {"person_key": "patient_key"}, nobody)["person_key"].to_pylist() == [None] * 3


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"attributes": {}}, "at least 1"),
        ({"attributes": {"x": {"columns": ["x"], "rules": ["newest"]}}}, "most_precise"),
        ({"attributes": {"x": {"columns": ["x", "x"], "rules": ["any_true"]}}}, "names one twice"),
        ({"sources": {"one": ["a"], "two": ["a"]}}, "the silo a is listed twice"),
        ({"trust": ["a", "a"]}, "the silo a is listed twice"),
    ],
)
def test_a_wrong_declaration_is_refused(wrong: dict[str, Any], says: str) -> None:
    right = {"attributes": {"x": {"columns": ["x"], "rules": ["any_true"]}}}
    assert Resolution.model_validate(right).attributes["x"] == Attribute(columns=["x"], rules=["any_true"])
    with pytest.raises(ValidationError, match=says):
        Resolution.model_validate(right | wrong)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"resolve": None}, "a table from persons, and no other"),
        ({"from": "sql"}, "a table from persons, and no other"),
        ({"needs": []}, "needs one table"),
        ({"person_of": {"person_key": "patient_key"}}, "person_of is for tables that are made from a view"),
    ],
)
def test_a_table_says_how_it_is_made(change: dict[str, Any], says: str) -> None:
    whole = PERSONS.model_dump(by_alias=True)
    with pytest.raises(ValidationError, match=says):
        Table.model_validate({**whole, **change})


def test_columns_that_nothing_makes_are_refused() -> None:
    whole = PERSONS.model_dump(by_alias=True)
    del whole["columns"]["gender_basis"]
    with pytest.raises(ValidationError, match="do not name the same: gender_basis"):
        Table.model_validate(whole)
    whole = PERSONS.model_dump(by_alias=True)
    whole["columns"]["gender_count"]["type"] = "STRING"
    with pytest.raises(ValidationError, match="'gender_count' must be a INT"):
        Table.model_validate(whole)
    patients = PATIENTS.model_dump(by_alias=True)
    with pytest.raises(ValidationError, match="person_of names 'nobody'"):
        Table.model_validate({**patients, "person_of": {"person_key": "nobody"}})


def test_birth_dates_are_resolved_by_what_the_catalog_declares() -> None:
    assert BIRTH.rules == ["most_precise", "most_sources", "most_trusted"]


RECORDS = [
    record("a", born="1967-03-01", gender="male", race_code="2106-3", race_system="r", race_display="White"),
    record("b", born="1967-03-13", gender="female", is_deceased=True, death_date=date(2020, 1, 1)),
    record("c", person="q", gender="unknown"),
    record("d", person=None, gender="male"),
]


@pytest.mark.parametrize("column", PERSONS.columns)
def test_the_books_see_an_altered_column(column: str, tmp_path: Path) -> None:
    assert PERSONS.resolve is not None
    records = pa.Table.from_pylist(RECORDS, schema=types(PATIENTS))
    rows = persons_of(records, PERSONS.resolve, types(PERSONS))
    files = [tmp_path / name for name in ("patients.parquet", "persons.parquet", "altered.parquet")]
    values = rows[column].to_pylist()
    values[0] = ANOTHER[PERSONS.columns[column].type](values[0])
    place, field = rows.column_names.index(column), rows.schema.field(column)
    altered = rows.set_column(place, field, pa.array(values, field.type))
    for file, held in zip(files, (records, rows, altered), strict=True):
        pq.write_table(held, file)
    honest, lie = (recount_people(duckdb.connect(), PERSONS, PERSONS.resolve, [file], files[:1]) for file in files[1:])
    assert honest.is_agreed
    assert lie.trouble == ["2 rows are there, but not with the content that they must have"]


ANOTHER: dict[str, Callable[[Any], Any]] = {
    "STRING": lambda value: f"{value}~",
    "BOOLEAN": lambda value: not value,
    "INT": lambda value: 7,
    "DATE": lambda value: date(1900, 1, 1),
}


def test_the_books_see_that_nobody_is_left(tmp_path: Path) -> None:
    assert PERSONS.resolve is not None
    pq.write_table(pa.Table.from_pylist(RECORDS, schema=types(PATIENTS)), tmp_path / "patients.parquet")
    found = recount_people(duckdb.connect(), PERSONS, PERSONS.resolve, [], [tmp_path / "patients.parquet"])
    assert found.trouble[-1] == "2 rows must be there, 0 are"
    assert recount_people(duckdb.connect(), PERSONS, PERSONS.resolve, [], []).is_agreed
