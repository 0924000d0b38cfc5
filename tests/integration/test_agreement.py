"""docs/agreement.md is what the samples give now, and every disagreement on it has a reason."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from tools.agreement.compare import Pair, Tally, pairs
from tools.agreement.page import FORMATS, WHOSE, Compared, compare, explained, explanations, page

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
PAGE = Path(__file__).parents[2] / "docs/agreement.md"
# Samples, pairs and the share of fields that agree, at least.
LEAST = {"hl7v2": (66, 1_250, 0.56), "ccda": (11, 230, 0.61)}

needs_samples = pytest.mark.skipif(
    not (DATA / "fhir_converter_expected").is_dir(), reason=f"{DATA} has no samples (set COHORTLAKE_DATA)"
)


@cache
def compared(name: str) -> Compared:
    return compare(DATA, name)


@needs_samples
def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(DATA), "write it anew: python -m tools.agreement"


@needs_samples
@pytest.mark.parametrize("name", FORMATS)
def test_every_disagreement_is_explained_and_every_explanation_is_needed(name):
    found, known = compared(name), explanations(name)
    counts, left = explained(found, known)
    assert left == {}
    assert [one.reason for one, count in zip(known, counts, strict=True) if not count] == []
    assert {one.whose for one in known} <= set(WHOSE)


@needs_samples
@pytest.mark.parametrize("name", FORMATS)
def test_as_much_agrees_as_did(name):
    samples, least, share = LEAST[name]
    total = compared(name).total
    assert compared(name).samples == samples
    assert total.pairs >= least
    assert total.kinds["agreed"] / total.compared >= share


def observation(code: str, value: float, **more: object) -> dict[str, object]:
    coding = {"coding": [{"system": "http://loinc.org", "code": code}]}
    return {"resourceType": "Observation", "id": str(value), "code": coding, "valueQuantity": {"value": value}, **more}


def test_the_likest_are_paired_and_each_once():
    ours = [observation("1", 5.0), observation("2", 7), {"resourceType": "Patient", "id": "1", "gender": "male"}]
    theirs = [observation("2", 7), observation("1", 6), {"resourceType": "Patient", "id": "2", "birthDate": "1970"}]
    found = pairs(theirs, ours, {})
    assert [(pair.theirs["id"], pair.ours["id"]) for pair in found] == [("7", "7"), ("6", "5.0")]


def test_fields_are_counted_by_what_became_of_them():
    tally = Tally()
    one = observation("1", 5, status="final", effectiveDateTime="2025-01-02T10:00:00+01:00", method={"text": "x"})
    other = observation("1", 5.0, status="registered", effectiveDateTime="2025-01-02T09:00:00Z")
    tally.add(Pair(other | {"subject": {"reference": "Patient/1"}}, one))
    assert dict(tally.kinds) == {"agreed": 4, "differing": 1, "ours only": 1, "theirs only": 1}
    assert set(tally.classes) == {
        ("Observation.status", "differing"),
        ("Observation.method.text", "ours only"),
        ("Observation.subject.reference", "theirs only"),
    }
