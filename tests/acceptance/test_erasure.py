"""A person is erased from a lake of two hospitals: nothing is left, nobody else is touched, and it stays so."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cohortlake.cli import app
from cohortlake.cli import erase as _registered  # noqa: F401
from cohortlake.cli import look as _registered_too  # noqa: F401 (a lone command would have no name)
from cohortlake.core import gold
from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import LakeBusyError, NotProvenError, UsageError
from cohortlake.core.gold import delta_connection
from cohortlake.core.history import commits
from cohortlake.core.lake import Lake
from cohortlake.core.releases import find_release
from spark_jobs import delta, delta_history
from spark_jobs import erase as job
from spark_jobs.erase_look import make_plan
from spark_jobs.link_tables import live, read_members
from spark_jobs.pseudonyms import pseudonym_of, vault_secret
from tests import flow, hospitals

pytestmark = [pytest.mark.acceptance, pytest.mark.spark, pytest.mark.usefixtures("spark")]
A, B = "site_a_fhir_r4", "site_b_csv"
SSN = "999-41-7702"


def not_training(step: Any) -> bool:
    return step.stage != "training"


def patient_of(line: str) -> str | None:
    return hospitals._patient_of(line)


@dataclass
class Story:
    """The lake, what was delivered to it, and who is to be erased: `mine` are the ids that must be nowhere."""

    lake: Path
    data: Path
    in_a: str
    in_b: str
    mine: set[str] = field(default_factory=set)
    before: dict[str, list[list[str]]] = field(default_factory=dict)
    found_before: set[str] = field(default_factory=set)

    def erase(self, *options: str) -> Any:
        answer = CliRunner().invoke(app, ["erase", *options, "--lake", str(self.lake)])
        if answer.exception and not isinstance(answer.exception, SystemExit):
            raise answer.exception
        return answer.output


def one_human(feeds: dict[str, list[str]], like: dict[str, Any]) -> tuple[dict[str, list[str]], str]:
    """Hospital B's first patient with the demographics of hospital A's; gives the feeds and the patient's id."""
    header, first, *others = feeds["patients"]
    names, values = header.split(","), next(csv.reader(io.StringIO(first)))
    name, address = like["name"][0], like["address"][0]
    row = dict(zip(names, values, strict=True))
    row |= {"FIRST": name["given"][0], "LAST": name["family"], "BIRTHDATE": like["birthDate"], "SSN": SSN}
    row |= {"GENDER": like["gender"][0].upper(), "ADDRESS": address["line"][0], "CITY": address["city"]}
    return {**feeds, "patients": [header, ",".join(row[name] for name in names), *others]}, row["Id"]


def deliver(data: Path) -> tuple[dict[str, list[str]], str, str]:
    """The first delivery of both hospitals: three patients each, one of them the same human."""
    resources = dict(hospitals.site_a(rows=8))
    ann = json.loads(resources["Patient"][0])
    ann["identifier"] = [one if one.get("system") != "http://hl7.org/fhir/sid/us-ssn" else {**one, "value": SSN}
                         for one in ann["identifier"]]  # fmt: skip
    resources["Patient"] = [json.dumps(ann), *resources["Patient"][1:]]
    hospitals.write_site_a(data, resources)
    feeds, in_b = one_human(dict(hospitals.site_b()), ann)
    feeds = {name: lines[:400] if name not in hospitals.SHARED_CSV else lines for name, lines in feeds.items()}
    hospitals.write_site_b(data, feeds)
    return resources, ann["id"], in_b


def deliver_again(data: Path, resources: dict[str, list[str]], in_a: str) -> None:
    """Corrections, deletes, what cannot be read, and what is held: of the person and of others."""
    folder = data / A
    newer = {"meta": {"lastUpdated": "2031-01-01T00:00:00Z"}}
    patients = [json.dumps({**json.loads(line), **newer, "gender": "other"}) for line in resources["Patient"]]
    hospitals.write(folder, "Patient.2.ndjson", patients)
    mine = next(json.loads(line) for line in resources["Observation"] if patient_of(line) == in_a)
    other = next(json.loads(line) for line in resources["Observation"] if patient_of(line) != in_a)
    entries = [{"request": {"method": "DELETE", "url": f"Observation/{one['id']}"}} for one in (mine, other)]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries, "timestamp": "2031-01-01T00:00:00Z"}
    hospitals.write(folder, "deleted.2.ndjson", [json.dumps(bundle)])
    condition = next(json.loads(line) for line in resources["Condition"] if patient_of(line) == in_a)
    held = {key: value for key, value in condition.items() if key != "code"} | {"id": "held-of-ann"}
    hospitals.write(folder, "Condition.2.ndjson", [json.dumps(held), f"no JSON, but the number {SSN} of Ann is in it"])
    whole = gzip.compress("".join(f"{line}\n" for line in resources["Patient"]).encode())
    (folder / "Patient.3.ndjson.gz").write_bytes(whole[: len(whole) * 2 // 3])


def texts(path: Path) -> str:
    """All that a file says, read without the code under test."""
    data = path.read_bytes()
    if data[:4] == b"PAR1":
        return f"{pq.read_table(path, partitioning=None).to_pylist()} {pq.read_metadata(path).to_dict()}"
    if data[:2] == b"\x1f\x8b":
        with gzip.open(path) as stream:
            data = b""
            try:
                while block := stream.read(4096):
                    data += block
            except EOFError:
                pass
    return data.decode("latin-1")


def grep(lake: Path, wanted: set[str]) -> dict[str, set[str]]:
    """The files of a lake that hold one of the texts, and which."""
    found = {}
    for path in sorted(lake.rglob("*")):
        if path.is_file():
            said = f"{path.relative_to(lake)} {texts(path)}"
            if hits := {one for one in wanted if one in said}:
                found[str(path.relative_to(lake))] = hits
    return found


def content(lake: Path) -> dict[str, list[list[str]]]:
    """The rows of each table in each version, as texts."""
    found, connection = {}, delta_connection()
    for table in delta_history.tables(lake):
        name = str(table.relative_to(lake))
        if name.startswith("ops/") or name == "phi/erased":
            continue
        found[name] = [
            sorted(row for (row,) in connection.sql(
                f"SELECT CAST(to_json(t) AS VARCHAR) FROM delta_scan('{table}', version={version}) t").fetchall())
            for version in commits(table)
        ]  # fmt: skip
    return found


def with_release(lake: Path, keys: list[str]) -> None:
    """A release that holds some patients."""
    for version, held in (("1.0.0-aaaa", keys), ("1.0.0-bbbb", keys[1:])):
        folder = lake / "research/releases/made_up" / version
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"patient_key": held}), folder / "train.parquet")
        (folder / "release.json").write_text(
            json.dumps({"cohort": "made_up", "version": version, "released_at": version})
        )


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    """A lake whose erasure was killed, then refused by its proof, then ended; the tests look at what each left."""
    root = tmp_path_factory.mktemp("erasure")
    lake, data = root / "lake", root / "data"
    resources, in_a, in_b = deliver(data)
    assert flow.is_balanced(flow.run(lake, data, only=not_training))
    deliver_again(data, resources, in_a)
    assert flow.is_balanced(flow.run(lake, data, only=not_training))
    story = Story(lake, data, in_a, in_b)
    persons = live(read_members(Lake(lake)))
    assert persons[A, in_a] == persons[B, in_b]
    secret = vault_secret(Lake(lake))
    patients = [json.loads(line)["id"] for line in resources["Patient"]]
    with_release(lake, [pseudonym_of(secret, A, "Patient", patient) for patient in patients])
    theirs = [json.loads(line)["id"] for lines in resources.values() for line in lines if patient_of(line) == in_a]
    story.mine = {in_a, in_b, SSN, "held-of-ann", *theirs, pseudonym_of(secret, B, "Patient", in_b)}
    key = pseudonym_of(secret, A, "Patient", in_a)
    [(person,)] = flow.query(lake, "research/gold/patients", f"SELECT person_key FROM t WHERE patient_key = '{key}'")
    story.mine |= {key, person}
    story.found_before = set().union(*grep(lake, story.mine).values())
    story.before = content(lake)
    shutil.copytree(lake, root / "kept")
    return story


@pytest.fixture(scope="module")
def erased(story) -> Story:
    """Killed after some tables, kept from runs, refused for a leftover, then done."""
    lake, original, done = Lake(story.lake), job.purge, []

    def killed(table: Path, *args: Any, **options: Any) -> None:
        done.append(table)
        if len(done) == 12:
            raise KeyboardInterrupt
        original(table, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "purge", killed)
        plan = make_plan(
            lake, load_catalog(None), [(A, story.in_a), (B, story.in_b)], reason="request 7", by="officer",
            at="2026-11-24T12:00:00+00:00",
        )  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            job.erase(lake, plan)
    with pytest.raises(LakeBusyError, match="stopped before its end"):
        flow.run(story.lake, story.data)
    with pytest.raises(UsageError, match="stopped before its end"):
        story.erase(f"{A}/{story.in_a}", "--dry-run")
    codes = pa.table({"code": [f"typed into a field of codes: {SSN}"]})
    delta.create(lake.ops("planted"), codes.schema)
    delta.commit(lake.ops("planted"), [delta.write_part(lake.ops("planted"), codes, {})])
    with pytest.raises(NotProvenError, match=r"are still in 1 files: ops/planted/part-"):
        story.erase("--resume")
    shutil.rmtree(lake.ops("planted"))
    assert "none was found" in story.erase("--resume")
    return story


def test_the_plan_is_shown_and_touches_nothing(story):
    before = {path: path.stat().st_mtime_ns for path in story.lake.rglob("*.*") if "locks" not in path.parts}
    shown = story.erase(f"{B}/{story.in_b}", "--dry-run")
    assert f"{A}/{story.in_a}" in shown  # the linked record of the other hospital
    assert "made_up/1.0.0-aaaa is withdrawn" in shown
    assert "1 files held whole in quarantine are removed" in shown
    assert {path: path.stat().st_mtime_ns for path in story.lake.rglob("*.*") if "locks" not in path.parts} == before


def test_nothing_of_the_person_is_left_in_any_file(erased):
    assert erased.found_before == erased.mine  # what is looked for was there
    assert grep(erased.lake, erased.mine) == {}


def test_all_else_is_as_it_was_in_every_version(erased):
    after = content(erased.lake)
    for name, versions in erased.before.items():
        for number, rows in enumerate(versions):
            kept = [row for row in rows if not any(one in row for one in erased.mine)]
            changed = [row for row in after[name][number] if row not in kept]
            if name == f"phi/bronze/{A}":
                # A Bundle of deletes loses one entry; all other rows are the same.
                assert all(json.loads(json.loads(row)["payload"])["resourceType"] == "Bundle" for row in changed)
                assert len(changed) <= 1
            elif name == "phi/quarantine/records":
                # A record that nobody can read is the person's by its place: its row here names nobody.
                assert set(after[name][number]) <= set(kept)
            else:
                assert after[name][number] == kept, f"{name} {number}"
    assert len(erased.before["phi/silver/Patient"]) >= 4  # made, two deliveries, and the merge of a third


def test_as_of_before_the_erasure_others_are_shown(erased):
    connection = gold.connect(Lake(erased.lake), "patients")
    (count,) = connection.sql("SELECT count(*) FROM patients").fetchone()
    assert count == 4


def test_the_release_is_withdrawn_and_says_so(erased):
    lake = Lake(erased.lake)
    with pytest.raises(UsageError, match=r"1.0.0-aaaa was withdrawn at 20.*: a person in it was erased"):
        find_release(lake, "made_up", "1.0.0-aaaa")
    assert find_release(lake, "made_up").version == "1.0.0-bbbb"


def test_the_record_says_how_much_and_not_who(erased):
    (record,) = job.records(Lake(erased.lake))
    assert (record["reason"], record["by"], record["silos"]) == ("request 7", "officer", [A, B])
    assert record["is_proven"]
    assert record["files_searched"] > 100
    rows = dict(record["rows_by_table"])
    assert rows["phi/silver/Patient"] >= 3  # hospital A's in two versions, hospital B's
    assert "request 7" in erased.erase("--list")


def test_who_is_not_there_cannot_be_erased(erased):
    with pytest.raises(UsageError, match="the lake holds nothing of"):
        erased.erase(f"{A}/nobody", "--dry-run")
    with pytest.raises(UsageError, match="there is no person 0123"):
        erased.erase("0123", "--dry-run")
    with pytest.raises(UsageError, match="an erasure has a reason"):
        erased.erase(f"{A}/nobody")


def test_the_person_does_not_come_back(erased):
    """The same files under other names, and a newer one, with a record that names another patient too."""
    lake, folder = erased.lake, erased.data / A
    for path in [*folder.iterdir(), *(erased.data / B).iterdir()]:
        copy = path.with_name(path.name.replace(".", ".again.", 1))
        copy.write_bytes(path.read_bytes() if path.suffix == ".gz" else b"\xef\xbb\xbf" + path.read_bytes())
    other = next(row["id"] for row in map(json.loads, (folder / "Patient.ndjson").open()) if row["id"] != erased.in_a)
    team = {"resourceType": "CareTeam", "id": "of-two", "subject": {"reference": f"Patient/{erased.in_a}"}}
    team["participant"] = [{"role": [{"text": "carer"}], "member": {"reference": f"Patient/{other}"}}]
    hospitals.write(folder, "CareTeam.2.ndjson", [json.dumps(team)])
    found = flow.run(lake, erased.data, only=not_training)
    assert flow.is_balanced(found)
    assert found[f"land.{A}"]["facts"]["feeds"]["Patient"]["erased"] == 2
    books = {book["table"]: book for book in found[f"land.{B}"]["books"]}
    # (what stays out is not there to be compared: no digests, the records are counted)
    assert {name: value for name, value in books["bronze.patients"].items() if value and "digest" not in name} == {
        "table": "bronze.patients", "rows_in": 3, "rows_out": 2, "deleted": 1
    }  # fmt: skip
    assert "land: an erased person is in it, and others are" in flow.reasons(lake)
    assert grep(lake, erased.mine) == {}
    patients = flow.query(lake, "phi/silver/Patient", "SELECT count(*) FROM t")
    assert patients == [(4,)]
    assert not flow.run(lake, erased.data, only=not_training)[f"land.{A}"]["facts"]["files_new"]
