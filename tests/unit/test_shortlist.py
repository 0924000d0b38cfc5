"""The shortlist leaves out no row that fails: Great Expectations judges it as it judges all rows."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.rules import FHIR_ID, Check, Holds, Matches, OneOf, Ordered, Present, WellFormed, Within
from expectations.judge import FAILURES, validate
from expectations.shortlist import may_fail

NEAR = ["final", "Final", "final ", "it's", "2021", "2021-02-30", "2021-02-28\n", "x" * 64, "x" * 65, "a b", "é", ""]
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(NEAR), st.text(max_size=12)), min_size=1, max_size=40)
NUMBERS = st.one_of(st.none(), st.integers(-3, 12), st.floats(-3, 12), st.sampled_from([0, 10, float("nan"), 1e300]))
DECIMALS = st.decimals(min_value=-3, max_value=12, places=18)
BIG, SMALL = Within(0, 10), Within(None, 9.5)


def listed(values: pa.Array, rule: Any) -> list[int]:
    """The places of the values that are shortlisted."""
    connection = duckdb.connect()
    connection.register("rows", pa.table({"place": pa.array(range(len(values))), "x": values}))
    connection.execute("CREATE TABLE audit AS FROM rows")
    types = {name: kind for name, kind, *_ in connection.execute("DESCRIBE audit").fetchall()}
    condition = may_fail("x", rule, types["x"])
    return [
        row[0] for row in connection.execute(f"SELECT place FROM audit WHERE {condition} ORDER BY place").fetchall()
    ]


def failing(values: pa.Array, rule: Any) -> list[int]:
    """The places of the values that fail, as Great Expectations says."""
    check = Check("T", "T.x", "conformance", "warn", rule, "x")
    frame = pd.DataFrame({"x": values.to_pandas()})
    return list(validate("T", frame, [(check, "x")], FAILURES)["T.x"]["result"].get("unexpected_index_list", []))


@settings(max_examples=30)
@given(TEXTS, st.sampled_from([OneOf(("final", "it's")), Matches(FHIR_ID), Matches(r"\S+(\s\S+)*"), Matches(".*"),
                               WellFormed("date"), WellFormed("dateTime"), Present()]))  # fmt: skip
def test_no_text_that_fails_is_left_out(texts, rule):
    values = pa.array(texts, pa.string())
    assert set(failing(values, rule)) <= set(listed(values, rule))


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=1, max_size=40), st.sampled_from([BIG, SMALL, Ordered(), Present()]))
def test_no_number_that_fails_is_left_out(numbers, rule):
    values = pa.array([None if number is None else float(number) for number in numbers], pa.float64())
    assert set(failing(values, rule)) <= set(listed(values, rule))


@settings(max_examples=20)
@given(st.lists(st.one_of(st.none(), DECIMALS), min_size=1, max_size=40), st.sampled_from([BIG, SMALL]))
def test_no_decimal_that_fails_is_left_out(numbers, rule):
    values = pa.array(numbers, pa.decimal128(38, 18))
    assert set(failing(values, rule)) <= set(listed(values, rule))


@pytest.mark.parametrize(
    ("values", "rule", "wanted"),
    [
        (pa.array(["final", "x", None]), OneOf(("final",)), [1]),
        (pa.array(["a-1", "a b", None]), Matches(FHIR_ID), [1]),
        (pa.array(["2021", "2021-02-30", None]), WellFormed("date"), [1]),
        (pa.array([0, 10, 11, -1, None]), BIG, [2, 3]),
        (pa.array([Decimal("10.000000000000000001"), Decimal(10)], pa.decimal128(38, 18)), BIG, [0]),
        (pa.array([True, False, None]), Holds(), [1]),
        (pa.array([5, 0, -1, None]), Ordered(), [2]),
        (pa.array(["a", None]), Present(), [1]),
    ],
)
def test_what_plainly_holds_is_not_listed(values, rule, wanted):
    assert listed(values, rule) == wanted


@pytest.mark.parametrize("rule", [BIG, Ordered(), Holds(), OneOf(("a",)), Matches("a"), WellFormed("date")])
def test_of_a_type_that_the_rule_is_not_made_for_every_value_is_listed(rule):
    assert listed(pa.array([datetime.date(2021, 1, 1), None]), rule) == [0]
