"""Silver gives back what came in as FHIR, whole; a resource type without a declaration lands and comes back too."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cohortlake.cli import app
from cohortlake.cli import export as _registered  # noqa: F401
from cohortlake.core.errors import UsageError
from cohortlake.core.export import export
from cohortlake.core.lake import Lake
from tests import flow, hospitals

pytestmark = [pytest.mark.spark, pytest.mark.acceptance]
A, B = "site_a_fhir_r4", "site_b_csv"


def as_written(line: str):
    return json.loads(line, parse_float=str)


@pytest.fixture(scope="module")
def lake(spark, tmp_path_factory):
    """Hospital A whole, and some of hospital B."""
    root = tmp_path_factory.mktemp("export")
    data = root / "data"
    (data / A).parent.mkdir(parents=True)
    (data / A).symlink_to(hospitals.DATA / A)
    hospitals.write_site_b(data)
    flow.run(root / "lake", data)
    return root / "lake"


def test_hospital_a_comes_back_equal_record_by_record(lake, tmp_path):
    counts = export(Lake(lake), tmp_path / "out", silos=[A])
    for path in sorted((hospitals.DATA / A).glob("*.ndjson.gz")):
        name = path.name.split(".")[0]
        given = {json.loads(line)["id"]: line for line in hospitals.lines(f"{A}/{path.name}")}
        text = (tmp_path / "out" / f"{name}.ndjson").read_text(encoding="utf-8")
        made = {json.loads(line)["id"]: line for line in text.splitlines()}
        assert len(made) == counts[name] == len(given)
        different = [key for key, line in given.items() if as_written(line) != as_written(made[key])]
        assert different == [], name


def test_a_csv_hospital_comes_out_as_fhir(lake, tmp_path):
    answer = CliRunner().invoke(
        app, ["export", "fhir", "-o", str(tmp_path), "--lake", str(lake), "--silo", B, "-t", "Patient", "--gzip"]
    )
    assert answer.exit_code == 0, answer.output
    patients = [json.loads(line) for line in hospitals.unzipped(tmp_path / "Patient.ndjson.gz")]
    assert len(patients) == 3
    assert all(patient["resourceType"] == "Patient" and patient["birthDate"] for patient in patients)
    assert not any(value is None for patient in patients for value in patient.values())


@pytest.mark.parametrize(("option", "value"), [("only", "Wibble"), ("silos", "site_q")])
def test_what_is_not_there_is_named(lake, tmp_path, option, value):
    with pytest.raises(UsageError, match=value):
        export(Lake(lake), tmp_path, **{option: [value]})
