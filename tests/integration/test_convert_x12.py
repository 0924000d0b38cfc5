"""Real X12 files: all 31 samples and our examples go through, each with its outcome; what lands is typed FHIR R4."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from cohortlake.cli import app, convert, doctor  # noqa: F401 (they register commands)
from cohortlake.core.catalog.resource import whole_tree
from cohortlake.core.convert import Converted, dumps, guess_format
from cohortlake.core.errors import QuarantinedError
from cohortlake.core.fhir.definitions import elements
from cohortlake.core.readers.fhir_json import parse
from cohortlake.core.x12 import records, to_fhir
from spark_jobs.fhir_types import fhir_schema

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
SAMPLES, EXAMPLES = DATA / "x12_imsweb", Path(__file__).parent / "x12"
if not SAMPLES.is_dir():
    pytest.skip(f"{SAMPLES} is not there (set COHORTLAKE_DATA)", allow_module_level=True)

Resource = dict[str, Any]
# What lands of a file: resources of its sets in order. What does not: the errors, with their places.
GE_COUNT, IEA_COUNT = "GE-01 counts other transaction sets than came", "IEA-01 counts other functional groups than came"
LOST = "SE-01 counts more segments than came: some are lost"
LANDS: dict[str, list[Counter[str]]] = {
    name: [Counter({"Claim": claims, "Organization": 2, "Patient": people, "Coverage": people})]
    for name, claims, people in (
        ("x12_valid", 2, 2),
        ("x12_valid_different_separators", 2, 2),
        ("x12_no_errors", 1, 1),
        ("x12_writer_test", 1, 1),
        ("x12_many_claims", 2, 2),
    )
}
LANDS["x12_ambiguous_loop"] = [LANDS["x12_no_errors"][0] + Counter({"Practitioner": 1})]
LANDS["x12_multiple_isa"] = LANDS["x12_multiple_st"] = LANDS["x12_valid"] * 2
LANDS["x12_multiple_gs"] = LANDS["x12_valid"] * 3
LANDS["x12_multiple_transactions"] = LANDS["x12_valid"] * 312
LANDS["x223-test"] = [
    Counter({"Claim": 1, "Organization": 4, "Patient": 1, "Coverage": 3}),
]
NOTHING = ("x12_999_accepted", "x12_999_rejected", "x12_277CA_accepted", "x12_277CA_rejected", "x12_277_x212")
QUARANTINED: dict[str, list[tuple[str, str]]] = {
    "x12_bad_first_line": [("ISA02 has another width than the standard's", "ISA-02")],
    "x12_no_isa_line": [("there is no ISA: the delimiters are not declared", "ISA")],
    "x12_bad_segment_identifier": [
        ("the segment has no name that X12 allows", "segment 4 of the set"),
        ("PER is missing in loop 1000A", "NM1[1], segment 3 of the set"),
        ("the segment has no name that X12 allows", "segment 9 of the set"),
        ("N4 is missing in loop 2010AA", "NM1[3], segment 7 of the set"),
        ("the segment has no name that X12 allows", "segment 18 of the set"),
        ("loop 2010BA is missing in loop 2000B", "HL[2], segment 16 of the set"),
    ],
    "x12_bad_valid_code": [
        ("no loop begins with NM1 and this qualifier here", "NM1[3], segment 7 of the set"),
        ("loop 2010AA is missing in loop 2000A", "HL[1], segment 6 of the set"),
    ],
    "x12_loop_errors1_exceeds_max_1_parent": [
        ("loop 2010AA stands more than once in loop 2000A", "NM1[4], segment 13 of the set")
    ],
    "x12_loop_errors2_exceeds_max_repeats_multiple_parents": [
        ("loop 2010AA stands more than once in loop 2000A", "NM1[8], segment 32 of the set")
    ],
    "x12_loop_errors3_missing_loops": [
        (LOST, "SE[1]-01, segment 19 of the set, came: 19"),
        ("loop 2010AA is missing in loop 2000A", "HL[1], segment 6 of the set"),
    ],
    "x12_missing_elements": [
        ("NM1-02 is missing", "NM1[2]-02, segment 5 of the set"),
        ("CLM-05.1 is missing", "CLM[2]-05.1, segment 29 of the set"),
        ("CLM-05.3 is missing", "CLM[2]-05.3, segment 29 of the set"),
    ],
    "x12_missing_required_loop_in_one_repeat": [
        ("loop 2010BA is missing in loop 2000B", "HL[2], segment 16 of the set")
    ],
    "x12_missing_required_loops_mult_repeats": [
        ("SV1 stands outside its loop", "SV1[2], segment 31 of the set"),
        ("loop 2400 is missing in loop 2300", "CLM[2], segment 29 of the set"),
        ("SV1 stands outside its loop", "SV1[5], segment 57 of the set"),
        ("loop 2400 is missing in loop 2300", "CLM[5], segment 55 of the set"),
    ],
    "x12_segment_errors": [
        (LOST, "SE[1]-01, segment 23 of the set, came: 23"),
        ("REF stands more than once in loop 2010AA", "REF[2], segment 10 of the set"),
        ("N3 is missing in loop 2010AA", "NM1[3], segment 7 of the set"),
        ("HI is missing in loop 2300", "CLM[1], segment 19 of the set"),
    ],
    "x12_segments_out_of_order": [
        ("N4 is out of order in loop 2010AA", "N4[1], segment 10 of the set"),
        ("N3 is out of order in loop 2010AB", "N3[2], segment 15 of the set"),
    ],
    "x270": [(LOST, "SE[1]-01, segment 14 of the set, came: 14")],
    "x271": [(LOST, "SE[1]-01, segment 18 of the set, came: 18")],
    # The sets land; the trailer that does not agree is a record of its own.
    "x12_complex": [(GE_COUNT, "GE-01, came: 2")],
    "x12_multiple_st": [(GE_COUNT, "GE-01, came: 2")],
    "x12_multiple_gs": [(IEA_COUNT, "IEA-01, came: 3")],
}


@cache
def samples() -> dict[str, list[Converted]]:
    """What the records of each file became."""
    return {path.stem: [to_fhir(r) for r in records(path.read_bytes())] for path in sorted(SAMPLES.rglob("x*.txt"))}


@cache
def examples() -> list[Converted]:
    return [to_fhir(r) for path in sorted(EXAMPLES.glob("*.edi")) for r in records(path.read_bytes())]


def everything() -> Iterator[Resource]:
    for result in (*(result for results in samples().values() for result in results), *examples()):
        yield from result.resources


def kinds(result: Converted) -> Counter[str]:
    return Counter(resource["resourceType"] for resource in result.resources)


def test_every_file_has_its_outcome():
    assert len(samples()) == 31
    assert set(samples()) == {*LANDS, *NOTHING, *QUARANTINED}
    assert all(guess_format(path.read_bytes()) == "x12" for path in SAMPLES.rglob("x*.txt"))


@pytest.mark.parametrize("name", LANDS)
def test_what_lands(name):
    assert [kinds(result) for result in samples()[name] if result.error is None] == LANDS[name]


def test_what_the_complex_file_becomes():
    sets = [result for result in samples()["x12_complex"] if result.error is None]
    assert [kinds(result)["Claim"] for result in sets] == [3, 3]
    assert kinds(sets[0])["RelatedPerson"] == 1
    first = next(r for r in sets[0].resources if r["resourceType"] == "Claim")
    assert [i["focal"] for i in first["insurance"]] == [True, False]
    # Its three other coverages carry one member number and one payer: they are one, of three groups.
    other = next(r for r in sets[0].resources if r["resourceType"] == "Coverage" and len(r.get("class", ())) > 1)
    assert [group["value"] for group in other["class"]] == ["GR00786", "GR00788", "GR00789"]
    assert "Organization.name is told differently within the set: the first stands" in [
        problem.reason for problem in sets[0].problems
    ]


@pytest.mark.parametrize("name", QUARANTINED)
def test_what_is_quarantined_and_why(name):
    held = [result for result in samples()[name] if result.error]
    assert [(p.reason, p.place) for r in held for p in r.problems if p.severity == "error"] == QUARANTINED[name]
    assert all(result.resources == [] for result in held)


@pytest.mark.parametrize("name", NOTHING)
def test_what_holds_no_facts_says_so(name):
    (result,) = samples()[name]
    assert (result.error, result.resources) == (None, [])
    assert any("nothing is made of it" in problem.reason for problem in result.problems)


def test_no_problem_tells_a_value():
    told = {p.reason + p.place for results in samples().values() for result in results for p in result.problems}
    for value in ("DOE", "JOHN", "A37YH556", "CALVERTON", "19611124", "1234567890", "99211"):
        assert not any(value in text for text in told)


def test_all_of_it_is_typed_fhir():
    by_type: dict[str, list[str]] = {}
    for resource in everything():
        by_type.setdefault(resource["resourceType"], []).append(dumps(resource))
    assert len(by_type) == 9
    for kind, lines in by_type.items():
        schema = pa.schema([pa.field("resourceType", pa.string()), *fhir_schema(whole_tree(kind))])
        parsed = parse(pa.array(lines), schema)
        assert not parsed.bad, kind
        # Extensions and labels are not typed: they are kept with the rest of the resource.
        untyped = [name for name in parsed.unexpected if ".extension." not in name and "meta.security" not in name]
        assert untyped == [], kind
        assert parsed.table.num_rows == len(lines)


def missing(value: Resource, kind: str, path: str) -> Iterator[str]:
    """What R4 requires and is not there, and codes outside a required binding."""
    known = elements(kind)
    choices = Counter(known[name].choice for name in value if name in known and known[name].choice)
    yield from (f"{path}.{choice}[x] twice" for choice, count in choices.items() if count > 1)
    for name, element in known.items():
        held = value.get(name, value.get(f"_{name}"))
        if element.minimum and not element.choice and held is None:
            yield f"{path}.{name}"
        for item in held if isinstance(held, list) else [held] if held is not None else []:
            if isinstance(item, dict) and element.type in ("Extension", "Resource"):
                continue
            if isinstance(item, dict) and name in value:
                yield from missing(item, element.type, f"{path}.{name}") if "extension" not in item else ()
            elif element.type == "code" and element.codes and name in value and item not in element.codes:
                yield f"{path}.{name}: {item}"


def test_nothing_that_r4_requires_is_missing():
    assert Counter(fault for r in everything() for fault in missing(r, r["resourceType"], r["resourceType"])) == {}


def test_references_are_resolved_within_a_set():
    for result in (*samples()["x12_complex"], *examples()[:-1], *samples()["x223-test"]):
        known = {f"{r['resourceType']}/{r['id']}" for r in result.resources}
        told = set(_references(result.resources))
        assert {reference for reference in told if not reference.startswith("Claim/")} <= known


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_the_command_converts_and_says_what_it_held(tmp_path):
    output = tmp_path / "out.ndjson"
    paths = [str(path) for path in sorted(EXAMPLES.glob("*.edi"))]
    whole = CliRunner().invoke(app, ["convert", *paths, "--zone", "America/Chicago", "-o", str(output)])
    assert whole.exit_code == 0, whole.output
    assert "3 files, 4 records" in whole.output
    assert "ExplanationOfBenefit" in whole.output
    assert '"total":{"value":257.50,"currency":"USD"}' in output.read_text()
    broken = SAMPLES / "837_5010/x12_missing_elements.txt"
    held = CliRunner().invoke(app, ["convert", str(broken), *paths, "-f", "x12", "-o", str(output)])
    assert isinstance(held.exception, QuarantinedError)
    rows = [json.loads(line) for line in (tmp_path / "out.quarantine.ndjson").read_text().splitlines()]
    assert {row["offset"] for row in rows} == {broken.read_bytes().index(b"ST*837")}
    assert ("CLM-05.1 is missing", "CLM[2]-05.1, segment 29 of the set") in [(r["reason"], r["place"]) for r in rows]
    assert '"PaymentReconciliation"' in output.read_text()
