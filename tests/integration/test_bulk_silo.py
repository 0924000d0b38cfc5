"""Hospital A on a FHIR server: what it exports and what it deletes reach silver; while it is down nothing does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.core.errors import SourceError
from cohortlake.run import RunFailedError
from spark_jobs import bulk_http
from tests import flow
from tests.bulk_server import BulkServer, serving

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

SILO = "site_a_fhir_r4"
EXAMPLE = PROJECT_CATALOG / "silos" / SILO / "example/input"


@pytest.fixture
def server():
    with serving() as bulk:
        for kind in ("Patient", "Encounter", "Observation", "Organization"):
            lines = (EXAMPLE / f"{kind}.ndjson").read_bytes().splitlines()
            bulk.resources[kind] = [line for line in lines if line.strip()]
        yield bulk


@pytest.fixture
def catalog(server: BulkServer, tmp_path) -> Path:
    """The project's catalog, hospital A behind the server."""
    folder = Path(shutil.copytree(PROJECT_CATALOG, tmp_path / "catalog"))
    path = folder / "silos" / SILO / "silo.yaml"
    source = f"source:\n  kind: bulk_fhir\n  url: {server.url}/fhir\n"
    path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n" + source, encoding="utf-8")
    return folder


@pytest.mark.acceptance
def test_what_a_server_exports_and_deletes_reaches_silver(server, catalog, tmp_path, monkeypatch):
    lake, data = tmp_path / "lake", tmp_path / "data"

    def ingest() -> dict:
        return flow.run(lake, data, only=lambda step: step.scope == SILO, catalog=catalog)

    def live(kind: str) -> set[str]:
        return {row[0] for row in flow.query(lake, f"phi/silver/{kind}", "SELECT id FROM t")}

    found = ingest()
    assert found[f"land.{SILO}"]["facts"]["fetched"]["rows"] == {k: len(v) for k, v in server.resources.items()}
    patients, observations = live("Patient"), live("Observation")
    assert {json.loads(line)["id"] for line in server.resources["Observation"]} == observations

    gone = sorted(observations)[0]
    request = {"method": "DELETE", "url": f"Observation/{gone}"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": request}]}
    server.deleted = [json.dumps({**bundle, "meta": {"lastUpdated": "2099-01-01T00:00:00Z"}}).encode()]
    server.resources = {"Patient": [json.dumps({"resourceType": "Patient", "id": "new"}).encode()]}
    found = ingest()
    assert flow.is_balanced(found)
    assert live("Observation") == observations - {gone}
    assert live("Patient") - {"new"} == patients

    content = flow.content(lake)
    monkeypatch.setattr(bulk_http, "FIRST_TRIES", 1)
    server.faults["kick_off"].append(lambda right: type(right)(503))
    with pytest.raises(RunFailedError, match="the kick-off: status 503") as caught:
        ingest()
    assert caught.value.exit_code == SourceError.exit_code
    assert flow.content(lake) == content
