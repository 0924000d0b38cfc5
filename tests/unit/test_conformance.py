"""What of a silo or corpus is validated and told; the acceptance run has the real validator."""

from __future__ import annotations

import json
import re

import pytest

from tools import conformance
from tools.conformance import Judged, Known, converted, judge, page, table
from tools.hapi_validator import Finding

NAMELESS = Finding("error", "Nameless", "Patient.name")
ODD = Finding("error", "Odd", "Patient.gender")


class Stub:
    """A validator that wants a name, and holds a gender for odd."""

    def findings(self, resource: str) -> list[Finding]:
        made = json.loads(resource)
        return [*([] if "name" in made else [NAMELESS]), *([ODD] if "gender" in made else [])]


@pytest.fixture
def listed(monkeypatch):
    known = (Known(("b",), "Nameless", re.compile(r"Patient\..*"), "some have none"),)
    monkeypatch.setattr(conformance, "known", lambda: known)


def judged(tmp_path, name: str) -> Judged:
    lines = ['{"name":1}', "{}", '{"name":1,"gender":1}']
    (tmp_path / "Patient.ndjson").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "Empty.ndjson").write_text("", encoding="utf-8")
    return judge(Stub(), name, tmp_path, None)


def test_errors_are_listed_by_name_kind_and_place(tmp_path, listed):
    found = judged(tmp_path, "b")
    assert (found.resources, found.validated, len(found.found)) == (3, 3, 1)
    assert found.unlisted() == {ODD: 1}
    assert judged(tmp_path, "a").unlisted() == {ODD: 1, NAMELESS: 1}


def test_the_page_says_what_is_listed_and_what_is_not(tmp_path, listed):
    found = [judged(tmp_path, "b")]
    assert table(found)[-1] == "| b | 1 | 3 | 3 | 2 | 1 |"
    assert "| b | Nameless | `Patient.name` | 1 | some have none |" in page(found)
    assert "| b | Odd | `Patient.gender` | 1 | **not listed** |" in page(found)


def test_a_corpus_is_what_its_files_become(tmp_path, monkeypatch):
    monkeypatch.setattr(conformance, "CORPORA", {"two messages": ("feed", "hl7v2", "*.hl7")})
    (tmp_path / "feed").mkdir()
    message = "MSH|^~\\&|A|B|||20250102||ADT^A28|1|P|2.5.1\rPID|1||77^^^B^MR||Ito^Ann\r"
    (tmp_path / "feed/one.hl7").write_text(message + "MSH|^^|broken\r", encoding="utf-8")
    made = converted("two messages", tmp_path, tmp_path / "fhir")
    assert sorted(path.stem for path in made.iterdir()) == ["Organization", "Patient", "Provenance"]
    assert json.loads((made / "Patient.ndjson").read_text("utf-8"))["name"] == [{"family": "Ito", "given": ["Ann"]}]


def test_every_entry_of_the_list_has_a_reason():
    assert all(one.reason and one.of for one in conformance.known())
