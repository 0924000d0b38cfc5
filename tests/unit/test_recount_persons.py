"""The recount of persons sees what is not so: a sabotaged lake, and what the bundled raw files themselves say."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spark_jobs import delta
from tests.recount_persons import expected, shown

DATA = Path(__file__).parents[2] / "data"
ROWS = [("a", "p", date(1980, 2, 1)), ("b", "p", date(1980, 1, 2)), ("b", "q", date(1990, 5, 5))]
PERSON = {"p": (2, 2, True), "q": (1, 1, False)}


def write(table: Path, rows: list[dict[str, Any]]) -> None:
    made = pa.Table.from_pylist(rows)
    delta.create(table, made.schema, privacy=dict.fromkeys(made.column_names, "none"))
    delta.commit(table, [delta.write_part(table, made, {})])


def lake(root: Path, rows: list[tuple[str, str, date]] = ROWS, people: Any = PERSON) -> Path:
    write(root / "research/gold/patients", [{"silo": s, "person_key": p, "birth_date": d} for s, p, d in rows])
    told = [
        {"person_key": key, "record_count": count, "silo_count": silos, "has_birth_date_conflict": odd}
        for key, (count, silos, odd) in people.items()
    ]
    write(root / "research/gold/persons", told)
    write(root / "phi/persons/members", [{"silo": s, "until": None if s == "a" else "x"} for s, _, _ in rows])
    return root


def test_the_raw_files_say_how_many_people_there_are() -> None:
    assert list(expected(DATA).values()) == [578, 678, 414, 7, 144]


def test_gold_is_counted_twice(tmp_path: Path) -> None:
    assert list(shown(lake(tmp_path)).values()) == [3, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "people",
    [
        {"p": (2, 2, True)},
        {**PERSON, "r": (0, 0, False)},
        {**PERSON, "p": (2, 2, False)},
        {**PERSON, "p": (1, 2, True)},
        {**PERSON, "p": (2, 1, True)},
    ],
    ids=["a person lost", "one too many", "a conflict hidden", "a record lost", "a silo lost"],
)
def test_persons_that_do_not_fit_their_patients_are_caught(tmp_path: Path, people: Any) -> None:
    with pytest.raises(AssertionError, match="patients give"):
        shown(lake(tmp_path, people=people))
