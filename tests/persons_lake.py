"""Small lakes of Patients for tests of persons: silver as it is, with no Spark."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.catalog import Catalog
from cohortlake.core.lake import Lake
from cohortlake.core.persons.ids import Key
from spark_jobs import delta, link
from spark_jobs.context import Context, StepResult
from spark_jobs.fhir_types import INTERVALS, PARTITION, part_schema, silver_schema, table_schema, with_intervals
from spark_jobs.link_tables import live, read_members
from spark_jobs.person_rows import person_keys, persons_of, with_persons

Patient = dict[str, Any]


def patient(id_: str, given: str, family: str, born: str, *, ssn: str = "", **more: Any) -> Patient:
    kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "SS"}]}
    return {
        "id": id_,
        "name": [{"family": family, "given": given.split()}],
        "birthDate": born,
        "gender": "female",
        "identifier": [{"type": kind, "system": "http://hl7.org/fhir/sid/us-ssn", "value": ssn}] if ssn else None,
        "address": [{"line": ["1 Oak Street"], "city": "Taunton", "postalCode": "02780"}],
        **more,
    }


def hold(lake: Lake, catalog: Catalog, silos: dict[str, list[Patient]]) -> None:
    """Make these the live Patients of silver."""
    _hold(lake, catalog, "Patient", silos)


def linkage(lake: Lake, catalog: Catalog, said: dict[tuple[str, str], bool]) -> None:
    """Make these the live Linkages of silo a: whether the pairs of its Patients are linked."""
    rows = [
        {
            "id": "-".join(pair),
            "active": is_active,
            "item": [{"type": "alternate", "resource": {"reference": f"Patient/{one}"}} for one in pair],
        }
        for pair, is_active in said.items()
    ]
    _hold(lake, catalog, "Linkage", {"a": rows})


def _hold(lake: Lake, catalog: Catalog, kind: str, silos: dict[str, list[dict[str, Any]]]) -> None:
    tree, where = catalog.resources[kind], lake.silver(kind)
    delta.create(where, silver_schema(tree), partition_by=[PARTITION])
    parts = []
    for silo, patients in silos.items():
        schema = pa.schema([field for field in part_schema(tree) if field.name != INTERVALS])
        rows = with_intervals(tree, pa.Table.from_pylist(patients, schema=schema))
        parts.append(delta.write_part(where, rows, {PARTITION: silo}))
    delta.commit(where, parts, mode="overwrite")


def run(lake: Lake, catalog: Catalog, data: Path = Path()) -> StepResult:
    return link.run(Context(lake, data, catalog, "persons", "run-1"))


def make_gold(lake: Lake, catalog: Catalog, said: dict[str, str]) -> None:
    """Gold's patients and persons of a linked lake, with birth dates by silo; the keys are those of `person_keys`."""
    tables = catalog.tables
    keys, members = person_keys(lake), sorted(live(read_members(lake)))
    rows = [
        {"patient_key": key, "silo": silo, "birth_date": date.fromisoformat(said[silo]), "gender": "female"}
        for key, (silo, _) in zip(keys["patient_key"].to_pylist(), members, strict=True)
    ]
    schema = table_schema({name: column.type for name, column in tables["patients"].columns.items()})
    given = pa.Table.from_pylist(rows, schema=schema).drop_columns("person_key")
    patients = with_persons(given, tables["patients"].person_of, keys)
    resolve = tables["persons"].resolve
    assert resolve is not None
    schema = table_schema({name: column.type for name, column in tables["persons"].columns.items()})
    for name, made in (("patients", patients), ("persons", persons_of(patients, resolve, schema))):
        privacy = {column: declared.privacy for column, declared in tables[name].columns.items()}
        delta.create(lake.gold(name), made.schema, privacy=privacy)
        delta.commit(lake.gold(name), [delta.write_part(lake.gold(name), made, {})])


def persons(lake: Lake) -> set[frozenset[Key]]:
    found = defaultdict(set)
    for record, person in live(read_members(lake)).items():
        found[person].add(record)
    return {frozenset(records) for records in found.values()}


ANN_A = patient("1", "Ann Marie", "Walker122", "1965-02-07", ssn="999-30-6432")
ANN_B = patient("9", "ANN M", "WLAKER122", "1965-02-07", ssn="999-30-6432")
ANN_C = patient("5", "Ann", "Walker122", "1965-07-02", address=[{"city": "Taunton", "postalCode": "02780"}])
BOB_A = patient("2", "Robert", "Ortiz", "1990-11-30", gender="male", address=[{"line": ["9 Elm Road"], "city": "Lynn"}])
HOSPITALS = {"a": [ANN_A, BOB_A], "b": [ANN_B], "c": [ANN_C]}
ANN = frozenset({("a", "1"), ("b", "9"), ("c", "5")})
