"""Hollow data are seen: planted lakes, each hollowed in a way of its own, and honest ones that must not alarm."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.catalog.completeness import Completeness
from cohortlake.core.completeness.judge import expected_share, least_share
from cohortlake.core.completeness.kept import newest, read_kept
from cohortlake.core.completeness.lineage import source_of
from cohortlake.core.completeness.profile import profile_resources, profile_table
from cohortlake.core.errors import GateFailedError
from cohortlake.core.lake import Lake
from tests.completeness_lake import deliver, encounter, order

SILO = "site_a_fhir_r4"
CLASS = "Encounter.class.code"
ORDERED = source_of(load_catalog(), "medications", "ordered_at").name


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def declared(catalog: Catalog, **elements: Completeness) -> Catalog:
    """The catalog with floors or gaps of the silo: `Encounter__class` is Encounter.class."""
    wanted = {name.replace("__", "."): one for name, one in elements.items()}
    silo = catalog.silos[SILO].model_copy(update={"completeness": wanted})
    return replace(catalog, silos={**catalog.silos, SILO: silo})


def findings(found) -> dict[str, tuple[str, str]]:
    return {one.cell.name: (one.finding, one.severity) for one in found.judged if one.finding}


def shares(*per_run: int) -> list[list[dict]]:
    """Encounters of so many deliveries of 200, so many percent of which have a class."""
    return [[encounter(n, "AMB" if n < 2 * share else None) for n in range(200)] for share in per_run]


def test_all_class_codes_gone_stops_the_silo_by_name(tmp_path, catalog):
    gone = deliver(tmp_path, catalog, SILO, 1, Encounter=[encounter(n, None) for n in range(200)])
    assert findings(gone)[CLASS] == ("empty", "fail")
    check = next(check for check in gone.checks() if check.element.startswith(CLASS))
    assert (check.name, check.severity) == (f"{CLASS} is complete enough", "fail")
    assert "type2_diabetes (outcome)" in check.reason
    assert gone.facts()[check.element] == 0


def test_a_reason_is_counted_apart_and_satisfies_nothing(tmp_path, catalog):
    rows = [encounter(n, None, why="masked" if n % 2 else "unknown") for n in range(200)]
    found = deliver(tmp_path, catalog, SILO, 1, Encounter=rows)
    cell = next(one.cell for one in found.judged if one.cell.name == "Encounter.class")
    assert (cell.present, cell.absent, cell.nulls) == (0, {"masked": 100, "unknown": 100}, 0)
    assert findings(found)[CLASS] == ("empty", "fail")


def test_a_reason_of_the_senders_own_is_not_shown(tmp_path, catalog):
    rows = [encounter(n, None, why="zqMrSmith") for n in range(30)]
    found = deliver(tmp_path, catalog, SILO, 1, Encounter=rows)
    assert next(one.cell for one in found.judged if one.cell.name == "Encounter.class").absent == {"other": 30}


def test_most_of_a_needed_column_gone_is_a_collapse(tmp_path, catalog):
    for number in range(3):
        whole = deliver(tmp_path, catalog, SILO, number, MedicationRequest=[order(n) for n in range(200)])
        assert ORDERED not in findings(whole)
    rows = [order(n, "2025-01-01" if n < 80 else None) for n in range(200)]
    assert findings(deliver(tmp_path, catalog, SILO, 9, MedicationRequest=rows))[ORDERED] == ("collapsed", "fail")


def test_codes_in_another_system_are_present_and_not_known(tmp_path, catalog):
    rows = [encounter(n, "1", "urn:oid:1.2.3") for n in range(100)]
    found = deliver(tmp_path, catalog, SILO, 1, Encounter=rows)
    cell = next(one.cell for one in found.judged if one.cell.name == CLASS)
    assert (cell.present, cell.coded, cell.mapped, cell.mapped_percent) == (100, 100, 0, 0)
    assert findings(found)[CLASS] == ("empty", "fail")


def test_a_slow_decay_is_seen(tmp_path, catalog):
    seen = []
    for number, rows in enumerate(shares(98, 97, 95, 93, 91, 89, 87, 85, 83, 80, 77, 74, 71)):
        seen.append(findings(deliver(tmp_path, catalog, SILO, number, Encounter=rows)).get(CLASS))
    assert seen[0] is None
    assert seen[-1] == ("collapsed", "fail")


def test_a_stopped_delivery_is_no_measure_for_the_next(tmp_path, catalog):
    deliver(tmp_path, catalog, SILO, 1, Encounter=shares(100)[0])
    hollow = deliver(tmp_path / "other", catalog, SILO, 1, Encounter=shares(30)[0])
    for number in range(2, 9):
        stopped = replace(hollow, lake=Lake(tmp_path), batch=f"b{number}")
        with pytest.raises(GateFailedError), stopped.kept():
            raise GateFailedError("stopped")
    assert findings(deliver(tmp_path, catalog, SILO, 9, Encounter=shares(30)[0]))[CLASS] == ("collapsed", "fail")


@pytest.mark.parametrize("rows", [1, 5, 19])
def test_a_small_sample_does_not_alarm(tmp_path, catalog, rows):
    deliver(tmp_path, catalog, SILO, 1, Encounter=shares(100)[0])
    found = deliver(tmp_path, catalog, SILO, 2, Encounter=[encounter(n, None) for n in range(rows)])
    assert not findings(found)
    assert not [check for check in found.checks() if check.table == "Encounter"]


def test_what_chance_explains_does_not_alarm(tmp_path, catalog):
    for number, share in enumerate((90, 92, 88, 91, 86)):
        found = deliver(tmp_path, catalog, SILO, number, Encounter=shares(share)[0][:])
        assert CLASS not in findings(found)
    few = [encounter(n, "AMB" if n < 22 else None) for n in range(30)]
    assert CLASS not in findings(deliver(tmp_path, catalog, SILO, 7, Encounter=few))


def test_an_unneeded_column_that_collapses_is_warned_of(tmp_path, catalog):
    deliver(tmp_path, catalog, SILO, 1, Encounter=shares(100)[0])
    rows = [{**encounter(n), "status": None} for n in range(200)]
    assert findings(deliver(tmp_path, catalog, SILO, 2, Encounter=rows))["Encounter.status"] == ("empty", "warn")


def test_a_declared_floor_has_its_severity(tmp_path, catalog):
    floors = declared(catalog, Encounter__status=Completeness(floor_percent=95, severity="fail"))
    rows = [{**encounter(n), "status": None if n < 20 else "finished"} for n in range(200)]
    assert findings(deliver(tmp_path, floors, SILO, 1, Encounter=rows)) == {
        "Encounter.status": ("below its floor", "fail")
    }


def test_what_a_silos_mapping_never_fills_does_not_stop_it(tmp_path, catalog):
    mapping = catalog.mappings["site_b_csv"]["Encounter"]
    without = {name: value for name, value in mapping.elements.items() if name != "class"}
    mapped = {**catalog.mappings["site_b_csv"], "Encounter": mapping.model_copy(update={"elements": without})}
    plain = replace(catalog, mappings={**catalog.mappings, "site_b_csv": mapped})
    rows = [encounter(n, None) for n in range(200)]
    assert findings(deliver(tmp_path / "1", catalog, "site_b_csv", 1, Encounter=rows))[CLASS] == ("empty", "fail")
    assert findings(deliver(tmp_path / "2", plain, "site_b_csv", 1, Encounter=rows))[CLASS] == ("empty", "warn")


def test_a_known_gap_is_counted_and_stops_nothing(tmp_path, catalog):
    gap = declared(catalog, Encounter__class=Completeness(known_gap="the sender has none"))
    found = deliver(tmp_path, gap, SILO, 1, Encounter=[encounter(n, None) for n in range(200)])
    assert findings(found) == {"Encounter.class": ("known gap", "warn"), CLASS: ("known gap", "warn")}
    [check] = [check for check in found.checks() if check.element.startswith(CLASS)]
    assert (check.severity, check.rule.minimum) == ("warn", 0.001)
    assert check.reason.endswith("known gap: the sender has none")


def test_a_gap_that_is_closed_is_told(tmp_path, catalog):
    gap = declared(catalog, Encounter__class=Completeness(known_gap="the sender has none"))
    found = deliver(tmp_path, gap, SILO, 1, Encounter=shares(100)[0])
    assert findings(found) == {"Encounter.class": ("gap is closed", "warn")}


def test_a_delivery_gated_again_is_kept_once(tmp_path, catalog):
    for share in (40, 100):
        deliver(tmp_path, catalog, SILO, 1, Encounter=shares(share)[0])
    kept = [one for one in read_kept(Lake(tmp_path)) if one.judged.cell.name == CLASS]
    assert [one.judged.cell.present for one in kept] == [200]
    assert newest(kept) == kept


def recount(path, column: str) -> dict[str, tuple[int, int]]:
    """Rows and values of a column by silo, counted without DuckDB."""
    counts: dict[str, tuple[int, int]] = {}
    for row in pq.read_table(path).to_pylist():
        rows, present = counts.get(row["silo"], (0, 0))
        counts[row["silo"]] = rows + 1, present + (row[column] not in (None, ""))
    return counts


def test_a_fabricated_profile_is_found_by_a_recount(tmp_path, catalog):
    rows = [
        {"encounter_key": f"{n}", "silo": "a" if n % 3 else "b", "class_code": "AMB" if n % 3 == 1 else None}
        for n in range(90)
    ]
    path = tmp_path / "encounters.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    cells = profile_table(duckdb.connect(), catalog, "encounters", f"read_parquet('{path}')")
    counted = {cell.silo: (cell.rows, cell.present) for cell in cells if cell.column == "class_code"}
    assert counted == recount(path, "class_code") == {"a": (60, 30), "b": (30, 0)}
    fabricated = {silo: (rows, rows) for silo, (rows, _) in counted.items()}
    assert fabricated != recount(path, "class_code")


def test_a_code_that_says_unknown_is_no_value_in_gold(tmp_path, catalog):
    null_flavor = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
    rows = [
        {"patient_key": "1", "silo": "a", "race_code": "UNK", "race_system": null_flavor, "race_display": "Unknown"},
        {"patient_key": "2", "silo": "a", "race_code": "2106-3", "race_system": "urn:oid:2", "race_display": "White"},
    ]
    path = tmp_path / "patients.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    cells = {cell.column: cell for cell in profile_table(duckdb.connect(), catalog, "patients", f"'{path}'")}
    assert (cells["race_code"].present, cells["race_code"].absent) == (1, {"unknown": 1})
    assert cells["race_display"].absent == {"unknown": 1}


@pytest.mark.parametrize(
    ("coding", "present", "absent"),
    [
        ([{"system": "urn:x", "code": "1"}], 1, {}),
        ([{"system": "urn:x", "code": " "}], 0, {}),
        ([{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "masked"}], 0, {"masked": 1}),
        ([{"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "TRC"}], 1, {}),
        ([], 0, {}),
        (None, 0, {}),
    ],
)
def test_a_concept_is_present_by_its_codings(tmp_path, catalog, coding, present, absent):
    kind = pa.struct([("coding", pa.list_(pa.struct([("system", pa.string()), ("code", pa.string())])))])
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"code": pa.array([{"coding": coding}], kind)}), path)
    cells = profile_resources(duckdb.connect(), "silver", catalog.resources["Condition"], f"'{path}'", "'a'")
    assert [(cell.present, cell.absent) for cell in cells] == [(present, absent)]


def test_an_extension_alone_is_no_value(tmp_path, catalog):
    inner = pa.struct([("url", pa.string()), ("valueCode", pa.string())])
    kind = pa.struct([("start", pa.string()), ("extension", pa.list_(inner))])
    rows = pa.array(
        [
            {
                "start": None,
                "extension": [
                    {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "not-asked"}
                ],
            }
        ],
        kind,
    )
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"period": rows}), path)
    [cell] = profile_resources(duckdb.connect(), "silver", catalog.resources["Encounter"], f"'{path}'", "'a'")
    assert (cell.present, cell.absent) == (0, {"not-asked": 1})


def test_why_a_value_is_absent_stands_beside_it_in_an_observation(tmp_path, catalog):
    concept = pa.struct([("coding", pa.list_(pa.struct([("system", pa.string()), ("code", pa.string())])))])
    why = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"}]}
    table = pa.table(
        {"valueString": pa.array(["a", None, None]), "dataAbsentReason": pa.array([None, why, None], concept)}
    )
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    cells = profile_resources(duckdb.connect(), "silver", catalog.resources["Observation"], f"'{path}'", "'a'")
    value = next(cell for cell in cells if cell.column == "value[x]")
    assert (value.present, value.absent, value.nulls) == (1, {"error": 1}, 1)


def test_what_earlier_runs_let_expect():
    assert expected_share([]) is None
    assert expected_share([100, 20]) == 60
    assert expected_share([100, 100, 100, 0, 100, 100]) == 100
    assert expected_share([90] * 5 + [50] * 20) == 90
    assert least_share(10_000, 100) == pytest.approx(89.1, abs=0.2)
    assert least_share(20, 100) == pytest.approx(65, abs=5)
    assert least_share(50, 4) == 0


@pytest.mark.parametrize(
    ("column", "name", "system"),
    [
        ("encounters.started_at", "Encounter.period.start", None),
        ("conditions.condition_code", "Condition.code.coding.code", "http://snomed.info/sct"),
        ("laboratory_results.laboratory_code", "Observation.code.coding.code", "http://loinc.org"),
        ("utilisation.emergency_count", None, None),
        ("patients.birth_date", "Patient.birthDate", None),
    ],
)
def test_a_column_of_gold_is_followed_to_its_element(catalog, column, name, system):
    source = source_of(catalog, *column.split("."))
    assert (source and source.name, source and source.system) == (name, system)


def test_a_column_of_several_elements_is_any_of_them(catalog):
    source = source_of(catalog, "medications", "ordered_at")
    assert source.name.split(" | ")[:2] == [
        "MedicationRequest.authoredOn",
        "dosageInstruction.timing.repeat.boundsPeriod.start",
    ]


def test_one_of_several_elements_is_enough_and_all_gone_stop_the_silo(tmp_path, catalog):
    rows = [{**order(n, None), "dispenseRequest": {"validityPeriod": {"start": "2025-01-01"}}} for n in range(100)]
    several = source_of(catalog, "medications", "ordered_at").name
    assert several not in findings(deliver(tmp_path / "1", catalog, SILO, 1, MedicationRequest=rows))
    gone = deliver(tmp_path / "2", catalog, SILO, 1, MedicationRequest=[order(n, None) for n in range(100)])
    assert findings(gone)[several] == ("empty", "fail")


def test_codes_of_another_system_do_not_tell_a_condition(tmp_path, catalog):
    """Codes in other systems reach gold; a cohort that asks for SNOMED CT does not know them for that."""
    snomed, icd = "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10-cm"
    rows = [{"silo": "a", "condition_code": "1", "condition_system": snomed, "source_code": "1"}]
    rows += [{"silo": "b", "condition_code": "E11.9", "condition_system": icd, "source_code": "E11.9"}]
    path = tmp_path / "conditions.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    cells = profile_table(duckdb.connect(), catalog, "conditions", f"'{path}'")
    known = {cell.silo: (cell.present, cell.coded, cell.known) for cell in cells if cell.column == "condition_code"}
    assert known == {"a": (1, 1, 1), "b": (1, 1, 0)}
