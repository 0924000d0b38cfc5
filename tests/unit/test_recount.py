"""The recount sees a row that is dropped, doubled or altered, at every boundary that needs no engine to be tried."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.gold import delta_connection
from cohortlake.core.recount import publish
from cohortlake.core.recount.cohort import recount_cohort
from cohortlake.core.recount.gate import recount_gate
from cohortlake.core.recount.land import recount_landed
from cohortlake.core.recount.places import Places
from cohortlake.core.recount.resources import compare_json
from cohortlake.core.recount.source import pieces
from cohortlake.core.recount.tables import recount_parsed
from spark_jobs import delta, merge
from spark_jobs.context import Book
from spark_jobs.delta_commit import entry, put, rehearse
from spark_jobs.fhir_types import part_schema
from spark_jobs.staged import Staged

HOW = ("drop", "duplicate", "alter")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("value", pa.string()),
        ("_version", pa.string()),
        ("_file_hash", pa.string()),
        ("_offset", pa.int64()),
        ("silo", pa.string()),
    ]
)
NONE = pa.table({"id": pa.array([], pa.string()), "_version": pa.array([], pa.string())})


def spoiled(rows: pa.Table, how: str | None, column: str) -> pa.Table:
    if how == "drop":
        return rows.slice(1)
    if how == "duplicate":
        return pa.concat_tables([rows, rows.slice(0, 1)])
    if how == "alter":
        values = [f"{rows[column][0].as_py()}~", *rows[column].to_pylist()[1:]]
        return rows.set_column(rows.column_names.index(column), column, pa.array(values, pa.string()))
    return rows


@pytest.mark.parametrize("how", [None, *HOW])
def test_fhir_against_silver(how):
    tree = resource_tree("Patient", ["id", "gender", "birthDate", "name"])
    texts = [f'{{"resourceType":"Patient","id":"{n}","gender":"male","extension":[{{"url":"u"}}]}}' for n in range(3)]
    blank: dict[str, Any] = dict.fromkeys(part_schema(tree).names)
    made = [
        {
            **blank,
            "id": str(n),
            "gender": "male",
            "_rest": '{"extension":[{"url":"u"}]}',
            "_file_hash": "f",
            "_offset": n,
        }
        for n in range(3)
    ]
    connection = duckdb.connect()
    connection.register("records", pa.table({"file_hash": ["f"] * 3, "offset": [0, 1, 2], "payload": texts}))
    connection.register("rows", spoiled(pa.Table.from_pylist(made, part_schema(tree)), how, "gender"))
    connection.execute('CREATE TABLE refused (file_hash VARCHAR, "offset" BIGINT, id VARCHAR)')
    found = compare_json(connection, tree, "urn:added")
    assert (found.must == found.does) is (how is None)
    assert found.records == 3


@pytest.mark.parametrize("how", [None, *HOW])
@pytest.mark.parametrize(
    ("form", "content", "records"),
    [
        ("fhir_ndjson", b'{"a":1}\r\n\n{"b":2}\n{"c":3}', [(0, b'{"a":1}'), (10, b'{"b":2}'), (18, b'{"c":3}')]),
        ("csv", b'x,y\n1,"a\nb"\n2,c\n', [(4, b'1,"a\nb"'), (12, b"2,c")]),
        ("hl7v2", b"BHS|^\rMSH|1\rPID|1\r\rMSH|2\rPID|2\rBTS|2\r", [(6, b"MSH|1\rPID|1"), (19, b"MSH|2\rPID|2")]),
        ("cpcds", b"id,n\n1,a\n2,b\n1,c\n", [(5, b"id,n\n1,a\n1,c"), (9, b"id,n\n2,b")]),
    ],
)
def test_a_source_against_bronze(how, form, content, records, tmp_path):
    (tmp_path / "file").write_bytes(content)
    rows = pa.table(
        {
            "offset": [place for place, _ in records],
            "payload": [payload.decode() for _, payload in records],
            "encoding": pa.nulls(len(records), pa.string()),
        }
    )
    pq.write_table(spoiled(rows, how, "payload"), tmp_path / "part")
    found = recount_landed(tmp_path / "file", form, [tmp_path / "part"], None, None, None)
    assert (found.must == found.does) is (not found.problems) is (how is None)


@pytest.mark.parametrize(("kept", "erased", "problems"), [([0], 1, 0), ([0], 0, 1), ([0, 8], 0, 0), ([], 1, 1)])
def test_a_record_that_is_held_without_its_payload_is_not_lost(kept, erased, problems, tmp_path):
    """Of three records one is an erased person's and others', so its words are kept nowhere."""
    lines = {0: b'{"a":1}', 8: b'{"b":2}', 16: b'{"c":3}'}
    (tmp_path / "file").write_bytes(b"\n".join(lines.values()))
    texts = [lines[place].decode() for place in kept]
    nulls = pa.nulls(len(kept), pa.string())
    pq.write_table(pa.table({"offset": kept, "payload": texts, "encoding": nulls}), tmp_path / "part")
    withheld = {"offset": [16], "reason": ["shared"], "payload": pa.nulls(1, pa.binary())}
    pq.write_table(pa.table(withheld), tmp_path / "rejects")
    found = recount_landed(tmp_path / "file", "fhir_ndjson", [tmp_path / "part"], tmp_path / "rejects", None, erased)
    assert (len(found.problems), found.held, found.records) == (problems, 1, 3)


def test_lines_of_a_range_are_those_that_begin_in_it(tmp_path):
    lines = [b"%d" % n * (n % 7 + 1) for n in range(1, 200)]
    (tmp_path / "file").write_bytes(b"\n".join(lines))
    whole = list(pieces(tmp_path / "file", "fhir_ndjson"))
    size = (tmp_path / "file").stat().st_size
    cuts = [0, 1, 50, 51, 52, 300, size]
    parts = [list(pieces(tmp_path / "file", "fhir_ndjson", a, b)) for a, b in pairwise(cuts)]
    assert [one for part in parts for one in part] == whole
    assert [line for _, line in whole] == lines


@pytest.mark.parametrize("column", ["x", "_file"])
@pytest.mark.parametrize("how", [None, *HOW])
def test_parsed_rows_against_records(how, column):
    records = pa.table(
        {"file": ["x.csv"] * 3, "file_hash": ["f"] * 3, "offset": [0, 9, 20], "header": ["x,y"] * 3}
        | {"payload": ['1,"a,\nb"', "2,", "3,NA"]}
    )
    place = {"_file": ["x.csv"] * 2, "_file_hash": ["f"] * 2, "_offset": [0, 9]}
    parsed = pa.table({"x": ["1", "2"], "y": ["a,\nb", None], **place})
    connection = duckdb.connect()
    connection.register("parsed", spoiled(parsed, how, column))
    connection.register("rejected", pa.table({"_file_hash": ["f"], "_offset": [20]}))
    must, does, rejected = recount_parsed(connection, records, ["x", "y"], ["NA"])
    assert (must == does) is (how is None)
    assert rejected == 1


class Table:
    """A table of silver with four rows of one silo, the last of them twice as old as the batch that comes."""

    def __init__(self, folder: Path) -> None:
        self.path, self.duckdb = folder / "silver", delta_connection()
        delta.create(
            self.path, SCHEMA, partition_by=["silo"], properties={"delta.enableDeletionVectors": "true"}
        )  # fmt: skip
        put(self.path, entry(self.path, 0, [self.part(["a", "b", "c", "d"], "5", "f0")], {}, "WRITE", {}))

    def rows(self, ids: list[str], version: str, file: str) -> pa.Table:
        size = len(ids)
        columns = {"id": ids, "value": [f"{file}{n}" for n in range(size)], "_version": [version] * size}
        return pa.table({**columns, "_file_hash": [file] * size, "_offset": list(range(size))}, SCHEMA.remove(5))

    def part(self, ids: list[str], version: str, file: str) -> delta.Part:
        return delta.write_part(self.path, self.rows(ids, version, file), {"silo": "s"})

    def target(self) -> merge.Target:
        return merge.Target(self.path, "s", delta.version(self.path), self.duckdb.cursor())

    def recount(self, staged: list[delta.Part], change: merge.Change, tombs: pa.Table) -> publish.Found:
        target = self.target()
        made = merge.to_entry(target, change, {"batch": "b"})
        waiting = publish.Staged([self.path / part.path for part in staged], {}, None, tombs)
        with rehearse(self.path, made) as after:
            log = publish.Log(self.path, target.version, after, [self.path / path for path in made.added])
            return publish.recount_publish(self.duckdb.cursor(), "s", waiting, log)


@pytest.mark.parametrize("how", [None, *HOW])
def test_a_merge_against_what_it_must_change(how, tmp_path):
    table = Table(tmp_path)
    staged = [table.part(["a", "x", "y", "z"], "7", "f1"), table.part(["b", "c", "x"], "4", "f2")]
    tombs = pa.table({"id": ["y"], "_version": ["9"]})
    change = merge.merged(table.target(), Staged("t", staged, 7), None, tombs, is_again=False)
    written = pq.read_table(table.path / change.parts[0].path, partitioning=None)
    change.parts = [delta.write_part(table.path, spoiled(written, how, "value"), {"silo": "s"})]
    found = table.recount(staged, change, tombs)
    assert (found.passed, found.superseded, found.deleted, found.must.rows) == (7, 3, 1, 3)
    assert (found.must == found.does) is (how is None)


@pytest.mark.parametrize("gone", [[], [0, 1], [1]])
def test_a_merge_that_takes_out_other_rows_than_it_replaces(gone, tmp_path):
    table = Table(tmp_path)
    staged = [table.part(["a"], "7", "f1")]
    change = merge.merged(table.target(), Staged("t", staged, 1), None, NONE, is_again=False)
    [path] = change.gone
    change.gone = {path: np.array(gone, np.uint64)} if gone else {}
    found = table.recount(staged, change, NONE)
    assert found.must != found.does


@pytest.mark.parametrize("gone", [None, [], [0, 1], [1]])
def test_a_delete_against_what_it_must_take_out(gone, tmp_path):
    table = Table(tmp_path)
    tombs = pa.table({"id": ["a", "b", "never"], "_version": ["9", "1", "9"]})
    change = merge.without(table.target(), tombs)
    if gone is not None:
        change.gone = {path: np.array(gone, np.uint64) for path in change.gone} if gone else {}
    target = table.target()
    made = merge.to_entry(target, change, {"batch": "b"})
    with rehearse(table.path, made) as after:
        log = publish.Log(table.path, target.version, after, [])
        found = publish.recount_delete(table.duckdb.cursor(), "s", tombs, log)
    assert (found.deleted, found.superseded) == (1, 2)
    assert (found.must == found.does) is (gone is None)


@pytest.mark.parametrize("how", [None, *HOW])
def test_refused_rows_against_what_is_staged(how, tmp_path):
    place = {"_file_hash": ["f"] * 3, "_offset": [0, 1, 2], "id": ["a", "b", "c"]}
    pq.write_table(pa.table(place), tmp_path / "staged")
    refused = pa.table({"_file_hash": ["f"], "_offset": [1], "id": ["b"], "checks": [["x is y"]]})
    pq.write_table(spoiled(refused, how, "id"), tmp_path / "refused")
    connection = duckdb.connect()
    held = {"file_hash": ["f"], "offset": [1], "resource_type": ["Patient"], "resource_id": ["b"]}
    connection.register("quarantine", pa.table(held))
    found = recount_gate(connection, "Patient", [tmp_path / "staged"], tmp_path / "refused", {"x is y": 1})
    assert found.is_agreed is (how is None)


@pytest.mark.parametrize("how", [None, *HOW])
def test_a_cohort_against_its_candidates(how, tmp_path):
    candidates = pa.table(
        {"key": ["a", "b", "c", "d"], "in_1": [True, True, False, False], "out_1": [False, True, True, True]}
    )
    given = pa.table({"key": ["a"], "value": ["1"]})
    pq.write_table(spoiled(given, how, "value"), tmp_path / "cohort")
    connection = duckdb.connect()
    connection.register("candidates", candidates)
    connection.register("given", given)
    found = recount_cohort(connection, "c", ["key"], {"in_1": "adult"}, {"out_1": "gone"}, tmp_path / "cohort")
    assert found.classes == {"adult": 2, "gone": 1}
    assert found.is_agreed is (how is None)


def test_a_record_that_nothing_is_told_of_is_missed(tmp_path):
    pq.write_table(pa.table({"file_hash": ["f"] * 3, "offset": [0, 1, 2]}), tmp_path / "bronze")
    places = Places(duckdb.connect(), [tmp_path / "bronze"])
    places.add_rows("out", [{"file_hash": "f", "offset": 0}, {"file_hash": "f", "offset": 0}])
    places.add_rows("held", [{"file_hash": "f", "offset": 1}])
    assert (places.records, places.count("out"), places.count("held")) == (3, 1, 1)
    assert places.must != places.does
    places.add_rows("nothing", [{"file_hash": "f", "offset": 2}])
    assert places.must == places.does


def test_a_book_says_what_is_wrong_with_it():
    assert Book("t", 3, 2, 1).is_balanced
    assert Book("t", 3, 2).trouble == "t: 1 of 3 rows that came in are lost"
    assert Book("t", 3, 4).trouble == "t: 1 rows too many for 3 that came in"
    assert "not with the same content" in Book("t", 3, 3, digest_in="a", digest_out="b").trouble
    assert Book("t", 6, 1, 1, 1, 1, 1, 1).is_balanced
