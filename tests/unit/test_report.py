"""The run report: what it says of good, faulty, failed and empty runs, and what it never shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cohortlake.core.errors import LakeWriteError
from cohortlake.core.lake import Lake
from cohortlake.report import write
from cohortlake.report.flow import make_flow
from cohortlake.report.report import read_report
from tests import report_records as records
from tests import report_runs as runs
from tests.report_page import Page, page_of, told

SECTIONS = ("flow", "silos", "gates", "quarantine", "gold", "training", "time", "books")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


RUNS = {"good": runs.good_run, "faulty": runs.faulty_run, "failed": runs.failed_run, "idle": runs.idle_run}


@pytest.mark.parametrize("name", RUNS)
def test_every_page_has_its_sections_in_good_html_and_fetches_nothing(lake: Lake, name: str) -> None:
    page = page_of(lake, RUNS[name](lake))
    assert page.wrong == []
    ids = [given["id"] for _, given in page.tags if given.get("id")]
    assert len(ids) == len(set(ids))
    assert set(SECTIONS) <= set(ids)
    assert not [link for link in page.links if re.match(r"[a-z]+:|//", link)]
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(ids)


def test_the_two_pages_differ_in_their_links_only(lake: Lake) -> None:
    docs = lake.docs / "index.html"
    docs.parent.mkdir(parents=True)
    docs.write_text("docs", encoding="utf-8")
    own = write(lake, runs.good_run(lake))
    assert own == lake.runs / "20261123T020000000Z/report.html"
    for path in (own, lake.root / "report.html"):
        links = [link for link in Page(path.read_text(encoding="utf-8")).links if link.endswith("index.html")]
        assert links
        assert all((path.parent / link).resolve() == docs.resolve() for link in links)


def test_a_good_run(lake: Lake) -> None:
    page = page_of(lake, runs.good_run(lake))
    assert "Done" in page.source.split("<h1")[1].split("</h1>")[0]
    whole = page.said()
    assert "2 silos brought 205,708 records in 40 new files" in whole
    assert "nothing was rejected" in whole
    assert "15 gold tables now hold 204,995 rows" in whole
    assert "Training set type2_diabetes 1.0.0-3fa2c1d9 was released: 175 rows, 24 of them synthetic" in whole
    assert "Observation 40,477" in page.said("silo-site_a_fhir_r4")
    assert "payer_transitions bronze only" in page.said("silo-site_b_csv")
    assert "Every row passed every check" in page.said("gates")
    assert "Empty: every record that came was taken" in page.said("quarantine")
    assert "claim_items 73,211" in page.said("gold")
    cohort = page.said("cohort-type2_diabetes")
    assert "every candidate 0 280 1,120" in cohort
    assert "hispanic 20 9 7" in cohort
    assert "egfr_ml_per_min 64 42.4 %" in cohort
    assert "Do they help? Overall inconclusive; in the stratum inconclusive" in cohort
    assert "+0.0182 (-0.0461 to +0.0905)" in cohort
    assert "The proof: accepted" in cohort
    assert "24 redraws of who trains and who is held out" in cohort
    assert "random forest 0.701 0.714" in cohort
    assert "✗" not in page.said("books")


def test_a_run_with_faults(lake: Lake) -> None:
    page = page_of(lake, runs.faulty_run(lake))
    assert "Done, with rejects" in page.said()
    held = page.said("quarantine")
    assert "93 put there by this run 97 open in all" in held
    assert "land: not UTF-8 4" in held  # one reason, wherever in the record
    assert "standardise: required column 0 5" in held  # an earlier run's
    assert "cohortlake quarantine replay --silo site_a_fhir_r4" in held
    gates = page.said("gates")
    assert "body weight (29463-7, kg) is possible quarantine plausibility 62 40,456 2.4 %" in gates
    assert "Encounter.period is ordered warn plausibility 3 5,201 0.06 %" in gates
    assert "site_a_fhir_r4 is fresh warn completeness 1 1 found 326" in gates
    fhir, csv = page.said("silo-site_a_fhir_r4"), page.said("silo-site_b_csv")
    assert "Encounter 5,201 0 1,203 3,998" in fhir
    assert "Observation hasMember[].display 831" in fhir
    assert "conditions_2026-11.csv.gz land: truncated gzip" in csv
    assert "ucum 1 1,728 gender 2 15" in csv
    assert "Map and version Codings added panels 1.0.0 41" in csv
    cohort = page.said("cohort-type2_diabetes")
    assert "None were made : withheld: column_shapes 0.61 < 0.75" in cohort
    assert "The proof: refused" in cohort
    assert "likeness refused column_shapes 0.61 < 0.75" in cohort
    assert "Not asked, since no answer could change the verdict: lift, column-permuted" in cohort
    assert "79 quarantined" in page.said("flow")


def test_a_failed_run(lake: Lake) -> None:
    page = page_of(lake, runs.failed_run(lake))
    assert "gate.site_b_csv and cohort.type2_diabetes failed" in page.said()
    assert "What was live of site_b_csv and of type2_diabetes stays as it was" in page.said()
    errors = page.said("errors")
    assert "GateFailedError site_b_csv: 2 rows fail Patient.id is unique" in errors
    assert "Next: See Data Docs for the check" in errors
    assert "NumberFormatException Its message may hold a row's values" in errors
    assert "Patient.id is unique fail conformance 2 136 1.5 %" in page.said("gates")
    assert "publish · not run" in page.said("silo-site_b_csv")
    assert "✗ gate · publish" in " ".join(reversed(re.findall(r"[✓✗·] \w+", page.said("flow").split("107,190")[-1])))
    assert "→ See Data Docs for the check" in told(lake, "20261123T020000000Z")


def test_a_second_run_with_nothing_new(lake: Lake) -> None:
    first = runs.good_run(lake)
    folder = lake.releases(runs.COHORT) / "1.0.0-3fa2c1d9"
    folder.mkdir(parents=True)
    facts = json.loads((lake.runs / first / f"steps/cohort.{runs.COHORT}.json").read_text(encoding="utf-8"))["facts"]
    release = {**facts, "version": folder.name, "synthetic": runs.synthetic(24)}
    (folder / "release.json").write_text(json.dumps(release), encoding="utf-8")
    run_id = runs.idle_run(lake)
    page = page_of(lake, run_id)
    assert "Nothing new Every file was known already" in page.said()
    assert "No check ran" in page.said("gates")
    cohort = page.said("cohort-type2_diabetes")
    assert "its figures are the release's own" in cohort
    assert "24 synthetic rows" in cohort
    assert "unchanged, release 1.0.0-3fa2c1d9 stands" in told(lake, run_id)


def test_many_rejects_are_not_a_footnote(lake: Lake) -> None:
    run = records.RunMaker(lake)
    runs.land(run, "silo", {"Observation": 100}, {"Observation": 5})
    said = page_of(lake, run.end()).said()
    assert "Done, many rejects" in said
    assert "5 (5.0 % of all) went to quarantine" in said


def test_a_verdict_of_another_run_is_not_this_one(lake: Lake) -> None:
    run_id = runs.failed_run(lake)
    path = lake.staging("phi", runs.CSV) / "_verdict.json"
    records.write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"run_id": "another"})
    assert "Patient.id is unique" not in page_of(lake, run_id).said("gates")


def test_books_that_do_not_balance_are_told_in_red(lake: Lake) -> None:
    run = records.RunMaker(lake)
    lost = {**records.book("Patient", 144), "rows_out": 143}
    error = {"class": "BooksError", "message": "the books of Patient do not balance", "hint": "Rows were lost."}
    run.step("standardise.site", "ingest", 1, [lost], error=error)
    page = page_of(lake, run.end())
    assert "The books of standardise.site do not balance" in page.said("books")
    assert "✗ off" in page.said("books")


@pytest.mark.parametrize(("is_ended", "word"), [(False, "Not finished"), (True, "Done")])
def test_a_run_that_was_stopped_is_not_called_done(lake: Lake, is_ended: bool, word: str) -> None:
    run = records.RunMaker(lake)
    runs.fhir_silo(run)
    assert f"{word} " in page_of(lake, run.end(is_ended)).said()


def test_steps_alone_make_a_report(lake: Lake) -> None:
    """Airflow's tasks record their steps and no run."""
    run_id = runs.good_run(lake)
    (lake.runs / run_id / "run.json").unlink()
    said = page_of(lake, run_id).said()
    assert "Done 2 silos brought" in said
    assert "Started 2026-11-23 02:00:00 UTC Took 4 min" in said


def test_a_lake_that_cannot_be_written_says_so(lake: Lake) -> None:
    run_id = runs.idle_run(lake)
    (lake.root / "report.html").mkdir()
    with pytest.raises(LakeWriteError, match=r"cannot write .*report.html"):
        write(lake, run_id)


def test_what_is_live_is_counted_from_the_tables(lake: Lake) -> None:
    run_id = runs.good_run(lake)
    write_deltalake(str(lake.gold("patients")), pa.table({"patient_key": ["a", "b"]}))
    silver = pa.table({"id": ["1", "2", "3"], "silo": [runs.FHIR, runs.FHIR, "other"]})
    write_deltalake(str(lake.silver("Patient")), silver, partition_by=["silo"])
    report = read_report(lake, run_id)
    assert report.live.gold == {"patients": 2}
    assert report.live.silver == {runs.FHIR: {"Patient": 2}, "other": {"Patient": 1}}
    assert "Patient 144 0 0 144 2" in page_of(lake, run_id).said(f"silo-{runs.FHIR}")


def test_the_flow_moves_what_the_books_say(lake: Lake) -> None:
    flow = make_flow(read_report(lake, runs.faulty_run(lake)))
    moved = {(part.source.name, part.target.name, part.source.lane): (part.rows, part.held) for part in flow.ribbons}
    assert moved[(runs.FHIR, "bronze", 0)] == (98_518, 4)
    assert moved[("bronze", "silver", 0)] == (98_435, 79)
    assert moved[(runs.CSV, "bronze", 1)] == (107_190, 10)
    assert moved[("gold", runs.COHORT, 0.5)] == (1120, 0)
    assert "79" not in flow.told.split("site_b_csv")[1]


def test_the_terminal_says_what_was_made_and_where_to_look(lake: Lake) -> None:
    said = told(lake, runs.faulty_run(lake))
    for expected in (
        "Done, with rejects in 4 min 44 s",
        "site_a_fhir_r4 22 new files of 22 · 98,514 records landed · 97,232 rows to silver",
        "quarantine 93 by this run · 97 open in all",
        "62 Observation body weight (29463-7, kg) is possible",
        "gold 204,995 rows in 15 tables",
        "report.html",
        "cohortlake sql 'SELECT * FROM patients LIMIT 10' --lake",
    ):
        assert expected in said
