"""What the curate job makes of a view's columns: one display a code, comparators, whether a row counts."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from cohortlake.core.catalog import Table, load_catalog
from cohortlake.core.catalog.table import CountedCodes, StandardUnits
from cohortlake.core.terminology.units import Units
from spark_jobs.displays import COUNTED, NONE, most_frequent, with_displays
from spark_jobs.made_columns import is_counted
from spark_jobs.units import Converter, in_standard_units

LOINC = "http://loinc.org"
HDL = "Cholesterol in HDL [Mass/volume] in Serum or Plasma"
CODINGS = [
    (LOINC, "2085-9", HDL, 3),
    (LOINC, "2085-9", "High Density Lipoprotein Cholesterol", 2),
    (LOINC, "2085-9", "High Density Lipoprotein Cholesterol", 2),
    (LOINC, "2093-3", "Cholesterol", 1),
    (LOINC, "2093-3", "Cholesterol, total", 1),
]


def counted(rows: list[tuple[str, str, str, int]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(COUNTED.names, row, strict=True)) for row in rows], schema=COUNTED)


@pytest.mark.parametrize("seed", range(5))
def test_the_most_frequent_display_stands_in_whatever_order_records_came(seed: int) -> None:
    rows = list(CODINGS)
    random.Random(seed).shuffle(rows)
    assert most_frequent(counted(rows), {}).to_pylist() == [
        {"system": LOINC, "code": "2085-9", "display": "High Density Lipoprotein Cholesterol"},
        {"system": LOINC, "code": "2093-3", "display": "Cholesterol"},
    ]


def test_a_declared_display_comes_before_the_most_frequent() -> None:
    found = most_frequent(counted(CODINGS), {(LOINC, "2085-9"): HDL}).to_pylist()
    assert [row["display"] for row in found] == [HDL, "Cholesterol"]


def test_a_code_has_its_display_and_the_senders_words_stay() -> None:
    rows = pa.table(
        {
            "t_code": ["2085-9", "2085-9", "2085-9", "x", None],
            "t_system": [LOINC, LOINC, None, LOINC, None],
            "t_display": ["HDL", None, "HDL", "mine", None],
            "source_display": ["HDL", None, "HDL", "mine", None],
        }
    )
    found = with_displays(rows, {"t_display": ("t_code", "t_system")}, most_frequent(counted(CODINGS[:1]), {}))
    # A code without a system may be another thing, and one that nobody else has keeps its words.
    assert found["t_display"].to_pylist() == [HDL, HDL, "HDL", "mine", None]
    assert found["source_display"].to_pylist() == rows["source_display"].to_pylist()
    assert with_displays(rows, {"t_display": ("t_code", "t_system")}, NONE) is rows


def test_a_row_counts_where_all_its_statuses_do() -> None:
    declared = {
        "status": CountedCodes(counted=["final"], not_counted=["cancelled"], absent="not_counted"),
        "verification": CountedCodes(counted=["confirmed"], not_counted=["refuted"], absent="counted"),
    }
    rows = pa.table(
        {
            "status": ["final", "final", "final", "cancelled", None, "FINAL"],
            "verification": ["confirmed", None, "refuted", "confirmed", "confirmed", "confirmed"],
        }
    )
    assert is_counted(rows, declared).to_pylist() == [True, True, False, False, False, False]


def test_a_bound_stays_a_bound_in_the_standard_unit() -> None:
    declared = StandardUnits(
        code="c", unit=["u"], standard_unit="s", values={"sv": "v"}, comparator={"standard_comparator": "k"}
    )
    units: Units = load_catalog().units
    rows = pa.table(
        {
            "c": ["2345-7", "2345-7", "2345-7"],
            "u": ["mmol/L", "mmol/L", "flasks"],
            "v": [5.6, 5.6, 20.0],
            "k": ["<", None, "<"],
        }
    )
    made = in_standard_units(rows, declared, Converter(units)).to_pydict()
    assert made["standard_comparator"] == ["<", None, None]
    assert made["sv"] == [100.8896, 100.8896, None]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"counted_statuses": {"state": {"counted": ["a"], "absent": "counted"}}}, "needs the column 'state'"),
        (
            {"counted_statuses": {"status": {"counted": ["a"], "not_counted": ["a"], "absent": "counted"}}},
            "either counted or not_counted",
        ),
        ({"counted_statuses": {"status": {"counted": ["a"]}}}, "absent"),
        ({"from": "sql", "standard_units": None}, "counted_statuses are for tables that are made from a view"),
    ],
)
def test_a_wrong_declaration_of_statuses_is_refused(change: dict[str, object], said: str) -> None:
    content = load_catalog().tables["laboratory_results"].model_dump(by_alias=True)
    with pytest.raises(ValueError, match=said):
        Table.model_validate(content | change)
