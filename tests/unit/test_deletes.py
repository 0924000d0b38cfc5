"""What is gone comes in two forms, and is read from both."""

from __future__ import annotations

import json

import pytest

from cohortlake.core.deletes import ResourceGone, RowGone, WrongDeleteError, read_deletes, write_row


def bundle(*urls: str, method: str = "DELETE") -> str:
    entries = [{"request": {"method": method, "url": url}} for url in urls]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})


def test_a_servers_bundle():
    assert read_deletes(bundle("Patient/1", "https://ehr.example.org/fhir/Condition/a-1.b")) == [
        ResourceGone("Patient", "1"), ResourceGone("Condition", "a-1.b"),
    ]  # fmt: skip
    assert read_deletes(bundle()) == []


def test_a_databases_row_comes_back_as_it_was_written():
    gone = RowGone("patients", {"Id": "ü", "ENCOUNTER": None}, "2026-01-01T00:00:00Z")
    assert read_deletes(write_row(gone)) == [gone]
    assert "\n" not in write_row(RowGone("t", {"a": "x\ny"}, "now"))


@pytest.mark.parametrize(
    "line",
    [
        "{", "[]", "{}", '{"table": "t", "key": {}, "deleted_at": "x"}', '{"table": "t", "key": {"a": "1"}}',
        '{"table": "t", "key": {"a": 1}, "deleted_at": "x"}', '{"resourceType": "Bundle", "entry": [null]}',
        bundle("Patient/1", method="PUT"), bundle("Patient"), bundle("Patient?a=b"),
    ],
)  # fmt: skip
def test_what_is_neither_is_told(line):
    with pytest.raises(WrongDeleteError):
        read_deletes(line)
