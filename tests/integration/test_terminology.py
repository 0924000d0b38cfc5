"""A laboratory that reports in other units and under names of its own: what the gate says of it, and what gold has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import cohortlake.cli.codes
import cohortlake.cli.look  # noqa: F401 (with few commands, typer takes no name)
from cohortlake.cli import app
from cohortlake.core.catalog import PROJECT_CATALOG
from tests import flow

pytestmark = [pytest.mark.spark, pytest.mark.acceptance, pytest.mark.usefixtures("spark")]
SILO = "site_b_hl7v2"
GLUCOSE = "2345-7^Glucose [Mass/volume] in Serum or Plasma^LN"
# OBX-3, OBX-5, OBX-6. 250 mmol/L of glucose cannot be, though 250 mg/dL can.
RESULTS = [
    (GLUCOSE, "5.6", "mmol/L"),
    (GLUCOSE, "250", "mmol/L"),
    (GLUCOSE, "101", "MG/DL"),
    (GLUCOSE, "7", "flasks"),
    ("4548-4^Hemoglobin A1c^LN", "53", "mmol/mol"),
    ("12345-5^Something^LN", "1.2", "G/L"),
]


def feed() -> str:
    """A message of hospital B with the results, a minute apart, under two panels of its own."""
    found = [
        "MSH|^~\\&|LIS|SITEB|HUB|LAKE|20250104093602||ORU^R01^ORU_R01|B1|P|2.5.1|||AL|NE||UNICODE UTF-8",
        "PID|1||p1^^^SITEB^MR||Ito^Ann||19700425|F",
        "PV1|1|O|||||||||||||||||v1^^^SITEB^VN",
    ]
    for number, panel in enumerate(("LAB^Laboratory panel^L", "TOX^Poisons^L"), start=1):
        found.append(f"OBR|{number}|o{number}|f{number}|{panel}|||20250104083602" + "|" * 14 + "20250104093602|||F")
        for minute, (code, value, unit) in enumerate(RESULTS if number == 1 else [], start=10):
            found.append(f"OBX|{minute}|NM|{code}||{value}|{unit}|||||F|||202501040836{minute}")
    return "\r".join(found) + "\r"


def run(lake: Path, folder: Path) -> dict[str, Any]:
    def wanted(step: Any) -> bool:
        return step.stage in ("ingest", "curate") and step.kind != "link"

    return flow.run(lake, folder / "data", wanted, catalog=folder / "catalog")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """The lake, the folder of catalog and data, and the records of the run."""
    folder = tmp_path_factory.mktemp("terminology")
    shutil.copytree(PROJECT_CATALOG, folder / "catalog", ignore=shutil.ignore_patterns("cohorts", "silos"))
    silo = folder / "catalog/silos" / SILO
    shutil.copytree(PROJECT_CATALOG / "silos" / SILO, silo)
    said = (silo / "silo.yaml").read_text(encoding="utf-8")
    before, _, after = said.partition("same_facts:")  # there is no other door here
    (silo / "silo.yaml").write_text(before + "feeds:" + after.partition("\nfeeds:")[2], encoding="utf-8")
    (folder / "data/site_b_hl7v2_feed").mkdir(parents=True)
    (folder / "data/site_b_hl7v2_feed/feed_202501.hl7").write_bytes(feed().encode())
    return folder / "lake", folder, run(folder / "lake", folder)


def test_gold_has_each_result_as_it_came_and_in_the_unit_of_its_code(ran: tuple[Path, Path, dict[str, Any]]) -> None:
    sql = "SELECT laboratory_code, result_value, result_unit, standard_value, standard_unit FROM t ORDER BY observed_at"
    assert flow.query(ran[0], "research/gold/laboratory_results", sql) == [
        ("2345-7", 5.6, "mmol/L", 100.8896, "mg/dL"),
        ("2345-7", 101.0, "MG/DL", 101.0, "mg/dL"),
        ("2345-7", 7.0, "flasks", None, None),
        ("4548-4", 53.0, "mmol/mol", 7.00044, "%"),
        ("12345-5", 1.2, "G/L", None, None),
    ]


def test_the_gate_judges_the_converted_value(ran: tuple[Path, Path, dict[str, Any]]) -> None:
    lake, _, found = ran
    assert flow.reasons(lake)["Observation glucose (2345-7, mg/dL) is possible"] == 1
    assert flow.is_balanced(found)
    checks = {check["name"]: check for check in found[f"gate.{SILO}"]["facts"]["checks"]}
    assert checks["Observation unit is known for its code"]["failed"] == 1


def test_results_have_the_category_of_their_section(ran: tuple[Path, Path, dict[str, Any]]) -> None:
    """The sender has the section in OBR-4, and the status of the report in OBR-24."""
    sql = "SELECT DISTINCT status, category[1].coding[1].code, issued FROM t"
    found = flow.query(ran[0], "phi/silver/DiagnosticReport", sql + " ORDER BY ALL")
    assert {row[:2] for row in found} == {("final", "LAB"), ("final", "TOX")}
    assert all(row[2].startswith("2025-01-04T09:36:02") for row in found)


def reports(lake: Path) -> dict[str, list[tuple[str, str | None]]]:
    """The codings of the reports by their first code: each one's code, and the map that made it."""
    found = {}
    sql = "SELECT code.coding[1].code, code.coding, _rest FROM t ORDER BY 1"
    for name, typed, rest in flow.query(lake, "phi/silver/DiagnosticReport", sql):
        codings = json.loads(rest)["code"]["coding"] if rest and '"code":{' in rest else typed
        made = [(one["code"], (one.get("extension") or [{}])[0].get("valueCanonical")) for one in codings]
        assert [code for code, _ in made] == [one["code"] for one in typed]
        found[name] = made
    return found


def listed(lake: Path, folder: Path) -> str:
    said = CliRunner().invoke(app, ["codes", "--lake", str(lake), "--catalog", str(folder / "catalog")])
    assert said.exit_code == 0, said.output
    return " ".join(said.output.split())


def test_local_codes_are_mapped_and_a_new_version_of_the_map_takes_hold_when_it_is_asked_for(
    ran: tuple[Path, Path, dict[str, Any]],
) -> None:
    lake, folder, found = ran
    first = "urn:cohortlake:conceptmap:site-b-laboratory|1.0.0"
    assert reports(lake) == {"LAB": [("LAB", None), ("26436-6", first)], "TOX": [("TOX", None)]}
    facts = found[f"standardise.{SILO}"]["facts"]
    assert facts["mapped"] == {"site_b_laboratory 1.0.0": 2}  # the report, and the order
    # Two units that nothing reads, and no word of them outside the phi zone.
    assert (facts["unmapped"]["unit"], facts["unmapped_codes"]["unit"]) == (2, 2)
    said = listed(lake, folder)
    assert f"{SILO} site_b_laboratory 1.0.0 TOX 2" in said
    assert f"{SILO} unit flasks (2345-7) 1" in said
    assert f"{SILO} site_b_laboratory 1.0.0 2" in said

    path = folder / "catalog/conceptmaps/site_b_laboratory.yaml"
    mended = path.read_text(encoding="utf-8").replace("version: 1.0.0", "version: 1.1.0")
    path.write_text(mended + "      TOX: { code: 18725-2, equivalence: wider }\n", encoding="utf-8")
    run(lake, folder)
    assert reports(lake)["TOX"] == [("TOX", None)]
    assert f"not the declared one: cohortlake restandardise {SILO}" in listed(lake, folder)

    before = flow.content(lake)
    asked = CliRunner().invoke(app, ["restandardise", SILO, "--lake", str(lake)])
    assert asked.exit_code == 0, asked.output
    again = run(lake, folder)
    assert flow.is_balanced(again)
    second = first.replace("1.0.0", "1.1.0")
    expected = {"LAB": [("LAB", None), ("26436-6", second)], "TOX": [("TOX", None), ("18725-2", second)]}
    assert reports(lake) == expected
    after = flow.content(lake)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"DiagnosticReport", "ServiceRequest"}
    assert {name: rows for name, (rows, _) in before.items()} == {name: rows for name, (rows, _) in after.items()}
    said = listed(lake, folder)
    assert f"{SILO} site_b_laboratory 1.1.0 4" in said
    assert "TOX" not in said
    assert "declared" not in said
    assert flow.reasons(lake)["Observation glucose (2345-7, mg/dL) is possible"] == 1
    assert not [record for record in run(lake, folder).values() if record["facts"].get("mapped")]


def test_nothing_published_cannot_be_made_anew(tmp_path: Path) -> None:
    asked = CliRunner().invoke(app, ["restandardise", "nobody", "--lake", str(tmp_path)])
    assert asked.exit_code != 0
