"""Codes that no map knows: kept by batch, once, and listed by the command line."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

import cohortlake.cli.codes
import cohortlake.cli.look  # noqa: F401 (with one command alone, typer takes no name)
from cohortlake.cli import app
from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from cohortlake.core.terminology.map_systems import map_systems
from spark_jobs import delta, unmapped
from spark_jobs.unmapped import Kept


def kept(lake: Lake) -> set[tuple[str, str, str, int]]:
    found = delta.rows(lake.unmapped_codes)
    rows = [] if found is None else found.to_pylist()
    return {(row["batch"], row["map"], row["code"], row["records"]) for row in rows}


def test_a_batch_writes_its_codes_in_place_of_what_it_wrote(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    unmapped.keep(lake, Kept("site", "site-1", "run-1"), {"race: martian": 2, "system: urn:oid: 1": 1})
    unmapped.keep(lake, Kept("site", "site-2", "run-2"), {"race: venusian": 5})
    unmapped.keep(lake, Kept("site", "site-1", "run-3"), {"race: martian": 3})
    assert kept(lake) == {("site-1", "race", "martian", 3), ("site-2", "race", "venusian", 5)}
    unmapped.keep(lake, Kept("site", "site-1", "run-4"), {})
    assert kept(lake) == {("site-2", "race", "venusian", 5)}


def test_a_lake_without_any_is_asked_all_the_same(tmp_path: Path) -> None:
    unmapped.keep(Lake(tmp_path), Kept("site", "site-1", "run-1"), {})
    assert not kept(Lake(tmp_path))
    said = CliRunner().invoke(app, ["codes", "--lake", str(tmp_path)])
    assert said.exit_code == 0
    assert "0 codes" in said.output


def test_the_command_sums_batches_and_narrows_to_a_silo_and_a_map(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    unmapped.keep(lake, Kept("a", "a-1", "run-1"), {"race: martian": 2, "sex: X": 1})
    unmapped.keep(lake, Kept("a", "a-2", "run-1"), {"race: martian": 3})
    unmapped.keep(lake, Kept("b", "b-1", "run-1"), {"race: martian": 9})
    said = CliRunner().invoke(app, ["codes", "--lake", str(tmp_path), "--silo", "a", "--map", "race"])
    assert [line.split() for line in said.output.splitlines() if "martian" in line] == [["a", "race", "martian", "5"]]
    assert "1 codes that no map knows" in said.output


def test_a_code_stands_in_the_phi_zone_only_and_its_counts_outside(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    unmapped.keep(lake, Kept("a", "a-1", "run-1"), {"race: Ada Lee": 2, "race: x": 3}, {"race": "urn:race"})
    outside = [path for path in (tmp_path / "ops").rglob("*") if path.is_file()]
    assert outside
    assert not [path for path in outside if b"Ada Lee" in path.read_bytes()]
    [count] = delta.rows(lake.ops("unmapped_code_counts")).to_pylist()  # type: ignore[union-attr]
    assert (count["map"], count["code_system"], count["codes"], count["records"]) == ("race", "urn:race", 2, 5)


def test_the_codes_of_an_earlier_lake_move_into_the_phi_zone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    unmapped.keep(lake, Kept("a", "a-1", "run-1"), {"race: martian": 2})
    lake.unmapped_codes.rename(lake.ops("unmapped_codes"))
    unmapped.keep(lake, Kept("b", "b-1", "run-2"), {"race: venusian": 1})
    assert not lake.ops("unmapped_codes").exists()
    assert kept(lake) == {("a-1", "race", "martian", 2), ("b-1", "race", "venusian", 1)}


def test_sql_gives_counts_to_all_and_codes_to_those_who_ask_for_the_phi_zone(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    unmapped.keep(lake, Kept("a", "a-1", "run-1"), {"race: martian": 2}, {"race": "urn:race"})

    def ask(*words: str) -> tuple[int, str]:
        said = CliRunner().invoke(app, ["sql", "--lake", str(tmp_path), "-f", "csv", *words])
        return said.exit_code, said.output + str(said.exception)

    output = str(tmp_path / "counts.csv")
    assert ask("SELECT silo, code_system, codes, records FROM unmapped_code_counts", "-o", output)[0] == 0
    assert Path(output).read_text(encoding="utf-8").splitlines()[1:] == ["a,urn:race,1,2"]
    code, said = ask("SELECT code FROM unmapped_codes", "-o", output)
    assert code != 0
    assert "martian" not in said
    assert ask("--phi", "SELECT code FROM unmapped_codes", "-o", output)[0] == 0
    assert Path(output).read_text(encoding="utf-8").splitlines()[1:] == ["martian"]


def test_the_code_system_of_a_map_is_what_its_declaration_reads() -> None:
    catalog = load_catalog()
    said = map_systems(catalog, "site_c_ccda", ["snomed_class", "code systems", "unit"])
    assert said == {
        "snomed_class": "http://snomed.info/sct", "code systems": None, "unit": "http://unitsofmeasure.org"
    }  # fmt: skip
    label = catalog.concept_maps["site_b_laboratory"].label
    lab = map_systems(catalog, "site_b_hl7v2", [label, "0001"])
    assert lab == {
        label: "urn:cohortlake:hl7v2:facility:SITEB:system:L", "0001": "http://terminology.hl7.org/CodeSystem/v2-0001"
    }  # fmt: skip
    assert map_systems(catalog, "site_b_csv", ["gender"]) == {"gender": "urn:cohortlake:site_b_csv:gender"}
