"""Data Docs: what a page says of a result, what failed first, warnings as warnings, and nothing fetched."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from expectations.pages import write

NAMES = {"warn": "Patient.name is present", "quarantine": "Patient.gender is a known code", "fail": "keys are unique"}


def result(check: str, severity: str, failed: int, **more: Any) -> dict[str, Any]:
    """A result as Great Expectations writes it."""
    told = {"element_count": 1000, "missing_count": 200, "unexpected_count": failed, "unexpected_percent": failed / 8}
    meta = {"check": check, "severity": severity, "kind": "conformance", "words": "one of male, <b>", "source": "R4"}
    config = {"type": "expect_x", "kwargs": {"column": "gender"}, "meta": meta | {"element": "gender"} | more}
    return {"success": not failed, "expectation_config": config, "result": told}


def keep(kept: Path, name: str, results: list[dict[str, Any]]) -> None:
    path = kept.joinpath("results", *name.split(".")).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {"run_id": {"run_name": "run1"}, "validation_time": "2026-11-30T08:00:00+00:00"}
    whole = {"suite_name": name, "results": results, "meta": meta | {"great_expectations_version": "1.24.1"}}
    path.write_text(json.dumps(whole), encoding="utf-8")


@pytest.fixture
def docs(tmp_path) -> Path:
    bad = [result(name, severity, 8) for severity, name in NAMES.items()]
    keep(tmp_path / "kept", "site_a.Patient", [*bad, result("Patient.id is present", "quarantine", 0)])
    keep(tmp_path / "kept", "site_a.Claim", [result("Claim.use is a known code", "warn", 0)])
    keep(tmp_path / "kept", "site_a.Encounter", [result("Encounter.class is present", "warn", 1)])
    keep(tmp_path / "kept", "gold.patients.rows", [result("x", "warn", 0, helper_column="made before")])
    write(tmp_path / "docs", tmp_path / "kept")
    return tmp_path / "docs"


def text(page: Path) -> str:
    """What a page shows, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))).split())


def test_a_page_fetches_nothing_and_its_links_lead_somewhere(docs):
    pages = list(docs.rglob("*.html"))
    assert len(pages) == 9
    for page in pages:
        for target in re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")):
            assert not target.startswith("http")
            assert (page.parent / target).resolve().is_file(), target


def test_titles_name_silo_type_and_suite(docs):
    def title(page: str) -> str:
        return re.search("<title>(.*)</title>", (docs / page).read_text(encoding="utf-8"))[1]

    assert title("validations/site_a/Patient.html") == "site_a · Patient · results"
    assert title("expectations/site_a/Patient.html") == "site_a · Patient · expectations"
    assert title("validations/gold/patients/rows.html") == "gold · patients, rows · results"


def test_what_did_not_pass_stands_first_and_a_warning_is_no_failure(docs):
    page = (docs / "validations/site_a/Patient.html").read_text(encoding="utf-8")
    states = re.findall(r'class="state (\w+)"', page)
    assert states == ["failed", "quarantined", "warning", "passed"]
    assert [page.count(f'<li class="{state}">') for state in ("failed", "quarantined", "warning", "passed")] == [1] * 4
    assert "counted only" in text(docs / "validations/site_a/Patient.html")
    assert 'class="state failed"' not in (docs / "validations/site_a/Encounter.html").read_text(encoding="utf-8")


def test_a_check_says_how_many_values_it_judged_and_how_many_failed(docs):
    said = text(docs / "validations/site_a/Patient.html")
    assert "Patient.gender is a known code One of male, <b>." in said
    assert "rows are kept back 800 8 1.0 %" in said
    assert "1,000 rows judged" in said
    assert "made before" in text(docs / "expectations/gold/patients/rows.html")


def test_the_index_begins_with_what_is_worst(docs):
    page = (docs / "index.html").read_text(encoding="utf-8")
    tables = re.findall(r'<a href="validations/site_a/(\w+)\.html">', page)
    assert tables == ["Patient", "Encounter", "Claim"]


def test_a_table_that_is_judged_no_more_has_no_page(docs, tmp_path):
    (tmp_path / "kept/results/site_a/Claim.json").unlink()
    stale = tmp_path / "kept/results/site_a/Patient/run/time/rows.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    write(docs, tmp_path / "kept")
    assert sorted(path.stem for path in docs.glob("validations/site_a/*.html")) == ["Encounter", "Patient"]


def test_a_page_is_written_again_when_its_result_is_newer(docs, tmp_path):
    page = docs / "validations/site_a/Claim.html"
    page.write_text("old")
    write(docs, tmp_path / "kept")
    assert page.read_text() == "old"
    keep(tmp_path / "kept", "site_a.Claim", [result("Claim.use is a known code", "warn", 3)])
    write(docs, tmp_path / "kept")
    assert "Claim.use is a known code" in text(page)
