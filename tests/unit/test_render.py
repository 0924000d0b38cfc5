"""What came in as FHIR comes out as it was written, but for the order of its elements."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.fhir.render import resources
from cohortlake.core.readers.fhir_json import parse
from spark_jobs.fhir_types import fhir_schema
from tests.hospitals import lines
from tests.unit.test_fhir_json import mutated


def as_written(line: str):
    """JSON as Python has it, numbers as text: 1.0 is not 1.00."""
    return json.loads(line, parse_float=str)


def round_trip(resource_type: str, made: list[str]) -> list[tuple[str, str]]:
    """The good lines, each with what becomes of it."""
    schema = fhir_schema(load_catalog().resources[resource_type])
    parsed = parse(pa.array(made), pa.schema([pa.field("resourceType", pa.string()), *schema]))
    again = resources(resource_type, parsed.table.drop_columns(["resourceType"]), parsed.rest)
    return [(made[place], text) for place, text in zip(parsed.kept.tolist(), again.to_pylist(), strict=True)]


@pytest.mark.parametrize(
    "line",
    [
        '{"resourceType":"Patient","id":"1","active":true,"multipleBirthInteger":2}',
        '{"resourceType":"Patient","id":"1","name":[{"given":["A",null],"_given":[null,{"id":"g"}],"family":"\\u00e9\\"\\\\\\n"}]}',
        '{"resourceType":"Patient","_birthDate":{"extension":[{"url":"t","valueDateTime":"2000"}]},"birthDate":"2000-01"}',
        '{"resourceType":"Patient","name":[],"meta":{},"extension":null,"strange":{"a":[1.50,{"b":1e3}]}}',
        '{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o"}]}',
        ' { "resourceType" : "Patient" , "id" : "spaced" } ',
    ],
)
def test_nothing_is_lost(line):
    ((_, again),) = round_trip("Patient", [line])
    assert as_written(again) == as_written(line)


@pytest.mark.parametrize("resource_type", ["Patient", "Claim", "Observation"])
def test_mutated_records_come_back(resource_type):
    chance = random.Random(7)
    base = [json.loads(line) for line in lines(f"site_a_fhir_r4/{resource_type}.ndjson.gz")[:40]]
    changed = [mutated(resource, chance) for resource in base * 9]
    made = [json.dumps({**r, "resourceType": resource_type}) for r in changed if isinstance(r, dict)]
    pairs = round_trip(resource_type, made)
    assert len(pairs) > 15
    for line, again in pairs:
        assert as_written(again) == as_written(line)
