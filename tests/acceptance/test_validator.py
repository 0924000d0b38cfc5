"""HL7's validator over a sample of every bundled hospital's resources: no error but those that are listed here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohortlake.core.export import export
from cohortlake.core.lake import Lake
from tests import flow, hospitals
from tools.fetch_validator import VALIDATOR
from tools.hapi_validator import Finding, Validator
from tools.validate_fhir import Summary, files, summary

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

A, B = "site_a_fhir_r4", "site_b_csv"
SAMPLE = 40
# (hospital, message, element) -> why it is no fault that could be mended here.
KNOWN = {
    (A, "Terminology_PassThrough_TX_Message", "Patient.communication.language"): (
        "R4's binding is preferred, so that any BCP 47 tag may stand there; the validator knows a list of 56"
    ),
}


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
def mapped(tmp_path_factory) -> Path:
    """Hospital B's tables as FHIR."""
    folder = tmp_path_factory.mktemp("validator")
    flow.run(folder / "lake", hospitals.DATA, only=lambda step: flow.ingest_only(step) and step.scope == B)
    export(Lake(folder / "lake"), folder / "fhir", silos=[B])
    return folder / "fhir"


def validated(validator: Validator, folder: Path) -> list[Summary]:
    found = [summary(validator, path, SAMPLE) for path in files([folder])]
    return [one for one in found if one.resources]


def unlisted(silo: str, found: list[Summary]) -> dict[str, dict[Finding, int]]:
    """The errors that are not listed, by file."""
    errors = {
        one.file: {at: count for at, count in one.errors.items() if (silo, at.kind, at.path) not in KNOWN}
        for one in found
    }
    return {file: of_file for file, of_file in errors.items() if of_file}


def test_hospital_a_as_delivered_is_valid(validator):
    found = validated(validator, hospitals.DATA / A)
    assert len(found) == 20
    assert unlisted(A, found) == {}
    met = {(A, finding.kind, finding.path) for one in found for finding in one.errors}
    assert met == set(KNOWN), "what is listed and no longer met must go"


def test_hospital_b_as_mapped_is_valid(validator, mapped):
    found = validated(validator, mapped)
    assert len(found) == 14
    assert unlisted(B, found) == {}


def test_what_is_wrong_is_found(validator):
    patient = '{"resourceType":"Patient","gender":"mael","birthDate":"1970-02-30","wibble":1,"name":{"family":"Ito"}}'
    found = {(finding.kind, finding.path) for finding in validator.findings(patient) if finding.severity == "error"}
    assert found >= {
        ("Parser_Unknown_Property", "Patient"),
        ("Parser_Wrong_JSON_Type", "Patient.name"),
        ("Type_Specific_Checks_DT_Date_Valid", "Patient.birthDate"),
    }
    assert [one.kind for one in validator.findings("{")] == ["Parser_Not_JSON"]
