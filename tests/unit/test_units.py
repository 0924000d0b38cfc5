"""Units: how they are spelled in the wild, what is UCUM, and what a LOINC code's values are in its unit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.catalog import load_catalog
from cohortlake.core.catalog.table import StandardUnits, Table
from cohortlake.core.errors import CatalogError
from cohortlake.core.terminology.respell import respell
from cohortlake.core.terminology.units import Units, load_units
from spark_jobs.units import Conversion, Converter, Seen, in_standard_units, rounded, unmapped_units
from spark_jobs.units_ucum import bare, is_ucum, line

UNITS = load_catalog().units
ANALYTES = {"": None, **UNITS.analytes}

# As laboratories, monitors and extracts write them.
SPELLED = {
    "mg/dL": ["mg/dL", "mg/dl", "MG/DL", "Mg/dL", "mg / dL", "mg per dL", "mgm/dl", "mg%"],
    "10*3/uL": [
        "10*3/uL", "K/uL", "k/ul", "K/UL", "K/mcL", "x10E3/uL", "X10E3/UL", "10^3/uL", "10**3/uL", "x10^3/µL", "10³/μL",
        "x10(3)/mcL", "Thou/mcL", "THOUS/MCL", "10E3/uL", "10e+3/uL", "103/uL",
    ],
    "10*6/uL": ["M/uL", "10*6/uL", "x10E6/uL", "mill/mcL", "Million/uL"],
    "10*9/L": ["10*9/L", "10^9/L", "x10E9/L", "Giga/L", "10⁹/L"],
    "mm[Hg]": ["mm[Hg]", "mmHg", "mmhg", "MMHG", "mm Hg", "mm(Hg)", "MM(HG)", "torr"],
    "Cel": ["Cel", "C", "°C", "deg C", "degC", "Degrees C", "celsius", "℃"],
    "[degF]": ["[degF]", "F", "°F", "deg F", "Fahrenheit"],
    "[lb_av]": ["[lb_av]", "lb", "lbs", "LBS", "pounds"],
    "[in_i]": ["[in_i]", "in", "inches", "IN", '"'],
    "kg/m2": ["kg/m2", "kg/m²", "kg/m^2", "KG/M2", "kg/sqm"],
    "/min": ["/min", "bpm", "beats/min", "BPM", "breaths/min", "/minute"],
    "meq/L": ["meq/L", "mEq/L", "MEQ/L", "mEq/l"],
    "U/L": ["U/L", "U/l", "units/L", "u/L"],
    "[IU]/L": ["[IU]/L", "IU/L", "iu/l"],
    "m[IU]/L": ["m[IU]/L", "mIU/L", "MIU/L"],
    "u[IU]/mL": ["u[IU]/mL", "uIU/mL", "µIU/mL", "UIU/ML", "mcIU/mL"],
    "mL/min/{1.73_m2}": [
        "mL/min/{1.73_m2}", "mL/min/1.73 m2", "mL/min/1.73m²", "ml/min/1.73m^2", "ML/MIN/1.73M2", "mL/min/1.73 sq m",
    ],
    "umol/L": ["umol/L", "µmol/L", "μmol/l", "UMOL/L", "mcmol/L"],
    "ug/mL{FEU}": ["ug/mL{FEU}", "ug FEU/mL", "mcg/mL FEU"],
    "[pH]": ["[pH]", "pH", "PH", "pH units"],
    "%": ["%", "percent", "PCT"],
    "/[HPF]": ["/[HPF]", "/HPF", "/hpf", "#/hpf", "per hpf"],
    "{cells}/uL": ["cells/uL", "CELLS/UL", "cell/mcL"],
    "mg/(24.h)": ["mg/24h", "mg/24 hrs", "MG/24HR"],
    "mosm/kg": ["mosm/kg", "mOsm/kg", "mOsm/kg H2O"],
    "{INR}": ["INR", "{INR}", "inr"],
    "fL": ["fL", "FL", "fl"],
    "pg": ["pg", "PG"],
    "mg/g{creat}": ["mg/g creat", "mg/g Creatinine"],
}  # fmt: skip


@pytest.mark.parametrize(("unit", "text"), [(unit, text) for unit, texts in SPELLED.items() for text in texts])
def test_a_spelling_means_a_ucum_unit(unit: str, text: str) -> None:
    assert respell(text, UNITS.spellings) == (unit,)
    assert is_ucum(unit)


def test_every_unit_that_is_declared_is_ucum_and_stays_as_it_is() -> None:
    listed = {one.unit for one in UNITS.codes.values()}
    for table in (UNITS.spellings.whole, UNITS.spellings.parts):
        for meant in (*table.exact.values(), *table.any_case.values()):
            listed |= {meant} if isinstance(meant, str) else set()
    for unit in sorted(listed):
        assert is_ucum(unit), unit
        assert respell(unit, UNITS.spellings) == (unit,)


@pytest.mark.parametrize("text", ["flasks", "258797006", "10 mg", "mg/", "", "/"])
def test_what_is_no_unit_is_not_taken_for_one(text: str) -> None:
    assert not [unit for unit in respell(text, UNITS.spellings) if is_ucum(unit)]


CONVERTED = [
    # value, unit, analyte, value in the other unit (sources: the analytes' own, and what laboratories print)
    (5.6, "mmol/L", "glucose", 100.8896, "mg/dL"),
    (88.4, "umol/L", "creatinine", 0.9999808, "mg/dL"),
    (5.0, "mmol/L", "cholesterol", 193.35, "mg/dL"),
    (1.7, "mmol/L", "triglycerides", 150.518, "mg/dL"),
    (53, "mmol/mol", "hemoglobin_a1c", 7.00044, "%"),
    (0.07, "1", "hemoglobin_a1c", 7, "%"),
    (2.5, "meq/L", "calcium", 5.00975, "mg/dL"),
    (140, "meq/L", "sodium", 140, "mmol/L"),
    (17.1, "umol/L", "bilirubin", 0.999837, "mg/dL"),
    (6, "mmol/L", "urea_nitrogen", 16.8084, "mg/dL"),
    (3, "mg/mmol", "per_creatinine", 26.52050919, "mg/g"),
    (8.7, "mmol/L", "hemoglobin", 14.019615, "g/dL"),
    (40, "[IU]/L", "enzyme", 40, "U/L"),
    (0.5, "ukat/L", "enzyme", 30, "U/L"),
    (98.6, "[degF]", "", 37, "Cel"),
    (310.15, "K", "", 37, "Cel"),
    (70, "[in_i]", "", 177.8, "cm"),
    (16, "kPa", "", 120.0098521, "mm[Hg]"),
    (250, "10*9/L", "", 250, "10*3/uL"),
    (7200, "{cells}/uL", "", 7.2, "10*3/uL"),
    (1.5, "mL/s", "", 90, "mL/min/{1.73_m2}"),
]


@pytest.mark.parametrize(("value", "unit", "analyte", "expected", "target"), CONVERTED)
def test_a_value_is_converted(value: float, unit: str, analyte: str, expected: float, target: str) -> None:
    factor, offset = line(unit, target, ANALYTES[analyte]) or (math.nan, math.nan)
    assert rounded(np.array([value * factor + offset]))[0] == expected


@pytest.mark.parametrize(
    ("unit", "target", "analyte"),
    [
        ("mmol/L", "mg/dL", ""),  # of what?
        ("meq/L", "mmol/L", "glucose"),  # no valence
        ("[IU]/L", "U/L", ""),  # an arbitrary unit is only itself
        ("[IU]/L", "10*3/uL", ""),
        ("/[HPF]", "/[LPF]", ""),
        ("[pH]", "%", ""),
        ("kg", "cm", ""),
        ("mmol/mol", "mg/dL", "hemoglobin_a1c"),
    ],
)
def test_what_cannot_be_converted_is_not(unit: str, target: str, analyte: str) -> None:
    assert line(unit, target, ANALYTES[analyte]) is None


@given(st.sampled_from(CONVERTED), st.floats(0.001, 1e6))
def test_there_and_back_is_where_it_began(case: tuple[float, str, str, float, str], value: float) -> None:
    _, unit, analyte, _, target = case
    there, back = line(unit, target, ANALYTES[analyte]), line(target, unit, ANALYTES[analyte])
    assert there is not None
    assert back is not None
    returned = (value * there[0] + there[1]) * back[0] + back[1]
    assert returned == pytest.approx(value, rel=1e-9, abs=1e-7)


@given(st.decimals(-1_000_000, 1_000_000, places=4))
def test_rounding_leaves_no_noise(value: object) -> None:
    assert rounded(np.array([float(str(value)) * 3 / 3]))[0] == float(str(value))


def standard(loinc: str | None, code: str | None, unit: str | None = None) -> tuple[str, float] | None:
    found = Converter(UNITS).standard(Seen(loinc, code, unit))
    return (found.unit, found.factor) if found else None


def test_the_loinc_code_decides_what_an_ambiguous_spelling_means() -> None:
    assert standard("6690-2", "G/L") == ("10*3/uL", 1)
    assert standard("10834-0", "G/L") == ("g/L", 1)
    assert standard("12345-5", "G/L") is None


def test_a_code_without_a_declared_unit_keeps_its_own_in_ucum() -> None:
    assert standard("12345-5", "MG/DL") == ("mg/dL", 1)
    assert standard(None, None, "bpm") == ("/min", 1)
    assert standard(None, "flasks") is None


def test_the_words_tell_where_the_code_does_not() -> None:
    assert standard("2345-7", "258797006", "mmol/l") == ("mg/dL", 18.016)


def test_a_missing_unit_is_one_where_the_code_only_counts() -> None:
    assert standard("2744-1", None) == ("[pH]", 1)
    assert standard("6301-6", None, " ") == ("{INR}", 1)
    assert standard("2345-7", None) is None
    assert standard("4548-4", None) is None


def test_unknown_units_are_listed_with_their_code_and_count() -> None:
    seen = [Seen("2345-7", "mg/dL", None, 7), Seen("2345-7", None, "flasks", 3), Seen("2345-7", None, None, 2)]
    seen += [Seen(None, "flasks", None, 1), Seen(None, None, None, 9), Seen("2345-7", "kg", "kg", 4)]
    assert unmapped_units(seen, Converter(UNITS)) == {
        "unit: flasks (2345-7)": 3,
        "unit: (none) (2345-7)": 2,
        "unit: flasks (no LOINC code)": 1,
        "unit: kg (2345-7)": 4,
    }


DECLARED = StandardUnits(code="c", unit=["u", "w"], standard_unit="s", values={"sv": "v", "sl": "low"})


def test_columns_are_made_and_what_is_in_the_standard_unit_is_the_same_to_the_bit() -> None:
    rows = pa.table(
        {
            "c": ["2345-7", "2345-7", "2345-7", None, "8310-5", "2345-7"],
            "u": ["mg/dL", "mmol/L", None, "kg", None, "mmol/L"],
            "w": [None, None, "flasks", None, "deg F", None],
            "v": [0.1 + 0.2, 5.6, 7.0, 70.5, 98.6, None],
            "low": [None, 3.9, 1.0, None, None, 3.9],
        }
    )
    made = in_standard_units(rows, DECLARED, Converter(UNITS)).to_pydict()
    assert made["sv"] == [0.1 + 0.2, 100.8896, None, 70.5, 37.0, None]
    assert made["s"] == ["mg/dL", "mg/dL", None, "kg", "Cel", None]
    assert made["sl"] == [None, 70.2624, None, None, None, 70.2624]


def test_no_rows_make_no_rows() -> None:
    empty = pa.schema([(name, pa.string()) for name in "cuw"] + [(name, pa.float64()) for name in ("v", "low")])
    made = in_standard_units(empty.empty_table(), DECLARED, Converter(UNITS))
    assert (made.num_rows, made.column_names) == (0, ["c", "u", "w", "v", "low", "s", "sv", "sl"])


def test_a_lake_that_declares_no_units_keeps_values_in_theirs(tmp_path: Path) -> None:
    units = load_units(tmp_path / "none")
    assert Converter(units).standard(Seen("2345-7", "mmol/L", None)) == Conversion("mmol/L", 1.0, 0.0)


def test_bare_units_have_no_annotations() -> None:
    said = ["mL/min/{1.73_m2}", "{cells}/uL", "{score}", "mg/g{creat}", "kg"]
    assert [bare(unit) for unit in said] == ["mL/min", "1/uL", "1", "mg/g", "kg"]


def written(folder: Path, codes: str, spellings: str = "whole: {}") -> Units:
    (folder / "codes.yaml").write_text(codes, encoding="utf-8")
    (folder / "analytes.yaml").write_text("analytes:\n  glucose: { molar_mass: 180.16, source: s }\n", encoding="utf-8")
    (folder / "spellings.yaml").write_text(spellings, encoding="utf-8")
    return load_units(folder)


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ("codes:\n  2345-7: { unit: mg/dL }\n  2339-0: { unit: mg/dL, analyte: sugar }\n", r"codes.yaml:3: .*'sugar'"),
        ("codes:\n  2345-7: { unit: mg/dL }\n  2339-0: { units: mg/dL }\n", r"codes.yaml:3: .*units is not known here"),
        ("codes:\n  2345-7: { analyte: glucose }\n", r"codes.yaml:2: codes.2345-7.unit is missing"),
    ],
)
def test_a_wrong_declaration_is_told_with_file_and_line(tmp_path: Path, codes: str, said: str) -> None:
    with pytest.raises(CatalogError, match=said):
        written(tmp_path, codes)


def test_a_part_that_means_several_units_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="only a whole unit may mean several"):
        written(tmp_path, "codes: {}", "parts:\n  exact: { G: ['10*9', g] }\n")


def test_standard_units_name_columns_of_their_table() -> None:
    table = load_catalog().tables["laboratory_results"]
    content = table.model_dump(by_alias=True)
    content["standard_units"]["values"] = {"standard_value": "nothing"}
    with pytest.raises(ValueError, match="standard_units names 'nothing', which is not one of the columns"):
        Table.model_validate(content)
