"""An exported project: plain Great Expectations runs it in a process of its own and comes to the gate's verdicts."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cohortlake.core.catalog import load_catalog
from cohortlake.core.checks import gold_checks
from cohortlake.core.errors import CatalogError, UsageError
from cohortlake.core.lake import Lake
from expectations import own
from expectations.export import export, own_actions
from expectations.suites import judged
from expectations.validate import Examiner, Table
from spark_jobs.fhir_types import fhir_schema

A = "site_a_fhir_r4"
ARROW = {"STRING": pa.string(), "DATE": pa.date32(), "BOOLEAN": pa.bool_(), "INT": pa.int32(), "DOUBLE": pa.float64(),
         "TIMESTAMP": pa.timestamp("us", tz="UTC")}  # fmt: skip
ACTIONS = """actions:
  - {type: slack, name: tell, slack_webhook: "${SLACK_WEBHOOK}", notify_on: failure}
  - {type: email, name: mail, smtp_address: mail.example.org, smtp_port: "587", receiver_emails: d@example.org}
  - {type: update_data_docs, name: pages}
"""


@pytest.fixture
def lake(tmp_path) -> Lake:
    """A lake with a curated table and a resource type, with faults in each."""
    made = Lake(tmp_path / "lake")
    columns = load_catalog().tables["patients"].columns
    row = dict.fromkeys(columns) | {"patient_key": "k1", "gender": "female", "birth_date": datetime.date(1970, 1, 1)}
    rows = [row, row | {"gender": "zq"}, row | {"patient_key": "k2"}, row | {"patient_key": None}]
    schema = pa.schema([(name, ARROW[column.type]) for name, column in columns.items()])
    write_deltalake(str(made.gold("patients")), pa.Table.from_pylist(rows, schema))
    tree = load_catalog().resources["Patient"]
    names = [("silo", pa.string()), ("_file_hash", pa.string()), ("_offset", pa.int64()), ("_rest", pa.string())]
    good = {"silo": A, "_file_hash": "h", "gender": "female", "birthDate": "1970", "name": [{"family": "Ito"}]}
    changed = [{}, {"birthDate": "2021-02-30"}, {"gender": "zq"}, {"silo": "other", "gender": "zq"}]
    resources = [good | {"id": f"p{at}", "_offset": at} | change for at, change in enumerate(changed)]
    write_deltalake(
        str(made.silver("Patient")),
        pa.Table.from_pylist(resources, pa.schema([*fhir_schema(tree), *names])),
        partition_by=["silo"],
    )
    return made


def run(folder: Path) -> tuple[dict[str, set[str]], str, int]:
    """What `run.py` says in a process that has nothing of this project on its path: failed checks by table."""
    found = subprocess.run(
        [sys.executable, "-P", str(folder / "run.py")], cwd="/", capture_output=True, text=True, timeout=600,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": ""},
    )  # fmt: skip
    failed: dict[str, set[str]] = {}
    for line in found.stdout.splitlines():
        if match := re.fullmatch(r"(\S+): \d+ checks, \d+ failed", line):
            table = match[1]
            failed[table] = set()
        elif line.startswith("  "):
            failed[table].add(line.strip())
    return failed, found.stdout + found.stderr, found.returncode


def test_plain_great_expectations_comes_to_the_same(lake, tmp_path):
    catalog = load_catalog()
    found = export(lake, catalog, tmp_path / "project", [A])
    assert found.rows == {"gold.patients": 4, f"{A}.Patient": 3}
    failed, said, code = run(tmp_path / "project")
    assert code == 1, said
    declared = catalog.tables["patients"]
    checks = [judged(check, check.element) for check in gold_checks(declared) if not check.is_fact]
    brought = [one for one in own.gold_checks(declared) if one.rows_sql is None]
    files = list(Path(lake.gold("patients")).glob("*.parquet"))
    table = Table("gold.patients.rows", "SELECT * FROM staged", files, 4, (*checks, *brought))
    outcomes, _ = Examiner(lake, "r1").judge_rows(table, tmp_path / "spill")
    assert failed["gold.patients"] == {one.check.name for one in outcomes if not one.passed}
    assert {"patients key is unique", "patients.patient_key is present"} <= failed["gold.patients"]
    assert {"Patient.birthDate is a FHIR date", "Patient.gender is a known code"} <= failed[f"{A}.Patient"]
    assert "patients demographics: nobody was born before 1890" in found.left_out


def test_the_project_needs_nothing_of_ours_and_says_what_it_leaves_out(lake, tmp_path):
    export(lake, load_catalog(), tmp_path / "project")
    code = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "project").rglob("*.py"))
    assert not re.search(r"^\s*(from|import) (cohortlake|expectations|spark_jobs)\b", code, re.MULTILINE)
    readme = (tmp_path / "project/README.md").read_text(encoding="utf-8")
    assert "nobody was born before 1890" in readme
    assert "phi zone" not in readme


def test_no_action_is_on_unless_declared(lake, tmp_path, monkeypatch):
    assert own_actions() == []
    monkeypatch.setenv("COHORTLAKE_EXPECTATIONS", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own/actions.yaml").write_text(ACTIONS)
    assert [one.type for one in own_actions()] == ["slack", "email", "update_data_docs"]
    export(lake, load_catalog(), tmp_path / "project")
    checkpoint = (tmp_path / "project/gx/checkpoints/all_tables.json").read_text(encoding="utf-8")
    assert all(word in checkpoint for word in ("slack", "email", "update_data_docs", "${SLACK_WEBHOOK}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("actions: [{type: pigeon, name: x}]", "actions.0: `type` is 'pigeon'; expected one of"),
        ("actions: [{type: email, name: x}]", "actions.0: .*receiver_emails"),
        ("act: []", "act is not known here; allowed are actions"),
    ],
)
def test_a_wrong_action_is_an_error_that_names_the_file(tmp_path, monkeypatch, text, said):
    monkeypatch.setenv("COHORTLAKE_EXPECTATIONS", str(tmp_path))
    (tmp_path / "actions.yaml").write_text(text)
    with pytest.raises(CatalogError, match=said) as raised:
        own_actions()
    assert str(tmp_path / "actions.yaml") in str(raised.value)


def test_a_folder_that_holds_something_is_left_alone(lake, tmp_path):
    with pytest.raises(UsageError, match="is not empty"):
        export(lake, load_catalog(), tmp_path)
