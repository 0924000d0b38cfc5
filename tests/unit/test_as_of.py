"""Earlier versions: by number, by time, and the clear error where there is none, none yet or none any more."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cohortlake.cli import app, look  # noqa: F401 (it registers `sql`)
from cohortlake.core.errors import UsageError
from cohortlake.core.gold import delta_connection, scan
from cohortlake.core.history import as_of, commits, version_at
from cohortlake.core.lake import Lake
from spark_jobs import delta

NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def retimed(table: Path, version: int, at: datetime.datetime) -> None:
    """Let a commit say that it was made at a time."""
    path = table / f"_delta_log/{version:020}.json"
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] = int(at.timestamp() * 1000)
    path.write_text("".join(f"{json.dumps(action)}\n" for action in actions))


@pytest.fixture
def lake(tmp_path) -> Lake:
    """A curated table that held 1 row on 1 March, 2 on the 2nd, and 3 at noon of the 3rd."""
    lake, schema = Lake(tmp_path), pa.schema([("silo", pa.string())])
    table = lake.gold("visits")
    delta.create(table, schema, privacy={"silo": "open"})
    retimed(table, 0, NOON - datetime.timedelta(days=1))
    for version in (1, 2, 3):
        rows = pa.table({"silo": [f"s{version}"] * version}, schema=schema)
        delta.commit(table, [delta.write_part(table, rows, {})], mode="overwrite")
        retimed(table, version, NOON + datetime.timedelta(days=version - 1))
    return lake


@pytest.mark.parametrize(
    ("asked", "version"),
    [("0", 0), ("2", 2), ("2026-03-01", 1), ("2026-03-03T11:59:59Z", 2), ("2026-03-03T12:00:00", 3),
     ("2026-03-03T12:00:00+01:00", 2), ("2030-01-01", 3)],
)  # fmt: skip
def test_a_version_is_found_by_number_and_by_time(lake, asked, version):
    assert version_at(lake.gold("visits"), as_of(asked)) == version


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("4", "has no version 4"),
        ("2026-02-27", "it begins at 2026-02-28T12:00:00Z"),
        ("soon", "no version and no time"),
    ],
)
def test_what_there_is_not_is_a_clear_error(lake, asked, told):
    with pytest.raises(UsageError, match=told):
        version_at(lake.gold("visits"), as_of(asked))


def test_times_never_go_back_where_a_clock_did(lake):
    retimed(lake.gold("visits"), 3, NOON)
    assert list(commits(lake.gold("visits")).values()) == sorted(commits(lake.gold("visits")).values())
    assert version_at(lake.gold("visits"), as_of("2026-03-02")) == 3


def test_what_was_vacuumed_is_a_clear_error(lake):
    table = lake.gold("visits")
    (path,) = [path for path in table.glob("*.parquet") if len(delta.pq.read_table(path)) == 2]
    path.unlink()
    with pytest.raises(UsageError, match="version 2 of visits can no longer be read: 1 of its 1 files were vacuumed"):
        scan(delta_connection(), table, as_of("2"))


def test_a_log_that_was_folded_begins_at_its_checkpoint(lake):
    table = lake.gold("visits")
    delta.DeltaTable(str(table), version=2).create_checkpoint()
    for version in (0, 1):
        (table / f"_delta_log/{version:020}.json").unlink()
    assert version_at(table, as_of("2026-03-02")) == 2
    assert delta_connection().sql(f"FROM {scan(delta_connection(), table, as_of('2'))}").fetchall() == [("s2",)] * 2
    with pytest.raises(UsageError, match="it begins at 2026-03-02T12:00:00Z"):
        version_at(table, as_of("2026-03-01"))


@pytest.mark.parametrize(("options", "count"), [(["--as-of", "1"], 1), (["--as-of", "2026-03-02"], 2), ([], 3)])
def test_sql_is_asked_as_of(lake, tmp_path, options, count):
    target = tmp_path / "answer.json"
    question = ["sql", "SELECT count(*) AS n FROM visits", "--lake", str(lake.root), "-f", "json", "-o", str(target)]
    answer = CliRunner().invoke(app, [*question, *options])
    assert answer.exit_code == 0, answer.output
    assert json.loads(target.read_text()) == {"n": count}
