"""The report's matrix silo x column, and that "Look at" begins with what is hollow."""

from __future__ import annotations

from pathlib import Path

import pytest

from cohortlake.core.completeness.cells import Cell
from cohortlake.core.completeness.kept import Judged
from cohortlake.core.lake import Lake
from cohortlake.report.completeness import heat, read_completeness
from cohortlake.report.headline import attention
from cohortlake.report.report import read_report
from spark_jobs.completeness import keep
from tests.report_page import Page, page_of
from tests.report_records import RunMaker
from tests.report_runs import fhir_silo


def cell(silo: str, column: str, present: int, rows: int = 200, table: str = "encounters") -> Cell:
    return Cell("gold", silo, table, column, rows, present)


@pytest.fixture
def run(tmp_path: Path) -> RunMaker:
    """A run of which rows were quarantined, and a gold that is hollow in places."""
    made = RunMaker(Lake(tmp_path / "lake"))
    fhir_silo(made, held=20, gated=3)
    masked = Cell("gold", "south", "encounters", "class_code", 200, 0, {"masked": 120})
    gold = [
        Judged(cell("north", "class_code", 200)),
        Judged(masked, "empty", "warn", 90, "tiny (outcome)"),
        Judged(cell("south", "started_at", 0), "known gap", "warn", 90, "tiny (outcome)", "the sender has no times"),
        Judged(cell("north", "started_at", 199)),
        Judged(cell("north", "code", 1, 900, "conditions")),
    ]
    keep(made.lake, "an earlier run", "gold", "gold", gold[:1], is_passed=True)
    keep(made.lake, made.run_id, "gold", "gold", gold, is_passed=True)
    delivered = Cell("delivery", "south", "Encounter", "class.code", 200, 0)
    keep(
        made.lake,
        made.run_id,
        "south",
        "b1",
        [Judged(delivered, "collapsed", "fail", 80, "tiny (outcome)")],
        is_passed=False,
    )
    return made


def test_look_at_begins_with_what_is_hollow(run: RunMaker) -> None:
    items = attention(read_report(run.lake, run.run_id))
    assert [item.level for item in items] == sorted((item.level for item in items), key=("bad", "warn", "note").index)
    bad, warn = ([item.told for item in items if item.level == level] for level in ("bad", "warn"))
    assert bad == ["south: hollow, and stopped: Encounter.class.code (0 %)"]
    assert warn[:2] == [
        "south: hollow: encounters.class_code (0 %)",
        "south: known gaps in what is needed: encounters.started_at (0 %)",
    ]
    assert len(warn) > 2, "other things ask for a look, and come after"


def test_the_matrix_has_what_is_hollow_first_and_says_numbers_in_words(run: RunMaker) -> None:
    found = read_completeness(run.lake, run.run_id)
    assert [(table.table, table.hollow, table.gaps) for table in found.tables] == [
        ("encounters", 1, 1),
        ("conditions", 0, 0),
    ]
    assert found.tables[0].silos == ("north", "south")
    assert [line.column for line in found.tables[0].lines] == ["class_code", "started_at"]
    page = page_of(run.lake, run.run_id)
    assert page.wrong == []
    said = page.said("completeness")
    assert "south: 0 % of 200 rows known; absent: masked 120; null 80; empty" in said
    assert "the sender has no times" in said
    assert not [link for link in page.links if link.startswith("http")]


def test_a_share_is_never_rounded_to_none_or_all() -> None:
    assert heat(Judged(cell("a", "x", 1, 1000))).number == "<1"
    assert heat(Judged(cell("a", "x", 999, 1000))).number == ">99"
    assert [heat(Judged(cell("a", "x", 0))).level, heat(Judged(cell("a", "x", 200))).level] == ["none", "all"]


def test_a_lake_without_a_profile_has_a_page(tmp_path: Path) -> None:
    made = RunMaker(Lake(tmp_path / "lake"))
    fhir_silo(made)
    page: Page = page_of(made.lake, made.run_id)
    assert "No profile of gold has been kept." in page.said("completeness")
