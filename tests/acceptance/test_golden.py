"""Every corpus and every bundled silo becomes what it became before: digests, whatever engine makes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import golden

pytestmark = pytest.mark.acceptance
MUST = json.loads(golden.FILE.read_text(encoding="utf-8"))
MEND = "Where the change is meant: python -m tests.golden, and say in the commit what changed and why."


@pytest.mark.parametrize("name", golden.CORPORA)
def test_a_corpus_becomes_what_it_became(name: str) -> None:
    if not golden.files_of(golden.CORPORA[name][1]):
        pytest.skip(f"the files of {name} are not there (set COHORTLAKE_DATA)")
    found = json.loads(json.dumps(golden.of_corpus(name)))
    assert list(golden.differences(MUST[name], found)) == [], MEND


@pytest.mark.spark
@pytest.mark.parametrize("silo", golden.SILOS)
@pytest.mark.usefixtures("spark")
def test_silver_of_a_silo_is_what_it_was(silo: str, tmp_path: Path) -> None:
    assert list(golden.differences(MUST[f"silver of {silo}"], golden.of_silo(silo, tmp_path))) == [], MEND


def test_a_value_that_changed_is_named() -> None:
    must = {"resources": {"Patient": [2, "ab"], "Claim": [1, "cd"]}, "records": 3}
    does = {"resources": {"Patient": [2, "xx"]}, "records": 3}
    assert list(golden.differences(must, does)) == [
        "/resources/Claim: [1, 'cd'] is now None",
        "/resources/Patient: [2, 'ab'] is now [2, 'xx']",
    ]
