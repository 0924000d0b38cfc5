"""Declarations are checked, and what is wrong is told by file, line and what is expected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog
from cohortlake.core.catalog.silo import check_signed
from cohortlake.core.errors import CatalogError, UnsignedProtocolError
from cohortlake.plan import make_plan

SILO = "silos/site_a_fhir_r4/silo.yaml"


@pytest.fixture
def catalog(tmp_path) -> Path:
    return Path(shutil.copytree(PROJECT_CATALOG, tmp_path / "catalog"))


def edited(catalog: Path, file: str, old: str, new: str) -> int:
    """Replace text in a declaration; gives the line where it stands."""
    path = catalog / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "format: fhir_ndjson",
            "format: fax",
            "format: input should be 'fhir_ndjson', 'csv', 'hl7v2', 'ccda', 'cpcds', 'rif' or 'x12'; found 'fax'",
        ),
        ("purpose: ", "porpoise: ", "porpoise is not known here; allowed are"),
        ("  version: 1.0.0", "  version: one", "protocol.version: string should match pattern"),
        ("  Patient:", "  Patiend:", "resource must be an R4 resource type; 'Patiend' is not one"),
    ],
)
def test_a_wrong_declaration_names_file_line_and_what_is_expected(catalog, old, new, said):
    line = edited(catalog, SILO, old, new)
    with pytest.raises(CatalogError) as raised:
        load_catalog(catalog)
    problem = next(text for text in str(raised.value).split("\n") if said in text)
    assert problem.startswith(f"{catalog / SILO}:{line}: ")


def test_what_is_missing_is_told(catalog):
    edited(catalog, SILO, "owner:", "# owner:")
    with pytest.raises(CatalogError, match="owner is missing"):
        load_catalog(catalog)


def test_a_key_twice_is_an_error(catalog):
    path = catalog / SILO
    path.write_text(path.read_text(encoding="utf-8") + "\ntitle: again\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="the key 'title' stands here a second time"):
        load_catalog(catalog)


def test_an_identifier_cannot_be_declared_in_gold(catalog):
    edited(catalog, "tables/patients/table.yaml", "privacy: quasi_identifier", "privacy: identifier")
    with pytest.raises(CatalogError, match="is an identifier, which gold never holds"):
        load_catalog(catalog)


def test_an_unsigned_protocol_does_not_run_unless_forced(catalog):
    edited(catalog, SILO, "signed_off: 2026-01-15", "signed_off: null")
    silo = load_catalog(catalog).silos["site_a_fhir_r4"]
    with pytest.raises(UnsignedProtocolError, match="not signed off"):
        check_signed(silo, force=False)
    check_signed(silo, force=True)


def test_the_plan_has_each_step_once_after_what_it_needs():
    steps = make_plan(load_catalog())
    seen: set[str] = set()
    for step in steps:
        assert step.name not in seen
        assert set(step.needs) <= seen
        seen.add(step.name)
