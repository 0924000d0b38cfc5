"""A resource of rows of several feeds: whatever the order and the batches in which its rows come, it ends the same."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.catalog import Feed, Mapping
from spark_jobs.join_csv import join

FEEDS = {
    "claims": Feed(columns=["Id", "PAYER"], key=["Id"]),
    "charges": Feed(columns=["ID", "CLAIM", "KIND", "CODE"], key=["ID"]),
    "payers": Feed(columns=["Id", "NAME"], key=["Id"]),
    "gone_claims": Feed(columns=["Id"], deletes="claims"),
    "gone_charges": Feed(columns=["ID"], deletes="charges"),
}
CLAIM = Mapping.model_validate(
    {"name": "Claim", "resource": "Claim", "from": "claims", "id": "'c' || Id", "elements": {}}
    | {
        "children": {
            "lines": {"feed": "charges", "column": "CLAIM", "key": "Id", "where": "KIND = 'x'", "order": ["CODE"]},
            "insurers": {"feed": "payers", "column": "Id", "key": "PAYER", "order": ["Id"]},
        }
    }
)
# What is told, in the order of its time: a feed and its columns' values.
Told = tuple[str, tuple[str | None, ...]]


class Silver:
    """Batches of what is told, joined one after the other, and what is live then by version, as `publish` has it."""

    def __init__(self, folder: Path, told: list[Told]) -> None:
        self.folder, self.told = folder, told
        self.rows: dict[str, tuple[str, Any]] = {}
        self.tombs: dict[str, str] = {}
        self.known: dict[str, list[str]] = {name: [] for name in FEEDS}
        self.numbers = count()

    def _file(self, feed: str, chosen: list[int]) -> str:
        rows = [
            dict(zip(FEEDS[feed].columns, self.told[at][1], strict=True))
            | {"_version": f"{at:04}", "_file_hash": "h", "_offset": at}
            for at in chosen
        ]
        texts = [(name, pa.string()) for name in (*FEEDS[feed].columns, "_version", "_file_hash")]
        path = self.folder / f"{next(self.numbers)}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, pa.schema([*texts, ("_offset", pa.int64())])), path)
        return str(path)

    def take(self, batch: list[int]) -> None:
        """Join a batch: what is told at these times, with all that came before."""
        new = {feed: [at for at in batch if self.told[at][0] == feed] for feed in FEEDS}
        files = {
            feed: {"new": [self._file(feed, chosen)] if chosen else [], "old": list(self.known[feed])}
            for feed, chosen in new.items()
        }
        for feed, found in files.items():
            self.known[feed] += found["new"]
        for at in new["gone_claims"]:
            # A row that is gone is a tombstone by itself, whether its row came or not.
            self._bury(f"c{self.told[at][1][0]}", f"{at:04}")
        if any(files["claims"].values()):
            connection = duckdb.connect()
            join(connection, CLAIM, FEEDS, files, "true")
            for key, version in connection.execute("SELECT id, _version FROM dead").fetchall():
                self._bury(key, version)
            made = (
                "SELECT _id, _version, PAYER, list_transform(lines, lambda l: l.ID || l.CODE), "
                "list_transform(insurers, lambda p: p.NAME) FROM source"
            )
            for key, version, *content in connection.execute(made).fetchall():
                if version > max(self.rows.get(key, ("",))[0], self.tombs.get(key, "")):
                    self.rows[key] = (version, content)

    def _bury(self, key: str, version: str) -> None:
        self.tombs[key] = max(version, self.tombs.get(key, ""))
        if key in self.rows and self.rows[key][0] < version:
            del self.rows[key]


def live(told: list[Told]) -> dict[str, Any]:
    """What should be live, told one after the other."""
    tables: dict[str, dict[str | None, tuple[str | None, ...]]] = {"claims": {}, "charges": {}, "payers": {}}
    for feed, values in told:
        if FEEDS[feed].deletes:
            tables[str(FEEDS[feed].deletes)].pop(values[0], None)
        else:
            tables[feed][values[0]] = values
    found = {}
    for key, payer in tables["claims"].values():
        lines = sorted((str(v[3]), str(v[0])) for v in tables["charges"].values() if v[1] == key and v[2] == "x")
        name = tables["payers"].get(payer)
        listed = [f"{number}{code}" for code, number in lines]
        found[f"c{key}"] = [payer, listed or None, [name[1]] if name else None]
    return found


def silver(folder: Path, told: list[Told], batches: list[list[int]]) -> dict[str, Any]:
    made = Silver(folder, told)
    for batch in batches:
        made.take(batch)
    return {key: content for key, (_, content) in made.rows.items()}


ids = st.sampled_from(["1", "2"])
TELLING = st.one_of(
    st.tuples(st.just("claims"), st.tuples(ids, st.sampled_from(["p", "q", None]))),
    st.tuples(
        st.just("charges"), st.tuples(st.sampled_from("abc"), ids, st.sampled_from("xxy"), st.sampled_from("mn"))
    ),
    st.tuples(st.just("payers"), st.tuples(st.sampled_from("pq"), st.sampled_from(["P", "Q"]))),
    st.tuples(st.just("gone_claims"), st.tuples(ids)),
    st.tuples(st.just("gone_charges"), st.tuples(st.sampled_from("abc"))),
)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Told], list[list[int]]]:
    """What is told, and a cut of it into batches in any order."""
    told = draw(st.lists(TELLING, min_size=1, max_size=9))
    order = draw(st.permutations(range(len(told))))
    cuts = sorted(draw(st.sets(st.integers(1, len(told))))) if len(told) > 1 else []
    batches = [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(told)], strict=True)]
    return told, [batch for batch in batches if batch]


@settings(max_examples=25)
@given(deliveries())
def test_any_order_and_any_batches_end_the_same(tmp_path_factory, delivered):
    told, batches = delivered
    assert silver(tmp_path_factory.mktemp("join"), told, batches) == live(told)


@pytest.mark.parametrize(
    ("told", "batches", "ends"),
    [
        pytest.param(
            [("claims", ("1", None)), ("charges", ("a", "1", "x", "m")), ("charges", ("b", "1", "x", "n")),
             ("gone_charges", ("a",))],
            [[0, 1, 2], [3]], {"c1": [None, ["bn"], None]}, id="a line that goes leaves the others",
        ),
        pytest.param(
            [("claims", ("1", None)), ("charges", ("a", "1", "x", "m")), ("gone_charges", ("a",))],
            [[0], [2], [1]], {"c1": [None, None, None]}, id="gone before it came",
        ),
        pytest.param(
            [("claims", ("1", None)), ("gone_claims", ("1",)), ("charges", ("a", "1", "x", "m"))],
            [[0], [2], [1]], {}, id="a claim that is gone stays gone, though a newer line of it came",
        ),
        pytest.param(
            [("claims", ("1", None)), ("claims", ("2", None)), ("charges", ("a", "1", "x", "m")),
             ("charges", ("a", "2", "x", "m"))],
            [[0, 1, 2], [3]], {"c1": [None, None, None], "c2": [None, ["am"], None]}, id="a line that moves",
        ),
    ],
)  # fmt: skip
def test_what_goes_is_taken_out_of_what_stays(tmp_path, told, batches, ends):
    assert silver(tmp_path, told, batches) == ends == live(told)


def test_what_is_taken_up_again_counts_once(tmp_path):
    told = [("claims", ("1", None)), ("charges", ("a", "1", "x", "m"))]
    made = Silver(tmp_path, told)
    made.take([0, 1])
    once = dict(made.rows)
    made.take([1])
    assert made.rows == once
