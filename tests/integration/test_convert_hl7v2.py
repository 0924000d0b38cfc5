"""Real HL7 v2: all samples and hospital B's feed go through, valid and linked."""

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
from cohortlake.core.convert import Converted, Options, Record, dumps, guess_format
from cohortlake.core.errors import QuarantinedError, SourceError, UsageError
from cohortlake.core.fhir.definitions import elements
from cohortlake.core.hl7v2 import records, to_fhir
from cohortlake.core.readers.fhir_json import parse
from spark_jobs.fhir_types import fhir_schema

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
SAMPLES, FEED = DATA / "hl7v2_samples_fhir_converter", DATA / "site_b_hl7v2_feed"
for folder in (SAMPLES, FEED):
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (set COHORTLAKE_DATA)", allow_module_level=True)

Resource = dict[str, Any]


@cache
def converted(folder: Path) -> list[tuple[str, Record, Converted]]:
    """Every record of a folder's files with what it became."""
    return [
        (path.stem, record, to_fhir(record, Options()))
        for path in sorted(folder.glob("*.hl7"))
        for record in records(path.read_bytes())
    ]


def everything() -> list[tuple[str, Record, Converted]]:
    return [*converted(SAMPLES), *converted(FEED)]


def test_every_message_lands():
    assert len(converted(SAMPLES)) == 139
    assert len(converted(FEED)) == 510
    assert [(name, result.error) for name, _, result in everything() if result.error] == []
    assert all(guess_format(path.read_bytes()) == "hl7v2" for path in sorted(SAMPLES.glob("*.hl7")))


def test_what_the_feed_becomes():
    kinds = Counter({(r["resourceType"], r["id"]) for _, _, result in converted(FEED) for r in result.resources})
    by_type = Counter(kind for kind, _ in kinds)
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(FEED.glob("*.hl7")))
    lines = text.replace("\n", "\r").split("\r")
    patients = {line.split("|")[3].split("^")[0] for line in lines if line.startswith("PID|")}
    visits = {line.split("|")[19] for line in lines if line.startswith("PV1|")}
    assert by_type["Patient"] == len(patients)
    assert by_type["Encounter"] == len(visits)
    assert by_type["DiagnosticReport"] == sum(line.startswith("OBR|") for line in lines)
    assert by_type["Observation"] == sum(line.startswith("OBX|") for line in lines)
    assert by_type["Provenance"] == 510


def test_all_of_it_is_typed_fhir():
    by_type: dict[str, list[str]] = {}
    for _, _, result in everything():
        for resource in result.resources:
            by_type.setdefault(resource["resourceType"], []).append(dumps(resource))
    assert len(by_type) >= 20
    for kind, lines in by_type.items():
        schema = pa.schema([pa.field("resourceType", pa.string()), *fhir_schema(whole_tree(kind))])
        parsed = parse(pa.array(lines), schema)
        assert not parsed.bad, kind
        assert parsed.table.num_rows == len(lines)


def foreign(value: Resource, kind: str, path: str) -> Iterator[str]:
    """What R4 does not know: elements, and codes outside a required binding."""
    known = elements(kind)
    for name, inner in value.items():
        if name == "resourceType" or (name.removeprefix("_") in known and name not in known):
            continue
        if name not in known:
            yield f"{path}.{name}"
            continue
        element = known[name]
        if isinstance(inner, list) != element.is_list:
            yield f"{path}.{name} (cardinality)"
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, dict):
                yield from foreign(item, element.type, f"{path}.{name}")
            elif element.type == "code" and element.codes and item not in element.codes:
                yield f"{path}.{name}: {item}"
            elif item in ("", None) or item != item:
                yield f"{path}.{name} (empty)"


def choices(value: Resource, kind: str) -> Iterator[str]:
    """Choices that are made twice (`valueString` beside `valueQuantity`)."""
    made = Counter(elements(kind)[name].choice for name in value if name in elements(kind))
    yield from (f"{kind}.{choice}" for choice, count in made.items() if choice and count > 1)


def test_nothing_in_it_is_foreign_to_r4():
    all_of_it = [r for _, _, result in everything() for r in result.resources]
    assert {path for r in all_of_it for path in foreign(r, r["resourceType"], r["resourceType"])} == set()
    assert {path for r in all_of_it for path in choices(r, r["resourceType"])} == set()


def missing(value: Resource, kind: str, path: str) -> Iterator[str]:
    """Required elements that are not there, at any depth."""
    groups: dict[str, list[str]] = {}
    for element in elements(kind).values():
        if element.minimum:
            groups.setdefault(element.choice or element.name, []).append(element.name)
    for name, names in groups.items():
        if not any(n in value or f"_{n}" in value for n in names):
            yield f"{path}.{name}"
    for name, inner in value.items():
        known = elements(kind).get(name)
        for item in inner if isinstance(inner, list) else [inner]:
            if known and isinstance(item, dict) and set(item) != {"extension"}:
                yield from missing(item, known.type, f"{path}.{name}")


def test_what_r4_requires_is_there():
    found = {
        path
        for _, _, result in everything()
        for r in result.resources
        for path in missing(r, r["resourceType"], r["resourceType"])
    }
    assert found == set()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_resolves_within_its_message():
    for name, _, result in everything():
        made = {f"{resource['resourceType']}/{resource['id']}" for resource in result.resources}
        assert len(made) == len(result.resources), name
        assert {reference for r in result.resources for reference in references(r)} <= made, name


def test_a_message_sent_twice_is_the_same():
    for name, record, result in everything():
        assert to_fhir(record, Options()).resources == result.resources, name


def test_the_command_writes_resources_and_quarantine(tmp_path):
    broken = tmp_path / "broken.hl7"
    broken.write_bytes((SAMPLES / "VXU.hl7").read_bytes() + b"\rMSH|^^|x\r")
    output = tmp_path / "out.ndjson"
    whole = CliRunner().invoke(app, ["convert", str(FEED / "feed_202501.hl7"), "-o", str(output)])
    assert whole.exit_code == 0, whole.output
    assert "1 files, 54 records" in whole.output
    assert len({json.loads(line)["id"] for line in output.read_text().splitlines()}) > 54
    assert list(tmp_path.glob("*.quarantine.ndjson")) == []
    held = CliRunner().invoke(app, ["convert", str(broken), "-f", "hl7v2", "-o", str(output)])
    assert isinstance(held.exception, QuarantinedError)
    assert held.exception.exit_code == 15
    [row] = map(json.loads, (tmp_path / "out.quarantine.ndjson").read_text().splitlines())
    assert broken.read_bytes()[row["offset"] :].startswith(b"MSH|^^|x")
    assert "MSH-2" in row["reason"]
    assert '"Immunization"' in output.read_text()


def test_the_command_says_what_is_no_file_and_what_is_no_format(tmp_path):
    output = str(tmp_path / "out.ndjson")
    other = tmp_path / "notes.txt"
    other.write_text("dear colleague")
    missing_file = CliRunner().invoke(app, ["convert", str(tmp_path / "nothing"), "-o", output])
    assert isinstance(missing_file.exception, SourceError)
    zone = CliRunner().invoke(app, ["convert", str(other), "--zone", "Mars/Base", "-o", output])
    assert isinstance(zone.exception, UsageError)
    unknown = CliRunner().invoke(app, ["convert", str(other), "-o", output])
    assert isinstance(unknown.exception, QuarantinedError)
    assert "of no format that is known" in unknown.output
