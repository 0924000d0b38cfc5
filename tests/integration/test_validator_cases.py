"""HL7's validator test cases as records of a hospital: none breaks a step, and structural errors are told by name.

`validator_cases.csv` has what HAPI's validator 8.4.0 says of each case, offline and as base R4, errors only: the file,
the message and the element (`python -m tools.validate_fhir FOLDER --json`). The cases bring counts of errors but no
messages. Which messages are structural is said here.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog.resource import whole_tree
from cohortlake.core.checks import r4_checks
from cohortlake.core.fhir.definitions import elements, primitive_types, resource_types
from expectations.audit import FAILED, audit_columns, audit_sql
from expectations.examine import audited
from expectations.judge import COUNTS, by_check, validate
from expectations.suites import judged_items, suite
from spark_jobs.standardise_fhir import COLUMNS, standardise_part

SHARED = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
CASES = SHARED / "fhir_validator_cases"
SAID = Path(__file__).parent / "validator_cases.csv"
pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not CASES.is_dir(), reason=f"no validator cases in {SHARED} (set COHORTLAKE_DATA)"),
]

# The record's own form: JSON, elements and their types, cardinality, primitives, required codes, references' form.
# The rest is about profiles, bundles, narrative, terminology beyond required bindings, and rules between elements.
STRUCTURAL = {
    "Parser_Not_JSON", "Parser_No_Quotes", "Parser_Duplicate_Property", "Parser_No_Resource_Type",
    "Parser_Unknown_Property", "Parser_Wrong_JSON_Type", "Parser_Empty_Array", "Parser_Empty_Object",
    "Validation_VAL_Profile_Minimum",
    "Resource_RES_ID_Malformed_Chars", "Resource_RES_ID_Malformed_Length",
    "Type_Specific_Checks_DT_Base64_Valid", "TYPE_SPECIFIC_CHECKS_DT_ATT_B64_DECODE_FAIL",
    "Type_Specific_Checks_DT_Boolean_Value", "Type_Specific_Checks_DT_Date_Valid",
    "Type_Specific_Checks_DT_DateTime_TZ", "TYPE_SPECIFIC_CHECKS_CANONICAL_ABSOLUTE",
    "Terminology_TX_Code_ValueSet_MISSING", "Terminology_TX_NoValid_1_CC", "Terminology_TX_NoValid_16",
    "Reference_REF_Format2", "Reference_REF_WrongTarget", "Reference_REF_BadTargetType",
}  # fmt: skip
# Caught of the cases with structural errors, at least.
FLOOR = 0.85
MISSED = {
    "allergy.json": "the concept has a known code beside another one; the absent category says why in an extension",
    "bundle-ea-testcase.json": "the errors are in a Bundle's entries, which silver keeps as JSON",
    "bundle-enrl.json": "the errors are in a Bundle's entries, which silver keeps as JSON",
    "obs-vs-2.json": "silver does not type narrative",
}


@dataclass
class Judged:
    """What our steps said of a case."""

    rejected: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    @property
    def is_caught(self) -> bool:
        # R4 lets a resource be without an id; it is the lake that asks for one.
        return bool(
            self.rejected or self.unknown or [name for name in self.failed if not name.endswith(".id is present")]
        )


def structural() -> dict[str, set[str]]:
    """The cases with structural errors: file -> messages."""
    found = defaultdict(set)
    with SAID.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["message"] in STRUCTURAL:
                found[row["file"]].add(row["message"])
    return found


def type_of(text: str) -> str:
    """The type of a case, which a hospital delivers it as; what has none comes in a feed of patients."""
    try:
        found = json.loads(text).get("resourceType")
    except ValueError:
        found = None
    return found if found in resource_types() else "Patient"


def is_known(resource_type: str, path: str) -> bool:
    """Whether R4 defines an element at a path that silver does not type; so it does what stands beside a primitive."""
    kind = resource_type
    for name in path.split("."):
        if kind in primitive_types() or kind == "Resource":
            return True
        known = elements(kind)
        plain = name.removeprefix("_")
        if plain not in known or (plain != name and known[plain].type not in primitive_types()):
            return name == "resourceType"
        kind = "Element" if plain != name else known[plain].type
    return True


def judge(file: Path, folder: Path) -> Judged:
    """A case through `standardise` and, as far as it got there, the gate."""
    text = " ".join(file.read_text(encoding="utf-8").splitlines())
    name = type_of(text)
    tree, at = whole_tree(name), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    row = dict(zip(COLUMNS, (file.name, "hash", at, 0, text), strict=True))
    pq.write_table(pa.Table.from_pylist([row]), folder / "bronze.parquet")
    unit = {"sources": [(folder / "bronze.parquet", None)], "silo": "cases"}
    done = standardise_part(unit | {"table": folder / name, "rejects": folder / "rejects"}, tree)
    found = Judged(unknown={path for path in done["unexpected"] if not is_known(name, path)})
    if done["rejected"]:
        found.rejected = pq.read_table(done["rejects"])["reason"].to_pylist()
    if done["rows"]:
        items = audit_columns([check for check in r4_checks(tree) if not check.is_fact], tree)
        sql = audit_sql(items, {FAILED: "CAST(NULL AS VARCHAR[])"})
        with audited(sql, [folder / name / done["part"]["path"]], folder / "spill") as connection:
            result = validate(connection, suite(f"cases.{name}", judged_items(items)), COUNTS, done["rows"])
        found.failed = {check for check, one in by_check(result).items() if not one.success}
    return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> dict[str, Judged]:
    """Every case judged; a step that breaks over one fails here."""
    return {file.name: judge(file, tmp_path_factory.mktemp("case")) for file in sorted(CASES.glob("*.json"))}


def test_no_case_breaks_a_step(judged):
    assert len(judged) == 175


def test_structural_errors_are_told_by_name(judged):
    wanted = structural()
    missed = {name for name in wanted if not judged[name].is_caught}
    assert len(wanted) == 41
    assert 1 - len(missed) / len(wanted) >= FLOOR
    assert missed == MISSED.keys()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("ai4.json", "Patient.birthDate is a FHIR date"),
        ("attachment-with-invalid-binary.json", "Media base64Binary values are well-formed"),
        ("empty-array.json", "DocumentReference has no empty list"),
        ("list-empty1.json", "List.entry has its required elements"),
        ("patient-duplicate.json", "not valid JSON: a name stands twice in an object"),
        ("cs-meta-profile.json", "wrong JSON type: meta.profile is a string, not a array"),
        ("group-minimal.json", "membership"),
    ],
)
def test_what_is_said_is_what_is_wrong(judged, file, said):
    found = judged[file]
    assert said in {*found.rejected, *found.failed, *found.unknown}


def test_good_records_are_let_through(judged):
    """The cases that the validator has nothing against: none is rejected; what is said of one is listed."""
    with SAID.open(encoding="utf-8") as stream:
        wrong = {row["file"] for row in csv.DictReader(stream)}
    said = {name: found for name, found in judged.items() if name not in wrong and found.is_caught}
    # A filter's value, which R4 requires, stands in an extension of it; a health card is no JSON but a signed text.
    assert said.keys() == {"vs-params-1.json", "vs-params-4.json", "shc-bundle.json"}
    assert [name for name, found in said.items() if found.rejected] == ["shc-bundle.json"]
