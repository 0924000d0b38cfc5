"""The run report: what it says of good, faulty, failed and empty runs, and what it never shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from cohortlake.core.errors import LakeWriteError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.plan import SILO_STEPS
from cohortlake.report import summary, words, write
from cohortlake.report.flow import make_flow
from cohortlake.report.report import read_report
from cohortlake.report.training import KINDS
from tests import report_runs as runs

SECTIONS = ("flow", "silos", "gates", "quarantine", "gold", "training", "time", "books")
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """A page's elements, its text by section, and what is wrong with its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.tags, self.links, self.wrong = text, [], [], []
        self.stack: list[tuple[str, str]] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.wrong += [tag for tag, _ in self.stack]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in VOID:
            self.stack.append((tag, given.get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop()[0] != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        for name in {name for _, name in self.stack if name}:
            self.text[name] = f"{self.text.get(name, '')} {data}"
        if not any(tag in ("script", "style") for tag, _ in self.stack):
            self.text[""] = f"{self.text.get('', '')} {data}"

    def said(self, section: str = "") -> str:
        """The words of a section, or of the whole page, evenly spaced."""
        return " ".join(self.text.get(section, "").split())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def page_of(lake: Lake, run_id: str) -> Page:
    return Page(write(lake, run_id).read_text(encoding="utf-8"))


def told(lake: Lake, run_id: str) -> str:
    """The terminal's summary as plain text."""
    console = Console(width=200, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(summary(lake, run_id))
    return " ".join(console.export_text().split())


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


@pytest.mark.parametrize("name", RUNS)
def test_no_page_shows_ids_payloads_or_values(lake: Lake, name: str) -> None:
    run_id = RUNS[name](lake)
    for text in (page_of(lake, run_id).source, told(lake, run_id)):
        assert "SECRET" not in text
        assert "{score}" not in text  # an unmapped code is a value


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
    assert "body weight (29463-7, kg) is possible quarantine plausibility 62 2,604 2.4 %" in gates
    assert "Encounter.period is ordered warn plausibility 3 5,201 0.06 %" in gates
    fhir, csv = page.said("silo-site_a_fhir_r4"), page.said("silo-site_b_csv")
    assert "Encounter 5,201 0 1,203 3,998" in fhir
    assert "Observation hasMember[].display 831" in fhir
    assert "conditions_2026-11.csv.gz land: truncated gzip" in csv
    assert "ucum 1 1,728 gender 2 15" in csv
    assert "None were made : withheld: column_shapes 0.61 < 0.75" in page.said("cohort-type2_diabetes")
    assert "79 quarantined" in page.said("flow")


def test_a_failed_run(lake: Lake) -> None:
    page = page_of(lake, runs.failed_run(lake))
    assert "gate.site_b_csv and cohort.type2_diabetes failed" in page.said()
    assert "The last good version of site_b_csv and of type2_diabetes stays live" in page.said()
    errors = page.said("errors")
    assert "GateFailedError site_b_csv: 2 rows fail Patient.id is unique" in errors
    assert "Next: See Data Docs for the check" in errors
    assert "NumberFormatException Its message may hold a row's values" in errors
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


def test_books_that_do_not_balance_are_told_in_red(lake: Lake) -> None:
    run = runs.RunMaker(lake)
    lost = {**runs.book("Patient", 144), "rows_out": 143}
    error = {"class": "BooksError", "message": "the books of Patient do not balance", "hint": "Rows were lost."}
    run.step("standardise.site", "ingest", 1, [lost], error=error)
    page = page_of(lake, run.end())
    assert "The books of standardise.site do not balance" in page.said("books")
    assert "✗ off" in page.said("books")


@pytest.mark.parametrize(("is_ended", "word"), [(False, "Not finished"), (True, "Done")])
def test_a_run_that_was_stopped_is_not_called_done(lake: Lake, is_ended: bool, word: str) -> None:
    run = runs.RunMaker(lake)
    runs.fhir_silo(run)
    assert f"{word} " in page_of(lake, run.end(is_ended)).said()


def test_steps_alone_make_a_report(lake: Lake) -> None:
    """Airflow's tasks record their steps and no run."""
    run_id = runs.good_run(lake)
    (lake.runs / run_id / "run.json").unlink()
    said = page_of(lake, run_id).said()
    assert "Done 2 silos brought" in said
    assert "Started 2026-11-23 02:00:00 UTC Took 4 min" in said


def test_no_records_and_no_run(lake: Lake) -> None:
    (lake.runs / "empty").mkdir(parents=True)
    assert "No records" in page_of(lake, "empty").said()
    with pytest.raises(UsageError, match="there is no run 'other'"):
        write(lake, "other")


def test_a_lake_that_cannot_be_written_says_so(lake: Lake) -> None:
    run_id = runs.idle_run(lake)
    (lake.root / "report.html").mkdir()
    with pytest.raises(LakeWriteError, match=r"cannot write .*report.html"):
        write(lake, run_id)


def test_hostile_names_stay_text(lake: Lake) -> None:
    """Silos, files, fields and reasons may be named by someone else."""
    bad = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    run = runs.RunMaker(lake)
    runs.land(run, "silo", {bad: 3}, {}, files_rejected={bad: bad}, empty_files=[bad], files_deferred=[bad])
    facts = {"batch": bad, "unexpected": {bad: {bad: 1}}, "unmapped": {f"{bad}: 1": 2}, "not_mapped": {bad: 1}}
    run.step("standardise.silo", "ingest", 1, [runs.book(bad, 3)], facts)
    run.step("gate.silo", "ingest", 1, facts=runs.checks("silo", {bad: (bad, bad, bad, 1, 3)}))
    run.step("publish.silo", "ingest", 1, error={"class": "UsageError", "message": bad, "hint": bad})
    run.step("cohort.c", "training", 1, facts={"attrition": [{"criterion": bad, "rows": 1}], "missing": {bad: 1}})
    run.step("augment.c", "training", 1, facts=runs.synthetic(3) | {"stratum": bad, "dropped": {bad: 1}})
    runs.hold(lake, run.run_id, bad.replace("'", ""), "land", bad, [bad], 1)
    page = page_of(lake, run.end())
    assert page.wrong == []
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [given for tag, given in page.tags if tag == "img" or any(name.startswith("on") for name in given)]
    assert page.source.count("<style>") == 1


def test_the_policy_names_the_page_own_style_and_script_only(lake: Lake) -> None:
    page = page_of(lake, runs.idle_run(lake))
    policy = next(given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_templates_are_found_as_package_data() -> None:
    folder = files("cohortlake.report").joinpath("templates")
    assert {"report.html.j2", "style.css", "page.js"} <= {path.name for path in folder.iterdir()}


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
    report = read_report(lake, runs.faulty_run(lake))
    flow = make_flow(report.run, report.silos, report.published_tables, report.cohorts)
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FACTS = (
    "feeds", "files", "files_new", "bytes", "unexpected", "unmapped", "not_mapped", "files_rejected", "empty_files",
    "checks", "attrition", "counts", "by_split", "by_stratum", "by_split_and_stratum", "missing", "scores", "lift",
    "distributions", "dropped", "made", "why", "version", "rows", "unchanged",
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.dictionaries(st.sampled_from(FACTS), JSON, max_size=6), books=JSON, error=JSON, about=JSON)
def test_no_record_can_break_the_report(tmp_path: Path, facts: Any, books: Any, error: Any, about: Any) -> None:
    lake = Lake(tmp_path / "any")
    run = runs.RunMaker(lake)
    for stage, kinds in (("ingest", SILO_STEPS), ("training", KINDS)):
        for kind in kinds:
            run.step(f"{kind}.x", stage, 1, books, facts, error)
    run.about |= about if isinstance(about, dict) else {}
    page = page_of(lake, run.end())
    assert page.wrong == []
    assert told(lake, run.run_id)


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(0, 10, "0 %"), (10, 10, "100 %"), (3, 100_000, "< 0.01 %"), (99_999, 100_000, "> 99.99 %"), (1, 0, "\u2013"),
     (62, 2604, "2.4 %"), (22, 40_477, "0.05 %"), (995, 1000, "99.50 %")],
)  # fmt: skip
def test_a_share_never_hides_a_few_rows(part: int, whole: int, expected: str) -> None:
    assert words.percent(part, whole) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (9_999, "9,999"), (98_518, "98.5 k"), (204_995, "205 k"), (999_960, "1.0 M"), (1_662_120, "1.7 M")],
)  # fmt: skip
def test_short_counts(value: int, expected: str) -> None:
    assert words.short_count(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.42, "0.4 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (284.2, "4 min 44 s"), (7384, "2 h 03 min")],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    assert words.duration(seconds) == expected
