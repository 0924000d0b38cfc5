"""From files to silver and gold: everything arrives, once, in any order; what is wrong is held by name and replayed.

Gold is keyed by pseudonyms, and holds nothing that names anyone.
"""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest

from cohortlake.core import gold
from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import CatalogError, LakeBusyError
from cohortlake.core.lake import Lake
from spark_jobs import delta, quarantine
from spark_jobs.fhir_types import table_schema
from tests import flow, hospitals

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> tuple[Path, Path, dict]:
    """Both small hospitals in, once, and gold."""
    folder = tmp_path_factory.mktemp("clean")
    hospitals.write_site_a(folder / "data")
    hospitals.write_site_b(folder / "data")
    return folder / "lake", folder / "data", flow.run(folder / "lake", folder / "data", not_training)


def not_training(step) -> bool:
    return step.stage != "training"


@pytest.mark.acceptance
def test_every_resource_of_hospital_a_is_live(clean):
    lake, _, _ = clean
    for name, lines in hospitals.site_a().items():
        found = flow.query(lake, f"phi/silver/{name}", "SELECT count(*) FROM t WHERE silo = 'site_a_fhir_r4'")
        assert found == [(len(lines),)], name
    assert flow.reasons(lake) == {}


@pytest.mark.acceptance
def test_every_row_of_hospital_b_that_a_mapping_reads_is_live(clean):
    lake, _, _ = clean
    for name, feed in {
        "Patient": "patients",
        "Encounter": "encounters",
        "Claim": "claims",
        "Observation": "observations",
    }.items():
        found = flow.query(lake, f"phi/silver/{name}", "SELECT count(*) FROM t WHERE silo = 'site_b_csv'")
        assert found == [(len(hospitals.site_b()[feed]) - 1,)], name


@pytest.mark.acceptance
def test_charges_all_become_items_of_claims(clean):
    lake, _, _ = clean
    charges = sum(",CHARGE," in line for line in hospitals.site_b()["claims_transactions"])
    assert flow.query(lake, "phi/silver/Claim", "SELECT sum(len(item)) FROM t WHERE silo = 'site_b_csv'") == [
        (charges,)
    ]


@pytest.mark.acceptance
def test_books_balance_and_bronze_holds_every_line_untouched(clean):
    lake, _, found = clean
    assert flow.is_balanced(found)
    rows = flow.query(
        lake, "phi/bronze/site_a_fhir_r4", "SELECT payload FROM t WHERE feed = 'Patient' ORDER BY \"offset\""
    )
    assert [row[0] for row in rows] == hospitals.site_a()["Patient"]


@pytest.mark.acceptance
def test_codes_without_a_map_are_kept_flagged_and_counted(clean):
    lake, _, found = clean
    said = found["standardise.site_b_csv"]["facts"]["unmapped"]
    flagged = flow.query(lake, "phi/silver/Observation", "SELECT count(*) FROM t WHERE len(_unmapped) > 0")
    assert flagged == [(sum(said.values()),)]
    assert flagged[0][0] > 0


IDENTIFIERS = """
    SELECT id FROM t UNION SELECT unnest(name).family FROM t
    UNION SELECT unnest(flatten([n.given for n in name])) FROM t
    UNION SELECT unnest(identifier)."value" FROM t UNION SELECT unnest(telecom)."value" FROM t
    UNION SELECT unnest(flatten([a.line for a in address])) FROM t UNION SELECT unnest(address).postalCode FROM t
    UNION SELECT unnest(address).city FROM t
"""


@pytest.mark.acceptance
def test_no_gold_value_holds_a_name_number_address_or_phone_of_silver(clean):
    lake, _, _ = clean
    wanted = {
        row[0].lower() for row in flow.query(lake, "phi/silver/Patient", IDENTIFIERS) if row[0] and len(row[0]) > 3
    }
    assert len(wanted) > 40
    connection = gold.connect(Lake(lake))
    tables = gold.tables(Lake(lake))
    assert len(tables) > 20
    for table in tables:
        for row in connection.execute(f'SELECT to_json(t) FROM "{table}" t').fetchall():
            text = row[0].lower()
            assert not [value for value in wanted if f'"{value}"' in text or f" {value} " in text], table


@pytest.mark.acceptance
def test_both_hospitals_answer_one_question(clean):
    lake, _, _ = clean
    rows = gold.connect(Lake(lake)).sql(
        "SELECT p.silo, count(*) FROM laboratory_results JOIN patients p USING (patient_key) GROUP BY p.silo ORDER BY 1"
    )
    found = rows.fetchall()
    assert [silo for silo, _ in found] == ["site_a_fhir_r4", "site_b_csv"]
    assert all(count > 0 for _, count in found)


@pytest.mark.acceptance
def test_persons_has_one_row_a_human_and_every_patient_names_theirs(clean):
    lake, _, _ = clean
    connection = gold.connect(Lake(lake))
    linked = flow.query(lake, "phi/persons/members", "SELECT DISTINCT person_id FROM t WHERE until IS NULL")
    people = connection.sql("SELECT person_key, record_count FROM persons").fetchall()
    assert sorted(key for key, _ in people) == sorted(key for (key,) in linked)
    named = connection.sql("SELECT person_key, count(*) FROM patients GROUP BY 1").fetchall()
    assert sorted(named) == sorted(people)
    assert sum(count for _, count in people) == len(connection.sql("SELECT * FROM patients").fetchall()) > 0


@pytest.mark.acceptance
def test_every_declared_table_is_there_with_its_columns(clean):
    lake, _, _ = clean
    declared = load_catalog().tables
    connection = gold.connect(Lake(lake))
    assert set(gold.tables(Lake(lake))) == set(declared)
    for name, table in declared.items():
        assert [row[0] for row in connection.sql(f'DESCRIBE "{name}"').fetchall()] == list(table.columns), name


@pytest.mark.acceptance
def test_the_secret_is_its_owners_and_keys_need_it(clean):
    lake, _, _ = clean
    path = lake / "phi/vault/pseudonym.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = gold.connect(Lake(lake)).sql("SELECT patient_key FROM patients").fetchall()
    assert all(len(key) == 32 for (key,) in keys)


def test_a_column_without_a_privacy_class_or_an_identifier_is_refused_outside_the_phi_zone(tmp_path):
    schema = table_schema({"patient_key": "STRING", "name": "STRING"})
    place = Lake(tmp_path).gold("people")
    with pytest.raises(CatalogError, match="not classified"):
        delta.create(place, schema, privacy={"patient_key": "none"})
    with pytest.raises(CatalogError, match="an identifier"):
        delta.create(place, schema, privacy={"patient_key": "none", "name": "identifier"})
    assert not delta.exists(place)


@pytest.mark.acceptance
def test_nothing_new_changes_nothing_and_the_same_bytes_under_another_name_are_known(clean):
    lake, data, _ = clean
    before = flow.content(lake)
    copy = data / "site_a_fhir_r4/Patient.again.ndjson.gz"
    copy.write_bytes(gzip.compress((data / "site_a_fhir_r4/Patient.ndjson").read_bytes(), mtime=1))
    renamed = data / "site_a_fhir_r4/Encounter.again.ndjson"
    renamed.write_bytes((data / "site_a_fhir_r4/Encounter.ndjson").read_bytes())
    found = flow.run(lake, data)
    copy.unlink()
    renamed.unlink()
    # The zipped copy has other bytes: it lands, and its records give way to the live ones that they equal.
    assert found["land.site_a_fhir_r4"]["facts"]["files_new"] == 1
    assert flow.content(lake) == before
    assert flow.is_balanced(found)


def _versions(line: str) -> tuple[str, str]:
    """A resource in an older and a newer version."""
    resource = json.loads(line)
    old, new = json.loads(line), json.loads(line)
    old["meta"] = {**resource.get("meta", {}), "lastUpdated": "2025-01-01T00:00:00Z", "versionId": "1"}
    new["meta"] = {**resource.get("meta", {}), "lastUpdated": "2025-02-01T00:00:00+01:00", "versionId": "2"}
    new["gender"] = "other"
    return json.dumps(old), json.dumps(new)


@pytest.mark.acceptance
def test_any_order_of_arrival_gives_the_same_silver(tmp_path):
    """The older version last, children before their patient, rows of a claim after it and before it."""
    a, b = hospitals.site_a(2, 20), hospitals.site_b(2)
    old, new = _versions(a["Patient"][0])
    b_charges = b["claims_transactions"]
    half = len(b_charges) // 2
    deliveries = {
        "older": ("site_a_fhir_r4", "Patient.1.ndjson", [old, *a["Patient"][1:]]),
        "newer": ("site_a_fhir_r4", "Patient.2.ndjson", [new]),
        "visits": ("site_a_fhir_r4", "Encounter.1.ndjson", a["Encounter"]),
        "results": ("site_a_fhir_r4", "Observation.1.ndjson", a["Observation"]),
        "people": ("site_b_csv", "patients.csv", b["patients"]),
        "stays": ("site_b_csv", "encounters.csv", b["encounters"]),
        "claims": ("site_b_csv", "claims.csv", b["claims"]),
        "charges": ("site_b_csv", "claims_transactions.1.csv", b_charges[:half]),
        "more": ("site_b_csv", "claims_transactions.2.csv", [b_charges[0], *b_charges[half:]]),
    }
    orders = [
        [["older", "visits", "people", "claims", "stays"], ["newer", "results", "charges", "more"]],
        [["newer", "results", "charges", "stays"], ["visits", "claims"], ["older", "people", "more"]],
    ]
    found = []
    for number, order in enumerate(orders):
        lake, data = tmp_path / f"lake{number}", tmp_path / f"data{number}"
        for silo in ("site_a_fhir_r4", "site_b_csv"):
            (data / silo).mkdir(parents=True)
        for batch in order:
            for name in batch:
                silo, file, lines = deliveries[name]
                hospitals.write(data / silo, file, lines)
            assert flow.is_balanced(flow.run(lake, data))
        found.append((flow.content(lake), flow.reasons(lake)))
    assert found[0] == found[1]
    newest = flow.query(tmp_path / "lake1", "phi/silver/Patient", "SELECT gender FROM t WHERE meta.versionId = '2'")
    assert newest == [("other",)]


def test_a_record_held_for_want_of_its_patient_goes_through_when_the_patient_comes(tmp_path):
    resources = hospitals.site_a(2, 5)
    lake, data = tmp_path / "lake", tmp_path / "data"
    hospitals.write_site_b(data, {"patients": hospitals.site_b()["patients"]})
    hospitals.write(data / "site_a_fhir_r4", "Observation.ndjson", resources["Observation"])
    flow.run(lake, data)
    assert flow.reasons(lake)["Observation.subject resolves"] == len(resources["Observation"])
    hospitals.write(data / "site_a_fhir_r4", "Patient.ndjson", resources["Patient"])
    flow.run(lake, data)
    assert "Observation.subject resolves" not in flow.reasons(lake)
    assert flow.query(lake, "phi/silver/Observation", "SELECT count(*) FROM t") == [(len(resources["Observation"]),)]


@pytest.mark.acceptance
def test_a_replay_takes_a_record_up_again_and_holds_it_again_if_nothing_was_mended(tmp_path):
    resources = {**hospitals.site_a(2, 5)}
    resources = {name: resources[name] for name in ("Patient", "Encounter")}
    bad = json.loads(resources["Encounter"][0]) | {"status": "no-such-status"}
    resources["Encounter"] = [json.dumps(bad), *resources["Encounter"][1:]]
    lake, data = tmp_path / "lake", tmp_path / "data"
    hospitals.write_site_a(data, resources)
    hospitals.write_site_b(data, {"patients": hospitals.site_b()["patients"]})
    flow.run(lake, data)
    (row,) = flow.held(lake)
    assert row["reasons"] == ["Encounter.status is a known code"]
    assert row["file"] == "Encounter.ndjson"
    assert "no-such-status" in quarantine.raw_record(Lake(lake), row)
    quarantine.set_status(Lake(lake), [row["quarantine_id"]], quarantine.REPLAY)
    found = flow.run(lake, data)
    assert found["standardise.site_a_fhir_r4"]["facts"]["replayed"] == 1
    assert flow.is_balanced(found)
    assert [again["quarantine_id"] for again in flow.held(lake)] == [row["quarantine_id"]]


def test_a_second_run_on_a_lake_waits_or_refuses(tmp_path):
    hospitals.write_site_a(tmp_path / "data")
    with Lake(tmp_path / "lake").lock("run"), pytest.raises(LakeBusyError, match="another run"):
        flow.run(tmp_path / "lake", tmp_path / "data", wait=False)
