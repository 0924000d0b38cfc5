"""Whose a record is, and what gives a person away: the rules, as tables."""

from __future__ import annotations

import gzip
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.convert import Options
from cohortlake.core.erasure import (
    Guard,
    Search,
    Traits,
    digest,
    named,
    own_name,
    references,
    traits,
    without_entries,
    words_of,
)
from spark_jobs import erase_prove
from spark_jobs.erase_door import Door
from spark_jobs.erase_prove import is_opaque, prove, texts
from spark_jobs.erase_records import Reader, other_patients, reader
from spark_jobs.land_file import SCHEMA

ANN = {
    "resourceType": "Patient", "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "birthDate": "1965-02-07",
    "name": [{"family": "O'Hara", "given": ["Ann", "Marie"]}, {"family": "Smith"}],
    "identifier": [{"system": "mrn", "value": "MR.4711/7"}, {"value": "12"}], "telecom": [{"value": "a.hara@mail.org"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"reference":"Patient/17"}', {"Patient/17"}),
        ('{"reference":"https://ehr.org/fhir/Patient/a-1.b/_history/2"}', {"Patient/a-1.b"}),
        (r'{"reference":"Patient\/17"}', {"Patient/17"}),
        (r'"_rest":"{\"subject\":{\"reference\":\"Patient/17\"}}"', {"Patient/17"}),
        ('{"reference":"urn:uuid:7c9e6679-7425-40de-944b-e07fc1f90ae7"}', {"*/7c9e6679-7425-40de-944b-e07fc1f90ae7"}),
        ('{"reference":"#contained"}', set()),
        (f'{{"reference":"Patient/{"1" * 65}"}}', set()),
    ],
)
def test_what_a_text_refers_to(text, found):
    assert references(text) == found


def test_a_resource_is_named_in_two_ways():
    assert named("Patient/1") == {"Patient/1", "*/1"}
    assert [own_name(one) for one in (ANN, {"resourceType": "Patient"}, [], None)] == [f"Patient/{ANN['id']}"] + [
        None
    ] * 3


def test_the_traits_of_a_patient():
    assert traits(ANN) == Traits(
        frozenset({ANN["id"], "MR.4711/7", "12", "a.hara@mail.org"}), frozenset({("ann", "o'hara", "1965-02-07")})
    )
    assert traits({"birthDate": "1965", "name": [{"family": "Hara", "given": ["Ann"]}]}) == Traits()


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        (f"file-{ANN['id']}.xml", True),
        (f"{ANN['id']}0", False),
        ("PID|||MR.4711/7^^^MR", True),
        ("PID|||MR.4711/77^^^MR", False),
        ("MR.4711", False),
        ("mailto:a.hara@mail.org", True),
        ("amount 12", False),  # too short to mean anything
        ("Encounter/e1", True),
        ("Encounter/e12", False),
        ("e1", False),
        ("O'HARA^ANN^^^^19650207", True),
        ("ann o'hara, born 02/07/1965", True),
        ("Ann O'Hara", False),
        ("Anna O'Hara 1965-02-07", False),
    ],
)
def test_what_gives_ann_away(text, is_there):
    search = Search(traits(ANN), ["Encounter/e1"])
    assert search.holds(text) == is_there


def test_values_are_overwritten_where_they_stand_as_words():
    search = Search(traits(ANN), [f"Encounter/{ANN['id']}"])
    assert search.overwritten(f"of {ANN['id']}, MR.4711/7; MR.4711/78") == "of erased, erased; MR.4711/78"


GUARD = Guard(
    "secret",
    "a",
    frozenset(digest("secret", "a", way) for way in named("Patient/1")),
    frozenset(digest("secret", "a", word) for word in words_of(Traits(frozenset({"999-41-7702", "12"})))),
)


def test_the_guard_knows_hashes_of_one_silo_alone():
    assert GUARD.erased(["Patient/1", "Patient/2", "*/1"]) == {"Patient/1", "*/1"}
    assert Guard("secret", "b", GUARD.names, GUARD.words).erased(["Patient/1"]) == set()
    assert Guard("other", "a", GUARD.names, GUARD.words).erased(["Patient/1"]) == set()
    assert GUARD.holds_word("damaged <999-41-7702>")
    assert not GUARD.holds_word("12 999-41-7703")


def bronze(*payloads: str, header: str | None = None) -> pa.Table:
    rows = [{"payload": payload, "offset": n, "header": header} for n, payload in enumerate(payloads)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def resource(kind: str, id_: str, *refers: str) -> str:
    return json.dumps({"resourceType": kind, "id": id_, "of": [{"reference": one} for one in refers]})


def bundle(*urls: str) -> str:
    return json.dumps(
        {"resourceType": "Bundle", "entry": [{"request": {"method": "DELETE", "url": url}} for url in urls]}
    )


@pytest.mark.parametrize(
    ("payload", "passed", "held", "erased"),
    [
        (resource("Patient", "1"), 0, 0, 1),
        (resource("Patient", "2"), 1, 0, 0),
        (resource("Patient", "1", "Patient/9"), 0, 0, 1),  # Patient.link: still the person's own
        (resource("Observation", "o", "Patient/1"), 0, 0, 1),
        (resource("Observation", "o", "Patient/2", "Patient/1"), 0, 1, 0),
        ("broken 999-41-7702", 0, 0, 1),
        ("broken", 1, 0, 0),
    ],
)
def test_the_door_parts_records_by_whom_they_name(payload, passed, held, erased):
    door = Door(GUARD, Reader("fhir_ndjson", False, Options()), frozenset())
    found = door.open_for("any", bronze(payload), [])
    assert (found.data.num_rows, len(found.rejected), found.erased) == (passed, held, erased)
    assert all(row["payload"] is None for row in found.rejected)


def test_a_bundle_of_deletes_loses_its_entry_only():
    door = Door(GUARD, Reader("fhir_ndjson", False, Options()), frozenset({"deleted"}))
    found = door.open_for("deleted", bronze(bundle("Patient/1", "Patient/2")), [])
    assert json.loads(found.data["payload"][0].as_py()) == json.loads(bundle("Patient/2"))
    assert (found.rejected, found.erased) == ([], 0)
    assert json.loads(without_entries(bundle("Patient/1"), ["Patient/1"]))["entry"] == []


def test_what_cannot_be_landed_is_asked_too():
    door = Door(GUARD, Reader("fhir_ndjson", False, Options()), frozenset())
    bad = [
        {"offset": n, "reason": "not UTF-8", "payload": data} for n, data in enumerate((b"\xff 999-41-7702", b"\xff"))
    ]
    found = door.open_for("any", bronze(), bad)
    assert (found.rejected, found.erased) == (bad[1:], 1)


CSV = {
    "patients": ("Id,FIRST", "p1,Ann", {"Patient/p1"}),
    "encounters": ("Id,PATIENT,ORGANIZATION", "e1,p1,o1", {"Encounter/e1", "Patient/p1", "Organization/o1"}),
    "claims_transactions": ("ID,CLAIMID,PATIENTID", "t1,c1,p1", {"Claim/c1", "Patient/p1"}),  # lines of a claim
    "supplies": ("DATE,PATIENT,ENCOUNTER", "2020-01-01,p1,e1", {"Patient/p1", "Encounter/e1"}),  # no mapping reads it
}


@pytest.mark.parametrize("feed", CSV)
def test_rows_of_csv_name_what_their_mappings_take_for_ids(feed):
    header, row, names = CSV[feed]
    catalog = load_catalog(None)
    read = reader(catalog, catalog.silos["site_b_csv"])
    (told, short) = read.told(
        feed, bronze(row, "one,", header=header) if header.count(",") > 1 else bronze(row, ",,", header=header)
    )
    assert {name for one in told or [] for name in one.every} == names
    assert short is None
    assert other_patients(told or [], {"Patient/p1"}) == set()


def test_the_proof_reads_every_kind_of_file(tmp_path):
    value, other = "999-41-7702", "999-41-7703"
    for name, said in (("plain", value), ("clean", other)):
        (tmp_path / f"{name}.json").write_text(f'{{\n "x": "{said}"}}')
        (tmp_path / f"{name}.html.gz").write_bytes(gzip.compress(said.encode())[:-4])  # cut short
        pq.write_table(pa.table({"b": [said.encode()], "nested": [[{"x": "1"}]]}), tmp_path / f"{name}.parquet")
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside.xml", f"<id>{said}</id>")
    rows = pa.table({"x": [other], "y": [value]})
    pq.write_table(rows, tmp_path / "footer.parquet", compression="zstd")
    (tmp_path / f"of {value}.txt").write_text("")
    (tmp_path / "noted").write_text(value)
    proof = prove(tmp_path, Search(Traits(frozenset({value}))), but=tmp_path / "noted")
    assert set(proof.found) == {
        "plain.json", "plain.html.gz", "plain.parquet", "plain.zip", "footer.parquet", f"of {value}.txt"
    }  # fmt: skip
    assert proof.files == 10
    assert list(texts(tmp_path / "clean.html.gz")) == [other]
    cut = tmp_path / "cut.zip"
    cut.write_bytes((tmp_path / "plain.zip").read_bytes()[:40])
    assert [is_opaque(path) for path in (cut, tmp_path / "plain.zip", tmp_path / "plain.json")] == [True, False, False]


def test_lines_are_whole_across_blocks_and_gzip_members(tmp_path, monkeypatch):
    monkeypatch.setattr(erase_prove, "BLOCK", 7)
    for name, data in (
        ("plain", b"first line\nsecond line"),
        ("zipped", gzip.compress(b"first li") + gzip.compress(b"ne\nsecond line")),
    ):
        (tmp_path / name).write_bytes(data)
        assert list(texts(tmp_path / name)) == ["first line", "second line"]
