"""Declarations of X12 that are wrong are told with their file, and nothing in a set raises."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.convert import Record, dumps
from cohortlake.core.errors import CatalogError
from cohortlake.core.readers.x12 import records
from cohortlake.core.x12 import to_fhir
from cohortlake.core.x12.declared import FOLDER, load_x12
from cohortlake.core.x12.mapper import Mapper
from tests.x12_sets import EXAMPLES

WRONG = [
    # file, what is replaced, by what, what the error says
    ("resources/Patient.yaml", "birthDate:", "birthday:", "Patient has no element 'birthday'"),
    ("resources/Patient.yaml", "| gender", "| sex", "no map or turn 'sex'"),
    ("resources/Patient.yaml", '"=DMG-2"', '"=DMG2"', "'DMG2' is not a source"),
    ("resources/Patient.yaml", "resource: Patient", "resource: Person2", "'Person2' is not an R4 resource type"),
    ("resources/Patient.yaml", "when: beside 2300", "when: beside", "is not"),
    ("resources/Patient.yaml", "key:", "keys:", "keys is not known here"),
    ("resources/Patient.yaml", "$needs: value", "$need: value", "$need is not known"),
    ("resources/Patient.yaml", "$each: PER-3+2", "$each: PER-3 by 2", "cannot be gone through"),
    ("resources/Claim.yaml", 'role: "=NM1-1 | care_team_role"', 'role: "=NM1-1"', "takes its elements"),
    ("resources/Claim.yaml", 'total: "=CLM-2"', 'total: ["=CLM-2"]', "does not repeat"),
    ("resources/PaymentReconciliation.yaml", "$refers: Claim", "$refers: Claims", "there is no resources/Claims.yaml"),
    ("sets/837P.yaml", "makes: [Payer,", "makes: [Payers,", "there is no resources/Payers.yaml"),
    ("sets/837P.yaml", "2010AA required;", "2010AX required;", "names a loop '2010AX' that is not declared"),
    ("sets/837P.yaml", "PWK x10", "PWK times 10", "is not an item"),
    ("sets/837P.yaml", "  SET: [", "  WHOLE: [", "there is no loop SET"),
    ("sets/835.yaml", '"2000": [LX required,', '"2000": ["2100",', "does not begin with a segment"),
]


@pytest.mark.parametrize(("file", "good", "bad", "said"), WRONG)
def test_a_wrong_declaration_is_told(tmp_path: Path, file: str, good: str, bad: str, said: str):
    folder = tmp_path / "x12"
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert good in text
    (folder / file).write_text(text.replace(good, bad, 1), encoding="utf-8")
    with pytest.raises(CatalogError) as error:
        Mapper(load_x12(folder))
    assert said in str(error.value)
    assert Path(file).name in str(error.value)


SEGMENTS = [
    line
    for name in ("837p.edi", "837i.edi", "835.edi")
    for line in (EXAMPLES / name).read_text(encoding="utf-8").replace("\n", "").split("~")[2:-3]
]
PIECE = st.text('AB19:*^ .-\\"é20250102ICDEXW', max_size=14)
HEADS = {"837P": "005010X222A1", "837I": "005010X223A2", "835": "005010X221A1"}


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(HEADS)), st.lists(st.one_of(st.sampled_from(SEGMENTS), PIECE), max_size=40))
def test_no_order_of_segments_raises(guide, body):
    isa = (EXAMPLES / "835.edi").read_text(encoding="utf-8")[:105]
    text = "~".join(
        [isa, "GS*HC*A*B*20250101*1200*1*X*1", f"ST*{guide[:3]}*1*{HEADS[guide]}", *body, "SE*9*1", "GE*1*1"]
    )
    for record in records(f"{text}~IEA*1*1~".encode()):
        result = to_fhir(record)
        assert result.error is None or result.resources == []


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["837p.edi", "837i.edi", "835.edi"]), st.data())
def test_values_of_any_kind_raise_nothing_and_what_lands_is_whole(name, data):
    lines = (EXAMPLES / name).read_text(encoding="utf-8").replace("\n", "").split("~")
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4, len(lines) - 5))
        elements = lines[at].split("*")
        if len(elements) > 1 and elements[0] not in ("SE", "ST", "GS"):
            elements[data.draw(st.integers(1, len(elements) - 1))] = data.draw(PIECE)
            lines[at] = "*".join(elements)
    for record in records("~".join(lines).encode()):
        result = to_fhir(record)
        ids = [(r["resourceType"], r["id"]) for r in result.resources]
        assert len(ids) == len(set(ids))
        assert all(json.loads(dumps(r))["id"] == r["id"] for r in result.resources)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    for record in [*records(data), *records(b"ISA*" + data), Record(0, data)]:
        to_fhir(record)
