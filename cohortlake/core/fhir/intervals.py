"""The moments that a FHIR date may mean: kept beside the text, which stays as it came.

`2015-03` is the month of March, `2015-03-01T10:00:00Z` one second. A date without a time zone is read as UTC.
Source: https://hl7.org/fhir/R4/datatypes.html#dateTime and, for ranges of partial dates, search.html#date.
"""

from __future__ import annotations

import datetime
import re

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog.resource import Node

DATES = frozenset({"date", "dateTime", "instant"})
MOMENT = pa.timestamp("us", tz="UTC")
INTERVAL = pa.struct([("start", MOMENT), ("end", MOMENT)])
ONE = datetime.timedelta(microseconds=1)
DAY, SECONDS = len("2015-03-01"), len("2015-03-01T10:00:00")
DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
# What a fraction of so many digits leaves open, in microseconds.
FRACTIONS = pa.array([10 ** (6 - digits) for digits in range(7)], pa.int64())

Bounds = tuple[datetime.datetime, datetime.datetime] | None


def dated(tree: Node) -> list[str]:
    """The root elements that are dates or periods, not lists of them."""
    return [child.name for child in tree.children.values() if child.type in {*DATES, "Period"} and not child.is_list]


def intervals_type(tree: Node) -> pa.DataType:
    """A struct with an interval for each dated root element."""
    return pa.struct([(name, INTERVAL) for name in dated(tree)])


def intervals(tree: Node, rows: pa.RecordBatch) -> pa.Array:
    """The intervals of each row: first and last microsecond, null where there is no such date."""
    made = []
    for name in dated(tree):
        values = rows[name]
        if tree.children[name].type == "Period":
            start, _ = _bounds(values.field("start"))
            _, end = _bounds(values.field("end"))
        else:
            start, end = _bounds(values)
        is_known = pc.or_(start.is_valid(), end.is_valid())
        fields = list(INTERVAL)
        made.append(pa.StructArray.from_arrays([start, end], fields=fields, mask=pc.invert(is_known)))
    kind = intervals_type(tree)
    return pa.StructArray.from_arrays(made, fields=list(kind)) if made else pa.nulls(rows.num_rows, kind)


def bounds(text: str) -> Bounds:
    """The first and last microsecond that a date, dateTime or instant may mean; None for what is no date."""
    try:
        if len(text) > DAY:
            moment = datetime.datetime.fromisoformat(text)
            start = moment.replace(tzinfo=moment.tzinfo or datetime.UTC).astimezone(datetime.UTC)
            fraction = re.search(r"\.(\d+)", text)
            digits = min(len(fraction.group(1)), 6) if fraction else 0
            return start, start + ONE * (10 ** (6 - digits) - 1)
        found = DATE.fullmatch(text)
        if not found:
            return None
        year, month, day = (int(part) if part else None for part in found.groups())
        first = datetime.datetime(year or 0, month or 1, day or 1, tzinfo=datetime.UTC)
        if day:
            return first, first + datetime.timedelta(days=1) - ONE
        # The 1st of the month, or of the January, after.
        after = first.replace(day=28) + datetime.timedelta(days=4) if month else first.replace(month=12, day=31)
        last = after.replace(day=1) - ONE if month else after + datetime.timedelta(days=1) - ONE
    except (ValueError, OverflowError):
        return None
    return first, last


def _bounds(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    if texts.null_count == len(texts):
        nothing = pa.nulls(len(texts), MOMENT)
        return nothing, nothing
    lengths = pc.utf8_length(texts)
    is_moment = pc.fill_null(pc.greater(lengths, DAY), False)
    zone = pc.if_else(pc.ends_with(texts, "Z"), 1, len("+00:00"))
    digits = pc.max_element_wise(pc.subtract(pc.subtract(lengths, SECONDS + 1), zone), 0)
    try:
        start = pc.if_else(is_moment, texts, None).cast(MOMENT)
        width = FRACTIONS.take(digits)
        end = pc.add(start.cast(pa.int64()), pc.subtract(width, 1)).cast(MOMENT)
    except (pa.ArrowInvalid, pa.ArrowIndexError):
        return _each(texts)
    if pc.all(is_moment).as_py():
        return start, end
    first, last = _each(pc.if_else(is_moment, None, texts))
    return pc.coalesce(start, first), pc.coalesce(end, last)


def _each(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The bounds of texts, each different one looked at once."""
    coded = texts.dictionary_encode()
    found = [bounds(text) for text in coded.dictionary.to_pylist()]
    start = pa.array([pair and pair[0] for pair in found], MOMENT)
    end = pa.array([pair and pair[1] for pair in found], MOMENT)
    return start.take(coded.indices), end.take(coded.indices)
