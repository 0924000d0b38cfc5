"""A FHIR date as the moments that it may mean."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.fhir.intervals import _bounds, bounds, intervals


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2015", "2015-01-01T00:00:00.000000", "2015-12-31T23:59:59.999999"),
        ("2016-02", "2016-02-01T00:00:00.000000", "2016-02-29T23:59:59.999999"),
        ("2015-12", "2015-12-01T00:00:00.000000", "2015-12-31T23:59:59.999999"),
        ("2015-03-31", "2015-03-31T00:00:00.000000", "2015-03-31T23:59:59.999999"),
        ("2015-03-01T10:00:00Z", "2015-03-01T10:00:00.000000", "2015-03-01T10:00:00.999999"),
        ("2015-03-01T10:00:00.25-05:00", "2015-03-01T15:00:00.250000", "2015-03-01T15:00:00.259999"),
        ("2015-03-01T10:00:00.752+00:00", "2015-03-01T10:00:00.752000", "2015-03-01T10:00:00.752999"),
        ("2015-03-01T10:00:00.123456Z", "2015-03-01T10:00:00.123456", "2015-03-01T10:00:00.123456"),
    ],
)
def test_a_date_means(text, start, end):
    found = bounds(text)
    assert found is not None
    assert tuple(moment.replace(tzinfo=None).isoformat(timespec="microseconds") for moment in found) == (start, end)


@pytest.mark.parametrize("text", ["", "20", "2015-13", "2015-02-30", "0000", "9999", "soon", "2015-03-01T25:00:00Z"])
def test_what_is_no_date_means_nothing(text):
    assert bounds(text) is None or text == "9999"


moments = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)).map(
    lambda moment: moment.isoformat(timespec="milliseconds")
)
texts = st.one_of(
    st.none(),
    st.dates().map(str),
    st.dates().map(lambda day: str(day)[:7]),
    st.dates().map(lambda day: str(day)[:4]),
    moments.map(lambda text: f"{text}Z"),
    moments.map(lambda text: f"{text[:-4]}-05:00"),
    st.sampled_from(["2015-02-30", "x", "2015-03-01T10:00", "2015-03-01T10:00:00.1234567Z", ""]),
)


@given(st.lists(texts, min_size=1))
def test_many_at_once_mean_what_each_does(values):
    start, end = _bounds(pa.array(values, pa.string()))
    expected = [bounds(text) if text is not None else None for text in values]
    assert list(zip(start.to_pylist(), end.to_pylist(), strict=True)) == [pair or (None, None) for pair in expected]


def test_dates_and_periods_of_a_row():
    tree = resource_tree("Encounter", ["period", "status"])
    periods = [{"start": "2015", "end": "2016-01-02T00:00:00Z"}, {"start": "2015", "end": None}, None]
    first, second, third = intervals(tree, pa.record_batch({"period": pa.array(periods)})).to_pylist()
    assert first["period"]["start"].isoformat() == "2015-01-01T00:00:00+00:00"
    assert first["period"]["end"].isoformat() == "2016-01-02T00:00:00.999999+00:00"
    assert second["period"]["end"] is None
    assert third == {"period": None}
