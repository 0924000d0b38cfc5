"""Real C-CDA: hospital C's documents, a converter's samples and HL7's fragments go through, valid and linked."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest

from cohortlake.core.catalog.resource import whole_tree
from cohortlake.core.ccda import records, to_fhir
from cohortlake.core.convert import Converted, Options, Record, dumps, guess_format
from cohortlake.core.fhir.definitions import elements, primitive_types
from cohortlake.core.readers.fhir_json import parse
from spark_jobs.fhir_types import fhir_schema

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
SITE, SAMPLES = DATA / "site_c_ccda_cpcds", DATA / "ccda_samples_fhir_converter"
FRAGMENTS = DATA / "ccda_fragments_hl7"
for folder in (SITE, SAMPLES, FRAGMENTS):
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (set COHORTLAKE_DATA)", allow_module_level=True)

Resource = dict[str, Any]
Result = tuple[str, Record, Converted]


def convert(paths: list[Path], most: int | None = None) -> list[Result]:
    """Every document of the files, or the first ones of each."""
    return [
        (path.stem, record, to_fhir(record, Options()))
        for path in paths
        for record in islice(records(path.read_bytes()), most)
    ]


@cache
def hospital() -> list[Result]:
    return convert([SITE / "ccda.zip"])


@cache
def some_of_hospital() -> list[Result]:
    return convert([SITE / "ccda.zip"], most=15)


@cache
def samples() -> list[Result]:
    return convert(sorted(SAMPLES.glob("*.ccda")))


@cache
def fragments() -> list[Result]:
    return convert(sorted(FRAGMENTS.rglob("*.xml")))


@cache
def wrapped() -> list[Result]:
    """HL7's fragments as documents: the header of one of its own documents around them, prefixes bound."""
    template = next(p for p in FRAGMENTS.rglob("CCD.xml")).read_text(encoding="utf-8-sig")
    head = template[: template.index("<structuredBody>")]
    root = '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    head = re.sub(r"<ClinicalDocument[^>]*>", root, head)
    made = []
    for path in sorted(FRAGMENTS.rglob("*.xml")):
        text = re.sub(r"<\?xml[^>]*\?>", "", path.read_text(encoding="utf-8-sig")).strip()
        inner = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).strip()
        name = re.match(r"<(\w+)", inner)[1]  # type: ignore[index]
        if name not in ("component", "section", "entry", "act", "observation"):
            continue
        body = inner if name == "component" else f"<component>{inner}</component>"
        if name not in ("component", "section"):
            body = f"<component><section><entry>{inner}</entry></section></component>"
        payload = f"{head}<structuredBody>{body}</structuredBody></component></ClinicalDocument>".encode()
        made.append((path.stem, Record(0, payload), to_fhir(Record(0, payload))))
    return made


def everything() -> Iterator[Result]:
    yield from (*hospital(), *samples(), *fragments(), *wrapped())


@pytest.mark.acceptance
def test_every_document_lands_or_says_why_not():
    assert len(hospital()) == 134
    assert len(samples()) == 22
    assert len(fragments()) == 66
    assert [name for name, _, made in (*hospital(), *samples()) if made.error] == []
    reasons = Counter(made.error.reason if made.error else "lands" for _, _, made in fragments())
    assert reasons == {
        "not well-formed XML: unbound prefix": 38,
        "a fragment without ClinicalDocument: whose it is is not said": 20,
        "lands": 8,
    }
    assert all(not made.resources for _, _, made in fragments() if made.error)
    for path in (*SAMPLES.glob("*.ccda"), *FRAGMENTS.rglob("*.xml"), SITE / "ccda.zip"):
        assert guess_format(path.read_bytes()) == "ccda", path.name


def test_a_fragment_lands_once_it_is_somebodys():
    assert len(wrapped()) >= 50
    assert [(name, made.error) for name, _, made in wrapped() if made.error] == []
    facts = {name: sum(r["resourceType"] not in HEADER for r in made.resources) for name, _, made in wrapped()}
    assert [name for name, count in facts.items() if not count] == NOTHING_TO_MAKE


HEADER = frozenset(
    ("Composition", "Patient", "Practitioner", "Organization", "Device", "RelatedPerson", "Encounter", "Location")
)
# Sections that say that there is no information, and acts that carry no template.
NOTHING_TO_MAKE = [
    "No Information Allergies(C-CDA2.1)",
    "Encounter text and originalText references (C-CDAR2.1)",
    "Observation text and originalText references (C-CDAR2.1)",
    "Supply text and originalText references (C-CDAR2.1)",
    "No Information Problems(C-CDA2.1)",
    "Health Concerns Narrative Only(C-CDA2.1)",
    "No Information Immunizations(C-CDA2.1)",
]


@pytest.mark.acceptance
def test_what_hospital_c_says_is_what_it_becomes():
    text = "".join(record.payload.decode() for _, record, _ in hospital())
    by_type = Counter(r["resourceType"] for _, _, made in hospital() for r in made.resources)
    entries = Counter(re.findall(r'<templateId root="2\.16\.840\.1\.113883\.10\.20\.22\.4\.(\d+)"/>', text))
    dated = Counter(
        re.findall(r'<templateId root="2\.16\.840\.1\.113883\.10\.20\.22\.4\.(\d+)" extension="[\d-]+"/>', text)
    )
    told = {number: max(entries[number], dated[number]) for number in entries.keys() | dated.keys()}
    assert by_type["Condition"] == told["4"]
    assert by_type["AllergyIntolerance"] == told["7"]
    assert by_type["Procedure"] == told["14"]
    assert by_type["MedicationRequest"] == told["16"]
    assert by_type["Immunization"] == told["52"]
    assert by_type["Encounter"] == told["49"]
    assert by_type["DiagnosticReport"] == told["1"]
    # Scores that stand in two sections under one id are one observation.
    twice = told["2"] + told["26"] + told["27"] + told["69"] + told["78"] - by_type["Observation"]
    assert 0 < twice <= told["69"]
    # A reaction has one severity: what its allergy says besides is not mapped, and counted; nothing else is left.
    left = sum((made.unmapped for _, _, made in hospital()), Counter())
    others = sum(severities_beside_the_first(record.payload) for _, record, _ in hospital())
    assert left == {"AllergyIntolerance.reaction.severity: further repetitions": others}
    assert others == 98
    # An encounter's class follows from its type, and six types say none: 161 encounters.
    unknown = sum((made.codes for _, _, made in hospital()), Counter())
    assert {name for name, _ in unknown} == {"snomed_class"}
    assert (len(unknown), unknown.total()) == (6, 161)


def severities_beside_the_first(document: bytes) -> int:
    """Of each reaction, the severities that differ from its first: its own, or (it has none) those of its allergy."""
    root = ElementTree.fromstring(document)  # noqa: S314
    around = {child: parent for parent in root.iter() for child in parent}

    def severities(observation: ElementTree.Element) -> list[str | None]:
        inner = observation.findall("{*}entryRelationship/{*}observation")
        return [
            one.get("code")
            for o in inner
            if o.find("{*}code[@code='SEV']") is not None
            for one in o.findall("{*}value")
        ]

    reactions = [o for o in root.iter("{urn:hl7-org:v3}observation")
                 if o.find("{*}templateId[@root='2.16.840.1.113883.10.20.22.4.9']") is not None]  # fmt: skip
    told = (severities(reaction) or severities(around[around[reaction]]) for reaction in reactions)
    return sum(code != codes[0] for codes in told for code in codes[1:])


@pytest.mark.acceptance
def test_the_patients_are_the_payers_members():
    with gzip.open(SITE / "CPCDS_Members.csv.gz", "rt", encoding="utf-8") as lines:
        members = {row["Member id"]: row for row in csv.DictReader(lines)}
    patients = [r for _, _, made in hospital() for r in made.resources if r["resourceType"] == "Patient"]
    assert len(patients) == len(members) == 134
    for patient in patients:
        member = members[patient["identifier"][0]["value"]]
        name = patient["name"][0]
        assert patient["gender"] == {"F": "female", "M": "male"}[member["Gender code"]]
        assert patient["birthDate"] == member["Date of birth"]
        told = " ".join([*name["given"], name["family"]])
        assert told.lower().split() == member["Name"].lower().split()


@pytest.mark.acceptance
def test_all_of_it_is_typed_fhir():
    by_type: dict[str, list[str]] = defaultdict(list)
    for _, _, made in everything():
        for resource in made.resources:
            by_type[resource["resourceType"]].append(dumps(resource))
    assert len(by_type) >= 23
    for kind, lines in by_type.items():
        schema = pa.schema([pa.field("resourceType", pa.string()), *fhir_schema(whole_tree(kind))])
        parsed = parse(pa.array(lines), schema)
        assert parsed.bad == {}, kind
        assert parsed.table.num_rows == len(lines)


def wrong(value: dict[str, Any], kind: str, path: str) -> Iterator[str]:
    """What of a value is not as R4 defines its type: elements, what is required, codes, lists."""
    known = elements(kind)
    for name in value.keys() - known.keys() - {"resourceType"}:
        if not (name.startswith("_") and name[1:] in known):
            yield f"{path}.{name} is not R4's"
    chosen = Counter(known[name].choice for name in value if name in known and known[name].choice)
    yield from (f"{path}.{name}[x] has {count} types" for name, count in chosen.items() if count > 1)
    for element in known.values():
        names = [e.name for e in known.values() if element.choice and e.choice == element.choice] or [element.name]
        if element.minimum and "extension" not in value and not any(n in value or f"_{n}" in value for n in names):
            yield f"{path}.{element.name} is missing"
    for name, inner in value.items():
        element = known.get(name)
        if element is None:
            continue
        if isinstance(inner, list) != element.is_list or inner in ([], {}, "", None):
            yield f"{path}.{name} is empty, or no list where one is wanted"
        for item in inner if isinstance(inner, list) else [inner]:
            if element.codes and isinstance(item, str) and item not in element.codes:
                yield f"{path}.{name} is {item}"
            if isinstance(item, dict) and element.type not in primitive_types():
                yield from wrong(item, element.type, f"{path}.{name}")


@pytest.mark.acceptance
def test_every_element_is_r4s_and_what_is_required_is_there():
    found = Counter(
        reason
        for _, _, made in everything()
        for resource in made.resources
        for reason in wrong(resource, resource["resourceType"], resource["resourceType"])
    )
    assert found == {}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_resolves_within_its_document_and_every_id_is_there_once():
    for name, _, made in (*some_of_hospital(), *samples(), *fragments(), *wrapped()):
        ids = Counter(f"{r['resourceType']}/{r['id']}" for r in made.resources)
        assert max(ids.values(), default=1) == 1, name
        assert {r for resource in made.resources for r in references(resource)} <= ids.keys(), name


def test_the_narrative_is_kept_whole():
    for name, record, made in (*some_of_hospital(), *samples()):
        composition = next(r for r in made.resources if r["resourceType"] == "Composition")
        divs = json.dumps(composition.get("section", []))
        told = len(re.findall(rb"<(?:\w+:)?section[\s>]", re.sub(rb"<!--.*?-->", b"", record.payload, flags=re.DOTALL)))
        assert divs.count('"title"') + divs.count('"code": {') >= told, name


def test_the_same_document_gives_the_same_resources():
    for _, record, made in samples():
        assert [dumps(r) for r in to_fhir(record, Options()).resources] == [dumps(r) for r in made.resources]


def test_an_embedded_document_comes_out_as_it_went_in():
    name, record, made = next(result for result in samples() if result[0] == "Unstructured_Document_embed")
    data = re.search(rb'representation="B64"[^>]*>([^<]+)<', record.payload)
    assert data is not None, name
    found = [r for r in made.resources if r["resourceType"] == "DocumentReference"]
    [attachment] = [content["attachment"] for r in found for content in r["content"]]
    assert base64.b64decode(attachment["data"]) == base64.b64decode(b"".join(data[1].split()))
