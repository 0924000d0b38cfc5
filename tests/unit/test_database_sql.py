"""How a table is asked for: columns found by name, conditions that leave nothing out."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.database.sql import (
    INSTANT,
    LOCAL,
    Column,
    UnreadableTableError,
    as_text,
    changed_since,
    find,
    literal,
    plan_reading,
    quoted,
    ranges,
    select,
)

FOUND = [Column("id", "integer"), Column("Name", "text"), Column("seen", INSTANT), Column("more", "jsonb")]
HOUR = datetime.timedelta(hours=1)


def reading(**changes):
    asked = {"columns": ["ID", "Name"], "optional": ["seen", "absent"], "key": ["ID"], "watermark": "seen"}
    return plan_reading("people", ("public", "people"), FOUND, **{**asked, **changes})


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        ("id", ["id", "ID"], "id"), ("ID", ["id", "ID"], "ID"), ("ID", ["id"], "id"), ("Id", ["id", "ID"], None),
        ("x", ["id"], None),
    ],
)  # fmt: skip
def test_case_counts_only_where_two_names_differ_by_nothing_else(name, names, found):
    column = find(name, [Column(one, "text") for one in names])
    assert (column and column.name) == found


def test_declared_columns_are_matched_and_the_others_named():
    found = reading()
    assert {name: column.name for name, column in found.columns.items()} == {"ID": "id", "Name": "Name", "seen": "seen"}
    assert (found.watermark, found.unread) == (FOUND[2], ("more",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": ["ID", "age"]}, "table public.people has no column age; it has, besides what is read, Name, more"),
        ({"key": ["ID", "visit"]}, "has no column visit"),
        ({"watermark": "changed_at"}, r"has no column changed_at \(the watermark\)"),
        ({"watermark": "more"}, "the watermark more of table public.people is of type jsonb"),
    ],
)
def test_what_is_not_there_is_told(changes, said):
    with pytest.raises(UnreadableTableError, match=said):
        reading(**changes)


def test_names_and_values_cannot_leave_their_quotes():
    assert quoted('a"; DROP TABLE x; --') == '"a""; DROP TABLE x; --"'
    assert literal("O'Brien") == "'O''Brien'"
    odd = Column('odd" name', "text")
    found = plan_reading("t", ("s", 'ta"ble'), [odd], columns=[odd.name], optional=[], key=[odd.name], watermark=None)
    assert select(found, None, [odd.name]) == 'SELECT "odd"" name"::text AS c0 FROM "s"."ta""ble" WHERE TRUE'


def test_times_have_a_zone_where_one_is_known():
    assert "|| 'Z'" in as_text(Column("a", INSTANT), None)
    assert "|| 'Z'" not in as_text(Column("a", LOCAL), None)
    assert "AT TIME ZONE 'America/Chicago'" in as_text(Column("a", LOCAL), "America/Chicago")


def test_changes_are_read_from_an_overlap_before_the_mark():
    mark = "2026-01-01 00:00:00+00"
    assert changed_since(reading(), mark, HOUR) == (
        f"(\"seen\" >= ('{mark}'::{INSTANT} - interval '3600 seconds')::{INSTANT} OR \"seen\" IS NULL)"
    )
    assert changed_since(reading(watermark="id"), "7", HOUR) == '("id" >= \'7\'::integer OR "id" IS NULL)'


@given(st.integers(0, 10_000), st.integers(1, 32))
def test_ranges_hold_each_page_once_and_what_comes_after(pages, count):
    found = ranges(pages, count)
    assert 1 <= len(found) <= count
    bounds = [[int(number) for number in re.findall(r"\((\d+),0\)", text)] for text in found]
    assert bounds[0][0] == 0
    assert [one[1] for one in bounds[:-1]] == [one[0] for one in bounds[1:]]
    assert len(bounds[-1]) == 1
