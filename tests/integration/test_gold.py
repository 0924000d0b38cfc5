"""Gold: made from both hospitals, keyed by pseudonyms, and holding nothing that names anyone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cohortlake.core import gold
from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import CatalogError
from cohortlake.core.lake import Lake
from spark_jobs import delta
from spark_jobs.fhir_types import table_schema
from tests import flow, hospitals

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]


def not_training(step) -> bool:
    return step.stage != "training"


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gold")
    hospitals.write_site_a(folder / "data")
    hospitals.write_site_b(folder / "data")
    found = flow.run(folder / "lake", folder / "data", only=not_training)
    assert flow.is_balanced(found)
    again = flow.run(folder / "lake", folder / "data", only=not_training)
    assert again["curate.gold"]["facts"]["unchanged"] is True
    return folder / "lake"


IDENTIFIERS = """
    SELECT id FROM t UNION SELECT unnest(name).family FROM t
    UNION SELECT unnest(flatten([n.given for n in name])) FROM t
    UNION SELECT unnest(identifier)."value" FROM t UNION SELECT unnest(telecom)."value" FROM t
    UNION SELECT unnest(flatten([a.line for a in address])) FROM t UNION SELECT unnest(address).postalCode FROM t
    UNION SELECT unnest(address).city FROM t
"""


def test_no_gold_value_holds_a_name_number_address_or_phone_of_silver(lake):
    wanted = {
        row[0].lower() for row in flow.query(lake, "phi/silver/Patient", IDENTIFIERS) if row[0] and len(row[0]) > 3
    }
    assert len(wanted) > 40
    connection = gold.connect(Lake(lake))
    for table in gold.tables(Lake(lake)):
        for row in connection.execute(f'SELECT to_json(t) FROM "{table}" t').fetchall():
            text = row[0].lower()
            assert not [value for value in wanted if f'"{value}"' in text or f" {value} " in text], table


def test_both_hospitals_answer_one_question(lake):
    rows = gold.connect(Lake(lake)).sql(
        "SELECT p.silo, count(*) FROM laboratory_results JOIN patients p USING (patient_key) GROUP BY p.silo ORDER BY 1"
    )
    found = rows.fetchall()
    assert [silo for silo, _ in found] == ["site_a_fhir_r4", "site_b_csv"]
    assert all(count > 0 for _, count in found)


def test_persons_has_one_row_a_human_and_every_patient_names_theirs(lake):
    connection = gold.connect(Lake(lake))
    linked = flow.query(lake, "phi/persons/members", "SELECT DISTINCT person_id FROM t WHERE until IS NULL")
    people = connection.sql("SELECT person_key, record_count FROM persons").fetchall()
    assert sorted(key for key, _ in people) == sorted(key for (key,) in linked)
    named = connection.sql("SELECT person_key, count(*) FROM patients GROUP BY 1").fetchall()
    assert sorted(named) == sorted(people)
    assert sum(count for _, count in people) == len(connection.sql("SELECT * FROM patients").fetchall()) > 0


def test_every_declared_table_is_there_with_its_columns(lake):
    declared = load_catalog().tables
    connection = gold.connect(Lake(lake))
    assert set(gold.tables(Lake(lake))) == set(declared)
    for name, table in declared.items():
        assert [row[0] for row in connection.sql(f'DESCRIBE "{name}"').fetchall()] == list(table.columns), name


def test_the_secret_is_its_owners_and_keys_need_it(lake):
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
