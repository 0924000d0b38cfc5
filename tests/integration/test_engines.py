"""One suite on Great Expectations' three engines: its SQL engine over DuckDB, as in the gate, its Spark's and pandas'.

Three kinds of value on which engines have differed stand here too; what counts is what the FHIR specification says.
"""

from __future__ import annotations

import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.rules import (
    FHIR_DATES,
    FHIR_FORMS,
    FHIR_ID,
    Check,
    Columns,
    Holds,
    Matches,
    OneOf,
    Ordered,
    Present,
    Unique,
    ValuesWellFormed,
    WellFormed,
    Within,
)
from expectations.audit import FAILED, audit_columns, audit_sql
from expectations.examine import audited
from expectations.forms import ELSEWHERE
from spark_jobs.fhir_types import fhir_schema
from tests.engines import ENGINES, SPARK, counts
from tests.unit.test_checks import DATES


@pytest.fixture
def engine(request) -> str:
    """An engine's name; Spark is started where it is asked for."""
    if request.param == "spark":
        request.getfixturevalue("spark")
    return request.param


def check(name: str, rule, element: str = "x", sql: str = "") -> Check:
    return Check("T", name, "conformance", "quarantine", rule, element, sql=sql)


TEXTS = [text for text, _, _ in DATES] + [
    "final",
    "Final",
    "a b",
    "x" * 64,
    "x" * 65,
    "a\n",
    "é",
    "a\u00a0b",
    None,
    "it's",
]
ROWS = pa.table({
    "text": TEXTS,
    "number": pa.array([None, 0.3, 0.30, -1.0, 10.0, 10.5] * 6, pa.float64())[: len(TEXTS)],
    "seconds": pa.array([None, 0, -1, 86400] * 9, pa.int64())[: len(TEXTS)],
    "flag": pa.array([True, False, None] * 12, pa.bool_())[: len(TEXTS)],
    "key": [f"k{at // 2 if at < 4 else at}" for at in range(len(TEXTS))],
})  # fmt: skip
SUITE = [
    (check("present", Present()), "text"),
    (check("one of", OneOf(("final", "it's"))), "text"),
    (check("id", Matches(FHIR_ID)), "text"),
    *((check(kind, WellFormed(kind)), "text") for kind in FHIR_DATES),
    *((check(f"form {kind}", Matches(pattern)), "text") for kind, pattern in FHIR_FORMS.items()),
    (check("elsewhere", Matches(ELSEWHERE)), "text"),
    (check("within", Within(0, 0.3)), "number"),
    (check("one number", OneOf((0.3, 10.0))), "number"),
    (check("ordered", Ordered()), "seconds"),
    (check("holds", Holds()), "flag"),
    (check("unique", Unique(("key",))), "key"),
    (check("unique pairs", Unique(("key", "flag"))), "key"),
    (check("columns", Columns(("text", "number", "seconds", "flag", "key"))), "text"),
]


@pytest.mark.parametrize("engine", ["pandas", SPARK], indirect=True)
def test_one_suite_comes_to_the_same_on_each_engine(engine):
    rows = [(one, column) for one, column in SUITE if not isinstance(one.rule, Columns)]
    on_duckdb = counts("duckdb", ROWS, rows)
    assert counts(engine, ROWS, rows) == on_duckdb
    failing = {name for name, one in on_duckdb.items() if not one[0]}
    assert failing >= {"one of", "id", "date", "within", "holds", "unique"}


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize(
    ("text", "kind", "is_good"), [one for one in DATES if one[0] in ("2021-02-30", "2020-02-29", "2021")]
)
def test_a_date_is_a_day_that_exists_on_each_engine(engine, text, kind, is_good):
    found = counts(engine, pa.table({"x": [text, None]}), [(check("d", WellFormed(kind)), "x")])
    assert found["d"] == (is_good, 2, 1, int(not is_good))


TREE = resource_tree("Observation", ["status", "valueQuantity", "meta.profile", "note.text"])
SCHEMA = pa.schema([*fhir_schema(TREE), ("_file_hash", pa.string()), ("_offset", pa.int64()), ("_rest", pa.string())])


def flat(tmp_path, record: dict, checks: list[Check]) -> tuple[pa.Table, list[tuple[Check, str]]]:
    """A record as the gate flattens it, and its checks with their columns."""
    row = {"id": "o1", "_file_hash": "h", "_offset": 0} | record
    pq.write_table(pa.Table.from_pylist([row], SCHEMA), tmp_path / "part.parquet")
    items = audit_columns(checks, TREE)
    sql = audit_sql(items, {FAILED: "CAST(NULL AS VARCHAR[])"})
    with audited(sql, [tmp_path / "part.parquet"], tmp_path / "spill") as connection:
        rows = connection.execute("FROM audited").arrow().read_all()
    return rows, [(item.check, item.column) for item in items]


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize(
    ("value", "rule", "is_good"),
    [
        ("0.30", Within(None, 0.3), True),
        ("0.3", Within(0.30, None), True),
        ("0.300000000000000001", Within(None, 0.2), False),
        ("0.30", OneOf(("0.3",)), True),
        ("0.3", OneOf(("0.30", "7")), True),
        ("0.31", OneOf(("0.3",)), False),
    ],
)
def test_a_decimal_is_a_number_however_it_is_written(tmp_path, engine, value, rule, is_good):
    """https://hl7.org/fhir/R4/datatypes.html#decimal: the precision is kept, the number is compared."""
    record = {"valueQuantity": {"value": decimal.Decimal(value)}}
    rows, checks = flat(tmp_path, record, [check("v", rule, "valueQuantity.value")])
    assert counts(engine, rows, checks)["v"][0] is is_good


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize(
    ("profile", "is_good"),
    [("http://a/b", True), ("http://a/b\u00a0c", True), ("http://a/é", True), ("http://a/b c", False), ("a\tb", False)],
)
def test_a_uri_ends_at_a_blank_and_a_no_break_space_is_none(tmp_path, engine, profile, is_good):
    """R4's \\S* is XML's: blanks are space, tab, return and newline; RFC 3987 lets a URI hold U+00A0."""
    form = check("u", ValuesWellFormed("canonical"), "canonical")
    rows, checks = flat(tmp_path, {"meta": {"profile": [profile]}}, [form])
    assert counts(engine, rows, checks)["u"][0] is is_good
    direct = counts(engine, pa.table({"x": [profile]}), [(check("m", Matches(FHIR_FORMS["canonical"])), "x")])
    assert direct["m"][0] is is_good


@pytest.mark.parametrize("pattern", [FHIR_ID, ELSEWHERE, *FHIR_DATES.values(), *FHIR_FORMS.values()])
def test_a_declared_pattern_means_the_same_in_each_engines_regular_expressions(pattern):
    """No POSIX class and no shorthand, which RE2, Java and Python each read in their way; no dot for any sign."""
    assert "[:" not in pattern
    assert not [at for at, sign in enumerate(pattern) if sign == "\\" and pattern[at + 1] in "sSdDwWbBpPZzA"]
    bare, inside = [], False
    for at, sign in enumerate(pattern):
        inside = sign == "[" or (inside and sign != "]")
        bare += [at] if sign in ".^$" and not inside and pattern[at - 1] != "\\" else []
    assert bare == []


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
@pytest.mark.parametrize(("text", "is_good"), [("abc", True), ("a1", False), ("", True), ("[:", False), ("é", False)])
def test_ranges_say_what_a_posix_class_would(engine, text, is_good):
    found = counts(engine, pa.table({"x": [text]}), [(check("r", Matches("[A-Za-z]*")), "x")])
    assert found["r"][0] is is_good
