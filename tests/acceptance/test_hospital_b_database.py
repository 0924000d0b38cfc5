"""Hospital B whole as a live PostgreSQL database: the same lake as its extract makes, then what changes in it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.run import RunFailedError
from tests import flow
from tests.catalogs import SILOS, catalog_of
from tests.postgres_server import PASSWORD, PostgresServer, program, serving

if program("initdb") is None:
    pytest.skip("no initdb: PostgreSQL's server is not installed", allow_module_level=True)

pytestmark = [pytest.mark.spark, pytest.mark.acceptance]
NAME = "site_b_csv"
EXTRACT = Path(__file__).parents[2] / "data" / NAME
SOURCE = SILOS / "site_b_postgres/source.yaml"
DATES = {
    "patients": ["BIRTHDATE", "DEATHDATE"], "conditions": ["START", "STOP"], "allergies": ["START", "STOP"],
    "careplans": ["START", "STOP"], "supplies": ["DATE"],
}  # fmt: skip
TIMES = {
    "encounters": ["START", "STOP"], "observations": ["DATE"], "medications": ["START", "STOP"],
    "procedures": ["START", "STOP"], "immunizations": ["DATE"], "devices": ["START", "STOP"],
    "imaging_studies": ["DATE"], "claims_transactions": ["FROMDATE", "TODATE"],
    "claims": ["CURRENTILLNESSDATE", "SERVICEDATE", "LASTBILLEDDATE1", "LASTBILLEDDATE2", "LASTBILLEDDATEP"],
    "payer_transitions": ["START_DATE", "END_DATE"],
}  # fmt: skip
TABLES = ["patients", "encounters", "conditions", "laboratory_results", "claim_items"]


class Hospital:
    """A server that holds hospital B's tables, and the lake that is made of them."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server, self.lake, self.data = server, folder / "lake", folder / "data"
        self.catalog = catalog_of(folder / "catalog", [PROJECT_CATALOG / "silos" / NAME], TABLES)
        path = self.catalog / "silos" / NAME / "silo.yaml"
        silo = yaml.safe_load(path.read_text(encoding="utf-8"))
        told = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
        silo["feeds"] |= told["feeds"]
        silo["source"] = {**told["source"], "port": server.port}
        path.write_text(yaml.safe_dump(silo, sort_keys=False), encoding="utf-8")

    def run(self) -> dict[str, Any]:
        return flow.run(self.lake, self.data, lambda step: step.scope in (NAME, "gold"), catalog=self.catalog)

    def content(self) -> dict[str, tuple[int, str]]:
        return flow.content(self.lake) | flow.content(self.lake, "research/gold")

    def ask(self, table: str, sql: str) -> list[tuple[Any, ...]]:
        return flow.query(self.lake, table, sql)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with serving() as running:
        for path in sorted(EXTRACT.glob("*.csv.gz")):
            table = path.name.split(".")[0]
            types = dict.fromkeys(DATES.get(table, ()), "date") | dict.fromkeys(TIMES.get(table, ()), "timestamptz")
            running.load(path, table, types)
            running.run(f'ALTER TABLE "{table}" ADD changed_at timestamptz DEFAULT now()')
        yield running


@pytest.fixture(scope="module")
def hospital(server, tmp_path_factory) -> Iterator[Hospital]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_DATABASE_PASSWORD", PASSWORD)
        made = Hospital(server, tmp_path_factory.mktemp("database"))
        made.run()
        yield made


def rows(table: str) -> int:
    with gzip.open(EXTRACT / f"{table}.csv.gz", "rt", encoding="utf-8") as stream:
        return sum(1 for _ in stream) - 1


def test_silver_of_the_database_is_silver_of_the_extract(hospital, tmp_path):
    catalog = catalog_of(tmp_path / "catalog", [PROJECT_CATALOG / "silos" / NAME])
    shutil.copytree(EXTRACT, tmp_path / "data" / NAME)
    flow.run(tmp_path / "lake", tmp_path / "data", lambda step: step.scope == NAME, catalog=catalog)
    fetched = flow.records(hospital.lake)[f"land.{NAME}"]["facts"]["fetched"]["rows"]
    assert fetched == {path.name.split(".")[0]: rows(path.name.split(".")[0]) for path in EXTRACT.glob("*.csv.gz")}
    silver = flow.content(tmp_path / "lake")
    assert len(silver) == 15
    assert flow.content(hospital.lake) == silver
    assert {(row["reasons"][0], row["offset"] >= 0) for row in flow.held(hospital.lake)} == {
        (row["reasons"][0], row["offset"] >= 0) for row in flow.held(tmp_path / "lake")
    }


def claim_of_two_charges(server: PostgresServer) -> str:
    [(claim,)] = server.run(
        'SELECT "CLAIMID" FROM claims_transactions WHERE "TYPE" = \'CHARGE\' GROUP BY 1 HAVING count(*) = 2 '
        "ORDER BY 1 LIMIT 1"
    )
    return str(claim)


def test_an_update_a_delete_and_a_new_row_reach_gold_in_the_next_run(hospital, server):
    claim = claim_of_two_charges(server)
    patient = server.run('SELECT min("Id") FROM patients')[0][0]
    place = '"PATIENT", "ENCOUNTER", "CODE", "DATE", "VALUE"'
    result = f"SELECT {place} FROM observations WHERE \"CODE\" = '4548-4' ORDER BY 4, 1 LIMIT 1"
    before = hospital.ask("research/gold/laboratory_results", "SELECT count(*) FROM t WHERE laboratory_code = '4548-4'")
    lines = "SELECT len(item) FROM t WHERE id = '{}'"
    assert hospital.ask("phi/silver/Claim", lines.format(claim)) == [(2,)]
    people = dict(hospital.ask("research/gold/patients", "SELECT gender, count(*) FROM t GROUP BY ALL"))
    born = server.run(f'SELECT "GENDER" FROM patients WHERE "Id" = \'{patient}\'')[0][0]
    server.run(
        # An update, and a new row, of a table that is compared whole.
        f"UPDATE patients SET \"GENDER\" = CASE \"GENDER\" WHEN 'F' THEN 'M' ELSE 'F' END WHERE \"Id\" = '{patient}'",
        "CREATE TABLE one AS SELECT * FROM conditions LIMIT 1",
        "UPDATE one SET \"CODE\" = '49436004', \"DESCRIPTION\" = 'Atrial fibrillation (disorder)'",
        "INSERT INTO conditions SELECT * FROM one",
        # A delete of a table with a watermark, and one of a line of a claim.
        f"DELETE FROM observations WHERE ({place}) IN ({result})",
        f"DELETE FROM claims_transactions WHERE ctid = (SELECT min(ctid) FROM claims_transactions "
        f"WHERE \"CLAIMID\" = '{claim}' AND \"TYPE\" = 'CHARGE')",
    )
    steps = hospital.run()
    assert flow.is_balanced(steps)
    facts = steps[f"land.{NAME}"]["facts"]["fetched"]
    assert (facts["rows"], facts["deleted"]) == (
        {"patients": 1, "conditions": 1}, {"deleted_observations": 1, "deleted_claims_transactions": 1},
    )  # fmt: skip
    now = dict(hospital.ask("research/gold/patients", "SELECT gender, count(*) FROM t GROUP BY ALL"))
    step = 1 if born == "F" else -1
    assert (now["male"] - people["male"], now["female"] - people["female"]) == (step, -step)
    fibrillation = "SELECT count(*) FROM t WHERE condition_code = '49436004'"
    assert hospital.ask("research/gold/conditions", fibrillation)[0][0] >= 1
    after = hospital.ask("research/gold/laboratory_results", "SELECT count(*) FROM t WHERE laboratory_code = '4548-4'")
    assert after[0][0] == before[0][0] - 1
    assert hospital.ask("phi/silver/Claim", lines.format(claim)) == [(1,)]


def down(server: PostgresServer) -> Callable[[], None]:
    server.control("stop", "-m", "immediate")
    return server.start


def dropped(server: PostgresServer) -> Callable[[], None]:
    server.run('ALTER TABLE medications RENAME "REASONCODE" TO "WHY"')
    return lambda: server.run('ALTER TABLE medications RENAME "WHY" TO "REASONCODE"') and None


@pytest.mark.parametrize(
    ("harm", "said"),
    [(down, "nothing answers there"), (dropped, "table public.medications has no column REASONCODE; it has, besides")],
)
def test_what_goes_wrong_is_told_and_leaves_the_lake_as_it_was(hospital, server, harm, said):
    before = hospital.content()
    mend = harm(server)
    try:
        with pytest.raises(RunFailedError, match=said):
            hospital.run()
    finally:
        mend()
    assert hospital.content() == before
    assert hospital.run()[f"land.{NAME}"]["facts"]["files_new"] == 0
