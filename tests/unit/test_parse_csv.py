"""CSV records as columns: whichever reader takes them, they say the same."""

from __future__ import annotations

import csv
import datetime
import io

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.land_file import SCHEMA
from spark_jobs.parse_csv import fields, parse_part

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=12)
ROWS = st.lists(
    st.lists(st.one_of(TEXT, st.sampled_from(['a"b', "x,y", "two\nlines", "\r", " "])), min_size=2, max_size=2)
)
HEADER = ["A", "B"]


def record(values: list[str]) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="").writerow(values)
    return stream.getvalue()


def rows(columns: list[pa.Array]) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


@given(ROWS.filter(len))
def test_every_value_comes_back_and_an_empty_one_is_null(values):
    columns, wrong = fields([record(row) for row in values], HEADER)
    assert wrong == []
    assert rows(columns) == [tuple(value or None for value in row) for row in values]


@given(ROWS.filter(len))
def test_a_wrong_record_among_others_is_the_only_one_rejected(values):
    payloads = [record(row) for row in values]
    columns, wrong = fields([*payloads, "only one field", "a,b,c", '"never closed,b'], HEADER)
    assert wrong == [len(values), len(values) + 1, len(values) + 2]
    assert rows(columns)[: len(values)] == [tuple(value or None for value in row) for row in values]


def part(folder, payloads: list[str], header: str = "ID,SEX,NOTE") -> dict:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    constant = {"silo": "s", "feed": "people", "file": "p.csv", "file_hash": "h", "header": header, "batch": "b"}
    times = {"file_modified_at": at, "landed_at": at}
    records = [{**constant, **times, "offset": 10 * i, "payload": line} for i, line in enumerate(payloads)]
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), folder / "part.parquet")
    return {"source": str(folder / "part.parquet")} | {kind: str(folder / kind) for kind in ("target", "rejects")}


def test_a_part_becomes_its_good_rows_and_its_rejected_ones_with_every_reason(tmp_path):
    unit = part(tmp_path, ["1,M,", ",X,hi", "3,F", "4,,x"])
    made = parse_part(unit, ["ID", "SEX", "LATER"], ["ID"], {"SEX": ["M", "F"]})
    assert made == {"rows": 2, "rejected": 2, "files": {"h": "p.csv"}}
    good = pq.read_table(unit["target"]).to_pylist()
    assert [(row["ID"], row["SEX"], row["LATER"]) for row in good] == [("1", "M", None), ("4", None, None)]
    assert good[0]["_version"] == "||2026-01-02T03:04:05|h|000000000000000"
    assert [(row["_offset"], row["reasons"]) for row in pq.read_table(unit["rejects"]).to_pylist()] == [
        (10, ["required column: ID is empty", "value set: SEX has another value"]),
        (20, ["fields: the record does not have 3 of them"]),
    ]


def test_texts_that_stand_for_no_value_are_null_whichever_reader_takes_them():
    for payloads in (["1,?", "?,2"], ["1,?", "?,2", "one field"]):
        columns, _ = fields(payloads, HEADER, ["?"])
        assert rows(columns)[:2] == [("1", None), (None, "2")]


def test_records_are_numbered_as_they_stand_in_their_file_also_those_taken_up_again(tmp_path):
    unit = part(tmp_path, ["1,M,a", "2,F,b", "3,M,c", "4,F,d"])
    parse_part(unit, ["ID"], [], {})
    found = pq.read_table(unit["target"])
    assert (found["_row"].to_pylist(), set(found["_file"].to_pylist())) == ([1, 2, 3, 4], {"p.csv"})
    again = tmp_path / "again.parquet"
    pq.write_table(pq.read_table(unit["source"]).take([1, 3]), again)
    parse_part({**unit, "source": str(again), "wholes": [unit["source"]]}, ["ID"], [], {})
    taken = pq.read_table(unit["target"])
    assert dict(zip(taken["ID"].to_pylist(), taken["_row"].to_pylist(), strict=True)) == {"2": 2, "4": 4}
