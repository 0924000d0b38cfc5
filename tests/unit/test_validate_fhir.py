"""Which files and rows are given to the validator, and what is told of it; the acceptance run has the real one."""

from __future__ import annotations

import gzip
import json

import pytest
from typer.testing import CliRunner

from tools import validate_fhir
from tools.fetch_jars import Jars
from tools.hapi_validator import Finding

WRONG = Finding("error", "Wrong", "Patient.name")
UNSAID = Finding("information", "Unsaid", "Patient")
CLAIM = Finding("error", "Validation_VAL_Profile_Unknown", "")


class Stub:
    """A validator that finds what the record names."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def findings(self, resource: str) -> list[Finding]:
        return [{"wrong": WRONG, "unsaid": UNSAID, "claim": CLAIM}[name] for name in json.loads(resource)]


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command in a folder of files with their lines; gives its exit code and what it printed."""
    monkeypatch.setattr(validate_fhir, "Validator", Stub)
    monkeypatch.setattr(validate_fhir, "VALIDATOR", Jars("none", tmp_path, tmp_path / "hashes", (), ()))
    (tmp_path / "hashes").write_text("")

    def run(content: dict[str, list[str]], *arguments: str) -> tuple[int, str]:
        for name, lines in content.items():
            data = "".join(f"{line}\n" for line in lines).encode()
            (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        done = CliRunner().invoke(validate_fhir.app, [str(tmp_path), *arguments])
        return done.exit_code, done.stdout

    return run


@pytest.mark.parametrize(("size", "chosen"), [(None, "abcde"), (9, "abcde"), (5, "abcde"), (2, "ac"), (1, "a")])
def test_a_sample_is_even_across_the_rows(size, chosen):
    assert validate_fhir.sample("abcde", size) == list(chosen)


def test_errors_are_counted_by_file_and_claims_of_profiles_apart(command):
    content = {
        "a.ndjson": ['["wrong","claim"]', "", '["wrong","unsaid"]'],
        "b.ndjson.gz": ["[]"],
        "c.json": ['["claim",', '"unsaid"]'],
        "d.csv": ["no"],
    }
    code, text = command(content, "--json")
    found = {one["file"]: (one["validated"], one["unknown_profiles"], one["findings"]) for one in json.loads(text)}
    wrong = {"severity": "error", "kind": "Wrong", "path": "Patient.name", "count": 2}
    unsaid = {"severity": "information", "kind": "Unsaid", "path": "Patient", "count": 1}
    assert found == {"a.ndjson": (2, 1, [wrong, unsaid]), "b.ndjson.gz": (1, 0, []), "c.json": (1, 1, [unsaid])}
    assert code == 1


def test_the_table_says_what_is_wrong_and_what_was_not_judged(command):
    code, text = command({"a.ndjson": ['["wrong","claim","unsaid"]', "[]"]})
    assert (code, "2 of 2" in text, "Patient.name" in text, "Unsaid" in text) == (1, True, True, False)
    assert "1 resources claim profiles that are not at hand" in text
    assert "Unsaid" in command({}, "--all")[1]


def test_valid_files_end_with_0_and_no_files_with_2(command):
    code, text = command({})
    assert (code, "no FHIR file" in text) == (2, True)
    code, text = command({"a.ndjson": ["[]", "[]", "[]"]}, "--sample", "2")
    assert (code, "2 of 3" in text, "nothing to say" in text) == (0, True, True)


def test_without_the_validator_it_says_how_to_get_it(command, monkeypatch, tmp_path):
    monkeypatch.setattr(validate_fhir.VALIDATOR.hashes.__class__, "read_text", lambda *_, **__: "00  x.jar\n")
    code, text = command({"a.ndjson": ["[]"]})
    assert (code, "tools.fetch_validator" in text) == (2, True)
