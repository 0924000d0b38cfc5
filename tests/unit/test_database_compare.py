"""Whoever applies the deliveries holds the table: whatever happened to it, whole or by watermark."""

from __future__ import annotations

import csv
import gzip
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_jobs.database_compare import Comparison

COLUMNS, KEY = ("a", "b", "text"), ("a", "b")
Row = tuple[str | None, str | None, str | None]

values = st.one_of(st.none(), st.text(alphabet="x ,\"\n\r'\\é𝄞", max_size=3).filter(bool))
rows = st.tuples(st.sampled_from(["1", "2"]), st.sampled_from([None, "1", "2"]), values)
tables = st.lists(rows, max_size=6)


def parquet(folder: Path, name: str, table: list[Row], columns: tuple[str, ...]) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    arrays = [pa.array([row[at] for row in table], pa.string()) for at in range(len(columns))]
    pq.write_table(pa.table(arrays, names=list(columns)), folder / name / "0.parquet")
    return folder / name


def lines(path: Path) -> list[tuple[str | None, ...]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return [tuple(value or None for value in row) for row in csv.reader(stream)]


class Replica:
    """Applies deliveries: a changed key's rows replace those that were there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.known, self.held, self.number = folder, None, {}, 0

    def follow(self, table: list[Row], read: list[Row] | None = None, forget: bool = False) -> str | None:
        """Compare and apply; gives why it could not be told from the rows that were `read`."""
        self.number += 1
        work = self.folder / str(self.number)
        present = None if read is None else parquet(work, "present", [row[:2] for row in table], KEY)
        source = parquet(work, "rows", table if read is None else read, COLUMNS)
        comparison = Comparison(source, COLUMNS, KEY, known=self.known, present=present, forget=forget)
        found = comparison.found()
        assert found.known == len(self.held)
        if found.why_whole:
            comparison.close()
            return found.why_whole
        written = comparison.write_rows(work / "rows.csv.gz")
        changed = lines(work / "rows.csv.gz")[1:]
        assert len(changed) == written
        assert len({row[:2] for row in changed}) == found.changed
        for key in {row[:2] for row in changed}:
            self.held[key] = sorted((row for row in changed if row[:2] == key), key=str)
        comparison.write_gone(work / "gone.csv.gz")
        gone = lines(work / "gone.csv.gz")
        assert (gone[0], len(gone) - 1) == (KEY, found.gone)
        for key in gone[1:]:
            del self.held[key]
        self.known = work / "known.parquet"
        comparison.keep(self.known)
        comparison.close()
        return None

    def holds(self, table: list[Row]) -> bool:
        def distinct(found: list[Row]) -> list[Row]:
            return sorted(set(found), key=str)

        return distinct([row for held in self.held.values() for row in held]) == distinct(table)


@settings(max_examples=20)
@given(st.lists(tables, min_size=1, max_size=4), st.booleans())
def test_a_table_that_is_compared_whole(states, forget):
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        for table in states:
            replica.follow(table, forget=forget)
            assert replica.holds(table)
            assert forget or replica.follow(table) is None
            assert replica.holds(table)


@settings(max_examples=30)
@given(tables, tables, st.lists(rows, max_size=4))
def test_a_table_that_is_read_by_its_watermark(before, after, unchanged):
    """What was read holds every changed row, and perhaps others of those that are there."""
    with tempfile.TemporaryDirectory() as folder:
        replica = Replica(Path(folder))
        replica.follow(before)
        read = [row for row in after if row not in before or row in unchanged]
        why = replica.follow(after, read)
        if why:
            replica.follow(after)
        else:
            assert len({row[:2] for row in after}) == len(after)
        assert replica.holds(after)


def test_nothing_changed_is_nothing_written(tmp_path):
    replica = Replica(tmp_path)
    table = [("1", None, "x"), ("1", "1", None)]
    replica.follow(table)
    work = parquet(tmp_path, "again", table, COLUMNS)
    found = Comparison(work, COLUMNS, KEY, known=replica.known).found()
    assert (found.changed, found.gone, found.known) == (0, 0, 2)


@pytest.mark.parametrize(
    ("known", "after", "said"),
    [
        ([("1", "1", "x")], [("1", "1", "x"), ("2", "1", "y")], "1 rows are new though their watermark is old"),
        ([], [("1", "1", "x"), ("1", "1", "y")], "1 keys stand in several rows"),
        ([("1", "1", "x"), ("1", "1", "y")], [("1", "1", "x")], "1 keys stand in several rows"),
    ],
)
def test_what_the_changes_alone_cannot_tell(tmp_path, known, after, said):
    replica = Replica(tmp_path)
    replica.follow(known)
    assert replica.follow(after, read=[]) == said
