"""Pairwise measures, and truths however they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cohortlake.core.errors import SourceError, UsageError
from cohortlake.core.persons.columns import iso_date, read_records, read_truth
from cohortlake.core.persons.declared import load_model
from cohortlake.core.persons.evaluate import Truth, broken, measure, measure_labels
from cohortlake.core.persons.labels import is_labels, read_labels, truth_of_matches
from cohortlake.core.persons.match_truth import matched, matched_labels

A1, A2, B1, B2, C1 = (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1"))


def test_pairs_are_counted_by_their_worse_record() -> None:
    truth = {A1: Truth("p", "source"), B1: Truth("p", "exact"), C1: Truth("p", "major"), A2: Truth("q", "source")}
    persons = {A1: "1", B1: "1", A2: "1", C1: "2", B2: "1"}
    counted = {one.name: (one.true, one.found, one.right) for one in measure(persons, truth)}
    # B2 has no truth, so that its pairs are not judged.
    assert counted == {"all pairs": (3, 3, 1), "exact and minor": (1, 3, 1), "exact": (1, 2, 1), "major": (2, 0, 0)}


def test_rates() -> None:
    whole = measure({A1: "1", B1: "1", C1: "1"}, {A1: Truth("p"), B1: Truth("p"), C1: Truth("q")})[0]
    assert (round(whole.precision, 4), whole.recall, round(whole.f1, 4)) == (0.3333, 1.0, 0.5)
    assert broken([whole]) == ["precision 0.3333 is below 0.99"]


def test_nothing_to_find_and_nothing_found_is_no_failure() -> None:
    assert broken(measure({A1: "1", B1: "2"}, {A1: Truth("p"), B1: Truth("q")})) == []


def test_labels_judge_no_other_pair() -> None:
    one = measure_labels({A1: "1", B1: "1", C1: "1"}, {(A1, B1): True, (A1, ("z", "9")): True, (B1, C1): False})[0]
    assert (one.true, one.found, one.right) == (1, 2, 1)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_have_the_names_that_such_sets_use(tmp_path: Path) -> None:
    header = "rec_id,given_name,surname,street_number,address_1,suburb,date_of_birth,soc_sec_id,x"
    lines = ("r1,Ann,Lee,12,Oak Street,Perth,19800201,5304218,?", "r2,,Lee,,,,,,")
    path = write(tmp_path, "febrl.csv", "\n".join((header, *lines)))
    read = read_records(path, load_model())
    first, second = read.rows
    assert (first["silo"], first["patient_id"]) == ("febrl", "r1")
    told = [first[name] for name in ("first_name", "surname", "address", "city", "birth_date", "ssn")]
    assert told == ["ann", "lee", "12 oak st", "perth", "1980-02-01", "5304218"]
    assert second["birth_date"] is None
    assert second["address"] is None
    assert read.left_out == ["x"]
    assert read.truth == {}


def test_a_date_in_three_columns_and_a_truth_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "r.csv", "id,fname_c1,lname_c1,by,bm,bd,cluster\n1,A,B,1980,2,1,7\n2,A,B,1980,,,\n")
    read = read_records(path, load_model())
    assert [row["birth_date"] for row in read.rows] == ["1980-02-01", "1980"]
    assert read.truth == {("r", "1"): Truth("7")}


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("name,dob\nA,1980\n", UsageError, "column for id"),
        ("id,dob\n1,1980\n", UsageError, "column for a name"),
        ("id,name\n1,A\n1,B\n", UsageError, "twice"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read_records(write(tmp_path, "r.csv", text), load_model())
    with pytest.raises(SourceError, match="cannot be read"):
        read_records(tmp_path / "none.csv", load_model())


def test_labelled_pairs(tmp_path: Path) -> None:
    header = "unique_id_l,source_dataset_l,unique_id_r,source_dataset_r,clerical_match_score"
    path = write(tmp_path, "labels.csv", f"{header}\n2,f,1,f,1.0\n3,f,1,f,0.0\n")
    assert is_labels(path)
    labels, is_judged = read_labels(path)
    assert is_judged
    assert labels == {(("f", "1"), ("f", "2")): True, (("f", "1"), ("f", "3")): False}
    assert matched_labels(labels, [("x", "1"), ("x", "2")]) == {(("x", "1"), ("x", "2")): True}


def test_pairs_without_a_score_are_all_the_matches(tmp_path: Path) -> None:
    path = write(tmp_path, "matches.csv", "rec_id_1,rec_id_2\n1,2\n2,3\n")
    assert is_labels(path)
    labels, is_judged = read_labels(path)
    assert not is_judged
    told = truth_of_matches(matched_labels(labels, [("x", n) for n in "1234"]), [("x", n) for n in "1234"])
    assert len({told["x", n].person for n in "123"}) == 1
    assert len(set(told.values())) == 2


@pytest.mark.parametrize(("label", "is_match"), [("TRUE", True), ("no", False), ("0.7", True), ("", False)])
def test_labels_in_words(tmp_path: Path, label: str, is_match: bool) -> None:
    path = write(tmp_path, "labels.csv", f"left_id,right_id,label\n1,2,{label}\n")
    assert list(read_labels(path)[0].values()) == [is_match]


def test_a_label_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r":2: 'perhaps' is no label"):
        read_labels(write(tmp_path, "labels.csv", "id_l,id_r,label\n1,2,perhaps\n"))


def test_a_truth_names_records_by_id_or_by_the_hospitals_number(tmp_path: Path) -> None:
    path = write(
        tmp_path, "t.csv", "person_key,site,local_patient_id,demographic_variant\np,site_a,77,exact\nq,site_c,9,\n"
    )
    truth = read_truth(path)
    records = {("site_a_fhir", "77"): [], ("site_a_v2", "uuid"): ["urn:a|77"], ("site_b", "77"): []}
    found, missing = matched(truth, records, {})
    assert found == dict.fromkeys([("site_a_fhir", "77"), ("site_a_v2", "uuid")], Truth("p", "exact"))
    assert missing == 1
    assert matched(truth, records, {"site_a": "site_b"})[0] == {("site_b", "77"): Truth("p", "exact")}


def test_a_truth_without_sites_is_matched_by_id(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path, "t.csv", "unique_id,cluster\n1,p\n"))
    assert matched(truth, {("r", "1"): [], ("r", "2"): []}, {}) == ({("r", "1"): Truth("p")}, 0)


@pytest.mark.parametrize(("text", "iso"), [("19800201", "1980-02-01"), ("1980/02/01", "1980-02-01"), ("", "")])
def test_dates(text: str, iso: str) -> None:
    assert iso_date(text) == iso
