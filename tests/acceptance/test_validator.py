"""HL7's validator over a sample of every silo's silver and every corpus: no error but those listed, with a reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.export import export
from cohortlake.core.lake import Lake
from tests import flow, hospitals
from tools import conformance
from tools.conformance import CORPORA, Judged, converted, judge, known, table
from tools.fetch_validator import VALIDATOR
from tools.hapi_validator import Validator

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

SILOS = tuple(load_catalog().silos)
A = "site_a_fhir_r4"
# Resources of each type that are validated.
SAMPLE = 25


@pytest.fixture(scope="module")
def validator() -> Iterator[Validator]:
    if VALIDATOR.missing():
        done = subprocess.run(
            [sys.executable, "-m", "tools.fetch_validator"],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"the validator could not be fetched: {done.stderr.splitlines()[0]}")
    with Validator() as ready:
        yield ready


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """The bundled silos in silver, but for hospital A, which is FHIR as it was delivered."""
    root = tmp_path_factory.mktemp("validator") / "lake"
    flow.run(root, hospitals.DATA, only=lambda step: flow.ingest_only(step) and step.scope != A)
    return Lake(root)


def held(found: Judged, tell: Callable[[str], None]) -> None:
    tell("\n".join(["", *table([found])]))
    assert found.validated > 0
    assert found.unlisted() == {}


def test_hospital_a_as_delivered_is_valid(validator, tell):
    found = judge(validator, A, hospitals.DATA / A, SAMPLE)
    assert len(found.found) == 20
    held(found, tell)


@pytest.mark.parametrize("silo", [silo for silo in SILOS if silo != A])
def test_a_silo_as_mapped_is_valid(validator, lake, tell, tmp_path, silo):
    export(lake, tmp_path / silo, silos=[silo])
    held(judge(validator, silo, tmp_path / silo, SAMPLE), tell)


@pytest.mark.parametrize("corpus", CORPORA)
def test_what_convert_makes_of_a_corpus_is_valid(validator, tell, tmp_path, corpus):
    if not (conformance.DATA / CORPORA[corpus][0]).is_dir():
        pytest.skip(f"{conformance.DATA / CORPORA[corpus][0]} is not there (set COHORTLAKE_DATA)")
    held(judge(validator, corpus, converted(corpus, conformance.DATA, tmp_path / "fhir"), SAMPLE), tell)


def test_the_list_names_silos_and_corpora_that_there_are():
    assert {name for one in known() for name in one.of} <= {*SILOS, *CORPORA}
    page = conformance.PAGE.read_text(encoding="utf-8")
    assert "**not listed**" not in page
    assert [name for name in (*SILOS, *CORPORA) if f"| {name} |" not in page] == []
    # Corpora are validated whole, so what is listed of them is met.
    listed = [one for one in known() if set(one.of) & CORPORA.keys()]
    assert [one.reason for one in listed if one.reason not in page] == [], "what is listed and no longer met must go"


def test_what_is_wrong_is_found(validator):
    patient = '{"resourceType":"Patient","gender":"mael","birthDate":"1970-02-30","wibble":1,"name":{"family":"Ito"}}'
    found = {(finding.kind, finding.path) for finding in validator.findings(patient) if finding.severity == "error"}
    assert found >= {
        ("Parser_Unknown_Property", "Patient"),
        ("Parser_Wrong_JSON_Type", "Patient.name"),
        ("Type_Specific_Checks_DT_Date_Valid", "Patient.birthDate"),
    }
    assert [one.kind for one in validator.findings("{")] == ["Parser_Not_JSON"]
