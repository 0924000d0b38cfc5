"""An erasure as a whole, on a lake of Patients without Spark: killed, refused by its proof, resumed, recorded."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cohortlake.cli import app
from cohortlake.cli import erase as _registered  # noqa: F401
from cohortlake.cli import look as _registered_too  # noqa: F401 (a lone command would have no name)
from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import LakeBusyError, NotProvenError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.run import check_erased
from spark_jobs import delta
from spark_jobs import erase as job
from spark_jobs.erase_door import door_of
from spark_jobs.link_tables import live, read_members
from tests import flow, persons_lake

A, B = "site_a_fhir_r4", "site_b_csv"
SSN = "999-30-6432"


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake, catalog = Lake(tmp_path / "lake"), load_catalog(None)
    ann, bob = persons_lake.ANN_A, persons_lake.BOB_A
    persons_lake.hold(lake, catalog, {A: [{**ann, "id": "ann-of-a"}, {**bob, "id": "bob-of-a"}],
                                      B: [{**persons_lake.ANN_B, "id": "ann-of-b"}]})  # fmt: skip
    persons_lake.run(lake, catalog)
    page = lake.root / "ops/page.html"
    page.write_text(f"<p>held: {SSN}</p>", encoding="utf-8")
    return lake


def erase(lake: Lake, *options: str) -> Any:
    answer = CliRunner().invoke(app, ["erase", *options, "--lake", str(lake.root)])
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.output


ASKED = ("--reason", "request 7", "--by", "officer", "--yes")


def ids(lake: Lake) -> list[str]:
    return sorted(row for (row,) in flow.query(lake.root, "phi/silver/Patient", "SELECT id FROM t"))


def people(lake: Lake) -> tuple[list[str], int]:
    """The keys of gold's persons, and how many rows its patients have."""
    keys = sorted(key for (key,) in flow.query(lake.root, "research/gold/persons", "SELECT person_key FROM t"))
    return keys, flow.query(lake.root, "research/gold/patients", "SELECT count(*) FROM t")[0][0]


@pytest.mark.parametrize(("only", "patients"), [((), 1), (("--only",), 2)], ids=["the person", "one record"])
def test_a_persons_row_of_gold_goes_with_any_of_its_records(lake, only, patients):
    """It is made of all of them; the next run makes it of what is left."""
    persons_lake.make_gold(lake, load_catalog(None), {A: "1965-02-07", B: "1965-07-02"})
    known = live(read_members(lake))
    assert people(lake) == (sorted(set(known.values())), 3)
    erase(lake, f"{B}/ann-of-b", *only, *ASKED)
    assert people(lake) == ([known[A, "bob-of-a"]], patients)


def test_all_records_of_the_person_go_and_nobody_elses(lake):
    assert len(set(live(read_members(lake)).values())) == 2
    assert f"{A}/ann-of-a" in erase(lake, f"{B}/ann-of-b", "--dry-run")
    assert len(ids(lake)) == 3
    assert "none was found" in erase(lake, f"{B}/ann-of-b", *ASKED)
    assert ids(lake) == ["bob-of-a"]
    assert set(live(read_members(lake))) == {(A, "bob-of-a")}
    assert (lake.root / "ops/page.html").read_text() == "<p>held: erased</p>"
    (record,) = job.records(lake)
    assert (record["reason"], record["by"], record["silos"], record["is_proven"]) == (
        "request 7",
        "officer",
        [A, B],
        True,
    )
    assert not any(name in json.dumps(record, default=str) for name in (SSN, "ann-of", "Walker"))


def test_the_named_record_alone(lake):
    erase(lake, f"{B}/ann-of-b", "--only", *ASKED)
    assert ids(lake) == ["ann-of-a", "bob-of-a"]
    assert job.records(lake)[0]["traits_shared"] > 0  # her number is her other record's too


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_killed_after_any_table_it_is_resumed_and_no_run_starts(lake, monkeypatch, step):
    original, done = job.purge, []

    def killed(*args: Any, **options: Any) -> None:
        done.append(args)
        if len(done) == step:
            raise KeyboardInterrupt
        original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(job, "purge", killed)
        erase(lake, f"{B}/ann-of-b", *ASKED)
    assert lake.erasing.exists()
    with pytest.raises(LakeBusyError, match="stopped before its end"):
        check_erased(lake)
    with pytest.raises(UsageError, match="stopped before its end"):
        erase(lake, f"{A}/bob-of-a", "--dry-run")
    assert "none was found" in erase(lake, "--resume")
    check_erased(lake)
    assert ids(lake) == ["bob-of-a"]
    assert dict(job.records(lake)[0]["rows_by_table"])["phi/silver/Patient"] == 2


def test_the_proof_refuses_a_leftover_until_it_is_gone_or_accepted(lake):
    planted = lake.ops("planted")
    rows = pa.table({"code": [f"typed into a field of codes: {SSN}"]})
    delta.create(planted, rows.schema)
    delta.commit(planted, [delta.write_part(planted, rows, {})])
    with pytest.raises(NotProvenError, match=r"are still in 1 files: ops/planted/part-.*\(2\)"):
        erase(lake, f"{B}/ann-of-b", *ASKED)
    with pytest.raises(NotProvenError):
        erase(lake, "--resume")
    assert "not proven" in erase(lake, "--resume", "--accept")
    (record,) = job.records(lake)
    assert (record["is_proven"], [count for _, count in record["found"]]) == (
        False,
        [2],
    )  # the row, and the statistics in the footer


def test_what_was_erased_is_known_by_hashes(lake):
    catalog = load_catalog(None)
    assert door_of(lake, catalog, catalog.silos[A]) is None
    erase(lake, f"{B}/ann-of-b", *ASKED)
    door = door_of(lake, catalog, catalog.silos[A])
    assert door is not None
    assert door.guard.erased(["Patient/ann-of-a", "Patient/bob-of-a"]) == {"Patient/ann-of-a"}
    assert "ann-of" not in json.dumps(delta.rows(lake.erased).to_pylist())


def test_a_run_and_an_erasure_exclude_each_other(lake):
    with lake.lock("run"), pytest.raises(LakeBusyError, match="holds run"):
        erase(lake, f"{B}/ann-of-b", *ASKED)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([f"{A}/nobody", "--dry-run"], "the lake holds nothing of"),
        (["0123", "--dry-run"], "there is no person 0123"),
        (["site_q/1", "--dry-run"], "there is no silo site_q"),
        ([f"{A}/bob-of-a"], "an erasure has a reason"),
        ([f"{A}/ann-of-a", "--reason", f"of {SSN}", "--by", "officer", "--yes"], "the reason names the person"),
        (["--resume"], "no erasure was stopped"),
        ([], "nobody is named"),
    ],
)
def test_what_cannot_be_asked_is_a_clear_error(lake, options, told):
    with pytest.raises(UsageError, match=told):
        erase(lake, *options)
    assert len(ids(lake)) == 3
