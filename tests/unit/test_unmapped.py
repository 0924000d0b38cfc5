"""Codes that no map knows: kept by batch, once, and listed by the command line."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

import cohortlake.cli.codes
import cohortlake.cli.look  # noqa: F401 (with one command alone, typer takes no name)
from cohortlake.cli import app
from cohortlake.core.lake import Lake
from spark_jobs import delta, unmapped
from spark_jobs.unmapped import Kept


def kept(lake: Lake) -> set[tuple[str, str, str, int]]:
    found = delta.rows(lake.ops("unmapped_codes"))
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
