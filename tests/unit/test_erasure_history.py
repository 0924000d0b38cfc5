"""Rows taken out of every version: versions, times and all other rows stay; killed anywhere, it ends well."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from cohortlake.core.gold import delta_connection
from cohortlake.core.history import commits
from spark_jobs import delta, delta_history
from spark_jobs.delta_history import Gone, data_files, purge

SCHEMA = pa.schema([("id", pa.string()), ("payload", pa.string()), ("file_hash", pa.string())])
ANN, BOB = {"id": "ann", "payload": "Ann", "file_hash": "f1"}, {"id": "bob", "payload": "Bob", "file_hash": "f1"}
BOTH, ALONE = [ANN, BOB], [{**ANN, "payload": "Ann again", "file_hash": "f2"}]


def part(table: Path, rows: list[dict[str, str]]) -> delta.Part:
    made = delta.write_part(table, pa.Table.from_pylist(rows, schema=SCHEMA), {})
    least = {name: min(row[name] for row in rows) for name in ("id", "file_hash")}
    most = {name: max(row[name] for row in rows) for name in ("id", "file_hash")}
    return delta.Part(made.path, made.rows, made.bytes, {}, least, most)


@pytest.fixture
def table(tmp_path) -> Path:
    """Version 1: Ann and Bob; 2: Ann again, alone in a file; 3: only Bob."""
    table = tmp_path / "people"
    delta.create(table, SCHEMA)
    delta.commit(table, [part(table, BOTH)])
    delta.commit(table, [part(table, ALONE)])
    delta.commit(table, [part(table, [{**BOB, "file_hash": "f3"}])], mode="overwrite", facts={"batch": "third"})
    delta.write_part(table, pa.Table.from_pylist(ALONE, schema=SCHEMA), {})  # what a killed run left
    return table


def anns(table: Path) -> Gone:
    gone = Gone()
    for name in data_files(table):
        rows = [n for n, row in enumerate(pq.read_table(table / name).to_pylist()) if row["id"] == "ann"]
        gone.rows |= {name: rows} if rows else {}
    return gone


def at(table: Path, version: int) -> list[str]:
    return sorted(row for (row,) in delta_connection().sql(
        f"SELECT payload FROM delta_scan('{table}', version={version})").fetchall())  # fmt: skip


def whole(table: Path) -> bytes:
    """Every byte of the log, and every value of the data."""
    log = b"".join(path.read_bytes() for path in sorted((table / "_delta_log").glob("*.json")))
    rows = [pq.read_table(path).to_pylist() for path in sorted(table.glob("*.parquet"))]
    return log + json.dumps(rows).encode()


def test_every_version_answers_as_before_without_them(table):
    before = commits(table)
    assert b"ann" in whole(table)
    assert b"Ann" in whole(table)
    assert [at(table, version) for version in range(4)] == [[], ["Ann", "Bob"], ["Ann", "Ann again", "Bob"], ["Bob"]]
    purge(table, anns(table), facts={"erasure": "e1"}, keeps=["file_hash"])
    assert [at(table, version) for version in range(5)] == [[], ["Bob"], ["Bob"], ["Bob"], ["Bob"]]
    assert b"ann" not in whole(table)
    assert b"Ann" not in whole(table)
    assert {version: commits(table)[version] for version in before} == before
    history = DeltaTable(str(table)).history()
    assert (history[0]["operation"], history[0]["erasure"], history[1]["batch"]) == ("ERASE", "e1", "third")
    assert len(list(table.glob("*.parquet"))) == 3  # none that no version names


def test_what_was_one_value_in_a_file_is_still_told_where_it_may(table):
    purge(table, anns(table), facts={}, keeps=["file_hash"])
    actions = pa.table(DeltaTable(str(table), version=2).get_add_actions(flatten=True)).to_pylist()
    told = {row["min.file_hash"]: (row["num_records"], row["min.id"]) for row in actions}
    assert told == {"f1": (1, None), "f2": (0, "(erased)")}


def test_done_again_it_does_nothing(table):
    gone = anns(table)
    purge(table, gone, facts={})
    once = whole(table)
    purge(table, gone, facts={})
    assert whole(table) == once
    assert not anns(table)


def test_checkpoints_are_made_anew(table):
    DeltaTable(str(table)).create_checkpoint()
    purge(table, anns(table), facts={})
    (folded,) = (table / "_delta_log").glob("*.checkpoint.parquet")
    assert folded.name.startswith(f"{4:020}")
    assert "ann" not in json.dumps(pq.read_table(folded).to_pylist(), default=str)


def test_a_log_that_begins_with_a_checkpoint(table):
    DeltaTable(str(table), version=2).create_checkpoint()
    for version in (0, 1, 2):
        (table / f"_delta_log/{version:020}.json").unlink()
    purge(table, anns(table), facts={})
    assert [at(table, version) for version in (2, 3, 4)] == [["Bob"], ["Bob"], ["Bob"]]
    held = [pq.read_table(path).to_pylist() for path in (table / "_delta_log").glob("*.parquet")]
    assert "ann" not in json.dumps(held, default=str) + whole(table).decode()


class KilledError(Exception):
    """The process is gone."""


@pytest.mark.parametrize("step", range(1, 6))
def test_killed_anywhere_it_ends_the_same(table, monkeypatch, step):
    """Each step that changes the disk in turn is the first that does not happen."""
    gone, done = anns(table), 0

    def killing(original):
        def called(*args, **options):
            nonlocal done
            done += 1
            if done == step:
                raise KilledError
            return original(*args, **options)

        return called

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killing(Path.rename))
        patch.setattr(delta_history, "_rewrite", killing(delta_history._rewrite))
        with pytest.raises(KilledError):
            purge(table, gone, facts={"erasure": "e1"})
    assert delta_history.tables(table.parent) == [table]
    purge(table, gone, facts={"erasure": "e1"})
    assert [at(table, version) for version in range(5)] == [[], ["Bob"], ["Bob"], ["Bob"], ["Bob"]]
    assert b"Ann" not in whole(table)
    assert [path.name for path in table.glob("_delta*")] == ["_delta_log"]


def test_a_payload_is_changed_in_its_place(table):
    (name,) = [name for name in data_files(table) if pq.read_metadata(table / name).num_rows == 2]
    purge(table, Gone(changed={name: {0: {"payload": "nobody"}}}), facts={})
    assert at(table, 1) == ["Bob", "nobody"]


def test_files_that_delta_rs_wrote_again_are_read(tmp_path):
    """Their schema says string views, also in lists."""
    table, schema = tmp_path / "held", pa.schema([("id", pa.string()), ("reasons", pa.list_(pa.string()))])
    live = delta.create(table, schema)
    for reason in ("first", "second"):
        rows = pa.table({"id": ["ann", "bob"], "reasons": [[reason], [reason]]}, schema=schema)
        merging = live.merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
        merging.when_matched_update_all().when_not_matched_insert_all().execute()
    purge(table, anns(table), facts={})
    assert [row["id"] for name in data_files(table) for row in pq.read_table(table / name).to_pylist()] == [
        "bob",
        "bob",
    ]
