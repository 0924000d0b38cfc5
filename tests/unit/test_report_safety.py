"""The run report never shows an identifier or a value, and no name or record can break it."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.plan import SILO_STEPS
from cohortlake.report import write
from cohortlake.report.training import KINDS
from tests import report_records as records
from tests import report_runs as runs
from tests.report_page import page_of, told

SECTIONS = ("flow", "silos", "gates", "quarantine", "gold", "training", "time", "books")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


RUNS = {"good": runs.good_run, "faulty": runs.faulty_run, "failed": runs.failed_run, "idle": runs.idle_run}


@pytest.mark.parametrize("name", RUNS)
def test_no_page_shows_ids_payloads_or_values(lake: Lake, name: str) -> None:
    run_id = RUNS[name](lake)
    for text in (page_of(lake, run_id).source, told(lake, run_id)):
        assert "SECRET" not in text
        assert "{score}" not in text  # an unmapped code is a value


def test_no_records_and_no_run(lake: Lake) -> None:
    (lake.runs / "empty").mkdir(parents=True)
    assert "No records" in page_of(lake, "empty").said()
    with pytest.raises(UsageError, match="there is no run 'other'"):
        write(lake, "other")


def test_hostile_names_stay_text(lake: Lake) -> None:
    """Silos, files, fields and reasons may be named by someone else."""
    bad = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    run = records.RunMaker(lake)
    runs.land(run, "silo", {bad: 3}, {}, files_rejected={bad: bad}, empty_files=[bad], files_deferred=[bad])
    facts = {"batch": bad, "unexpected": {bad: {bad: 1}}, "unmapped": {bad: 2}, "not_mapped": {bad: 1}}
    run.step("standardise.silo", "ingest", 1, [records.book(bad, 3)], facts)
    run.step("gate.silo", "ingest", 1, facts=runs.checks("silo", {bad: (bad, bad, bad, 1, 3, 33.3)}))
    run.step("publish.silo", "ingest", 1, error={"class": "UsageError", "message": bad, "hint": bad})
    run.step("cohort.c", "training", 1, facts={"attrition": [{"criterion": bad, "rows": 1}], "missing": {bad: 1}})
    proof = {"proof": {"verdict": bad, "checks": [{"check": bad, "outcome": bad, "text": bad}], "not_asked": [bad]}}
    proof |= {"comparators": {bad: {"stratum": 0.5}}}
    run.step("augment.c", "training", 1, facts=runs.synthetic(3) | {"stratum": bad, "dropped": {bad: 1}} | proof)
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FACTS = (
    "feeds", "files", "files_new", "bytes", "unexpected", "unmapped", "unmapped_codes", "not_mapped", "files_rejected",
    "empty_files",
    "checks", "attrition", "counts", "by_split", "by_stratum", "by_split_and_stratum", "missing", "scores", "lift",
    "distributions", "dropped", "proof", "comparators", "made", "why", "version", "rows", "unchanged",
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.dictionaries(st.sampled_from(FACTS), JSON, max_size=6), books=JSON, error=JSON, about=JSON)
def test_no_record_can_break_the_report(tmp_path: Path, facts: Any, books: Any, error: Any, about: Any) -> None:
    lake = Lake(tmp_path / "any")
    run = records.RunMaker(lake)
    for stage, kinds in (("ingest", SILO_STEPS), ("training", KINDS)):
        for kind in kinds:
            run.step(f"{kind}.x", stage, 1, books, facts, error)
    run.about |= about if isinstance(about, dict) else {}
    page = page_of(lake, run.end())
    assert page.wrong == []
    assert told(lake, run.run_id)
