"""Commits that are rehearsed before they are made: deletion vectors, and that only one writer makes a version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import CommitFailedError
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.errors import CohortlakeError
from cohortlake.core.gold import delta_connection
from spark_jobs import delta
from spark_jobs.delta_commit import TakenError, entry, live_files, put, rehearse
from spark_jobs.delta_vectors import bitmap_array

SCHEMA = pa.schema([("n", pa.int64()), ("silo", pa.string())])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    place = tmp_path / "numbers"
    delta.create(place, SCHEMA, partition_by=["silo"], properties={"delta.enableDeletionVectors": "true"})
    return place


def part(table: Path, numbers: range) -> delta.Part:
    return delta.write_part(table, pa.table({"n": pa.array(numbers, pa.int64())}), {"silo": "a b"})


def by_duckdb(table: Path) -> list[int]:
    return [n for (n,) in delta_connection().sql(f"SELECT n FROM delta_scan('{table}') ORDER BY n").fetchall()]


def by_delta_rs(table: Path) -> list[int]:
    found = QueryBuilder().register("t", DeltaTable(str(table))).execute("SELECT n FROM t ORDER BY n").read_all()
    return pa.table(found)["n"].to_pylist()


@pytest.mark.parametrize("rows", [[0], [4], list(range(5)), list(range(0, 200_000, 2)), [65_535, 65_536, 199_999]])
def test_two_readers_miss_the_rows_that_went(table, rows):
    first = part(table, range(200_000))
    put(table, entry(table, 0, [first], {}, "WRITE", {"batch": "1"}))
    made = entry(table, 1, [part(table, range(-3, 0))], {first.path: np.array(rows)}, "MERGE", {"batch": "2"})
    wanted = [*range(-3, 0), *sorted(set(range(200_000)) - set(rows))]
    with rehearse(table, made) as after:
        assert by_duckdb(after) == wanted
        assert by_duckdb(table) == list(range(200_000)), "nothing is visible yet"
    put(table, made)
    assert by_duckdb(table) == by_delta_rs(table) == wanted
    assert DeltaTable(str(table)).history(1)[0]["batch"] == "2"


def test_a_file_whose_rows_all_go_is_removed(table):
    first = part(table, range(5))
    put(table, entry(table, 0, [first], {}, "WRITE", {}))
    put(table, entry(table, 1, [], {first.path: np.arange(5)}, "MERGE", {}))
    assert live_files(table, 2) == {}
    assert by_duckdb(table) == []


def test_a_checkpoint_stands_for_what_came_before(table):
    first = part(table, range(10))
    put(table, entry(table, 0, [first], {}, "WRITE", {}))
    put(table, entry(table, 1, [], {first.path: np.array([1])}, "MERGE", {}))
    DeltaTable(str(table)).create_checkpoint()
    for path in (table / "_delta_log").glob("*.json"):
        if path.name != f"{2:020}.json":
            path.unlink()
    put(table, entry(table, 2, [], {first.path: np.array([1, 2])}, "MERGE", {}))
    assert by_duckdb(table) == by_delta_rs(table) == [0, *range(3, 10)]


def test_only_one_writer_makes_a_version(table):
    one, other = (entry(table, 0, [part(table, range(n))], {}, "WRITE", {}) for n in (1, 2))
    put(table, one)
    with pytest.raises(TakenError):
        put(table, other)
    assert by_duckdb(table) == [0]
    assert not list((table / "_delta_log").glob(".*")), "nothing is left beside the log"


def test_a_table_with_features_that_are_not_known_is_not_written(table):
    path = table / "_delta_log" / f"{0:020}.json"
    path.write_text(path.read_text().replace('"appendOnly"', '"appendOnly","changeDataFeed"'))
    with pytest.raises(CohortlakeError, match="changeDataFeed"):
        entry(table, 0, [], {}, "WRITE", {})


@given(st.sets(st.integers(0, 2**33), max_size=300))
def test_a_bitmap_holds_its_numbers(numbers):
    """Read back by the letter of the format."""
    data = bitmap_array(np.array(sorted(numbers), dtype=np.uint64))
    assert sorted(numbers) == list(numbers_of(data))


def numbers_of(data: bytes):
    assert int.from_bytes(data[:4], "little") == 1681511377
    count, at = int.from_bytes(data[4:12], "little"), 12
    for _ in range(count):
        upper, start = int.from_bytes(data[at : at + 4], "little"), at + 4
        assert int.from_bytes(data[start : start + 4], "little") == 12346
        groups = int.from_bytes(data[start + 4 : start + 8], "little")
        heads = [data[start + 8 + 4 * n : start + 12 + 4 * n] for n in range(groups)]
        places = start + 8 + 4 * groups
        for n, head in enumerate(heads):
            key, size = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:], "little") + 1
            place = start + int.from_bytes(data[places + 4 * n : places + 4 * n + 4], "little")
            assert size <= 4096
            for number in range(size):
                low = int.from_bytes(data[place + 2 * number : place + 2 * number + 2], "little")
                yield upper << 32 | key << 16 | low
            at = place + 2 * size


def test_parts_are_read_as_they_were_written(table):
    path = table / part(table, range(7)).path
    assert pq.read_table(path, partitioning=None)["n"].to_pylist() == list(range(7))


def test_a_commit_that_is_number_nought_of_its_application_is_made_once(table):
    for _ in range(2):
        delta.commit(table, [part(table, range(3))], application=("loads", 0))
    assert by_duckdb(table) == [0, 1, 2]


def test_a_commit_that_is_tried_again_has_all_its_parts(table, monkeypatch):
    tries = []

    class Contended(DeltaTable):
        def create_write_transaction(self, *given, **named):
            tries.append(1)
            if len(tries) == 1:
                raise CommitFailedError("another was there first")
            super().create_write_transaction(*given, **named)

    monkeypatch.setattr(delta, "DeltaTable", Contended)
    monkeypatch.setattr(delta.time, "sleep", lambda seconds: None)
    delta.commit(table, iter([part(table, range(3))]))
    assert (len(tries), by_duckdb(table)) == (2, [0, 1, 2])
