"""docs/coverage.md is what the templates say now, and every column has in every format a source or a reason."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tools.coverage.__main__ import PAGE
from tools.coverage.page import CATALOG, Coverage, coverage, page
from tools.coverage.templates import Leaf


@pytest.fixture(scope="module")
def found() -> Coverage:
    return coverage()


def test_every_column_has_a_source_or_a_reason_and_every_reason_is_needed(found: Coverage) -> None:
    assert found.wrong() == []


def test_the_page_is_current(found: Coverage) -> None:
    assert PAGE.read_text(encoding="utf-8") == page(found), "write it anew: python -m tools.coverage"


SABOTAGE = [
    # a template that loses the source of a column, and the column
    ("formats/ccda/resources/Patient.yaml", "  birthDate:", "  #", "patients.birth_date"),
    ("formats/hl7v2/resources/PID.Patient.yaml", "  gender:", "  #", "patients.gender"),
    ("formats/hl7v2/resources/PR1.Procedure.yaml", "  performedDateTime:", "  #", "procedures.started_at"),
    ("formats/x12/resources/Claim.yaml", "  created:", "  #", "claims.created_at"),
    ("silos/site_b_csv/mappings/Condition.yaml", "  abatementDateTime:", "  #", "conditions.abatement_date"),
]


@pytest.mark.parametrize(("file", "lost", "put", "column"), SABOTAGE)
def test_a_template_that_loses_a_source_is_told(tmp_path: Path, file: str, lost: str, put: str, column: str) -> None:
    folder = tmp_path / "catalog"
    shutil.copytree(CATALOG, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert lost in text
    (folder / file).write_text(text.replace(lost, put), encoding="utf-8")
    told = [line for line in coverage(folder).wrong() if "no source" in line]
    # The basis of a time goes with the time.
    assert [name for line in told if not (name := line.split()[0]).endswith("_basis")] == [column]


def test_one_of_two_templates_that_loses_a_source_makes_the_page_stale(tmp_path: Path, found: Coverage) -> None:
    folder = tmp_path / "catalog"
    shutil.copytree(CATALOG, folder)
    entry = folder / "formats/ccda/resources/Encounter.yaml"
    entry.write_text(entry.read_text(encoding="utf-8").replace('  class: "=$encounter_class"\n', ""), encoding="utf-8")
    assert page(coverage(folder)) != page(found)


def test_a_column_that_a_silo_leaves_empty_is_told(found: Coverage) -> None:
    """As all classes of hospital C's encounters and all times of its orders once were."""
    measured = {"site_c_ccda": {"encounters": {"rows": 4659, "filled": {"class_code": 0.0, "status": 1.0}}}}
    told = replace(found, measured=measured, used=set()).wrong()
    assert "encounters.class_code is empty in site_c_ccda, and no reason under empty" in told
    assert not [line for line in told if "encounters.status is empty" in line]


def test_a_reason_that_nothing_needs_is_told(found: Coverage) -> None:
    reasons = {**found.no_source, "ccda": {**found.no_source["ccda"], "patients.gender": "never sent"}}
    told = replace(found, no_source=reasons, used=set()).wrong()
    assert "the reason of ccda: patients.gender is not needed" in told


@pytest.mark.parametrize(
    ("leaf", "column", "fills"),
    [
        (Leaf(("code",), "value", False), ("code", "coding", "code"), True),
        (Leaf(("code", "coding", "system"), "CODE", False), ("code", "coding", "code"), False),
        (Leaf(("value[x]",), "value", False), ("valueQuantity", "value"), True),
        (Leaf(("onset[x]",), "value", False), ("onsetDateTime",), True),
        (Leaf(("status",), "final", True), ("status",), True),
        (Leaf(("subject",), "& PID.Patient", False), ("subject", "reference"), True),
        (Leaf(("extension(a)", "valueCode"), "x", False), ("extension(b)", "valueCode"), False),
    ],
)
def test_what_a_leaf_fills(leaf: Leaf, column: tuple[str, ...], fills: bool) -> None:
    assert leaf.fills(column) is fills
