"""The HL7 v2 maps themselves: wrong declarations are told with file and line, and no message makes the mapper raise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.convert import FORMATS, Options, Record, dumps, format_named, guess_format
from cohortlake.core.errors import CatalogError, UsageError
from cohortlake.core.hl7v2 import to_fhir
from cohortlake.core.hl7v2.declared import FOLDER, load_hl7v2
from cohortlake.core.hl7v2.mapper import Mapper
from cohortlake.core.hl7v2.primitives import Clock, convert

SEGMENTS = sorted({s.segment for s in load_hl7v2().resources.values()} | {"NTE", "RXR", "TQ1", "AIP", "PV2", "ZZZ"})
EVENTS = sorted(f"{name}^{event}" for name, message in load_hl7v2().messages.items() for event in message.triggers)
FIELD = st.text('AB19^&~.\\"- 20250102+NMCWESTX|', max_size=24)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(EVENTS), st.lists(st.tuples(st.sampled_from(SEGMENTS), st.lists(FIELD, max_size=30)), max_size=8)
)
def test_no_message_raises_and_what_lands_is_whole(event, segments):
    lines = [f"MSH|^~\\&|A|B|||20250102||{event}|1|P|2.5.1", *("|".join([name, *fields]) for name, fields in segments)]
    converted = to_fhir(Record(0, "\r".join(lines).encode()), Options())
    assert converted.error is None
    ids = [(r["resourceType"], r["id"]) for r in converted.resources]
    assert len(ids) == len(set(ids))
    assert all(json.loads(dumps(r))["id"] == r["id"] for r in converted.resources)


WRONG = [
    # file, what is replaced, by what, what the error says
    ("resources/PID.Patient.yaml", "birthDate:", "birthday:", "Patient has no element 'birthday'"),
    ("resources/PID.Patient.yaml", '"=PID-8 | 0001"', '"=PID-8 | 9999"', "no map or turn '9999'"),
    ("resources/PID.Patient.yaml", '"=PID-8 | 0001"', '"=PID8"', "'PID8' is not a source"),
    ("resources/PID.Patient.yaml", "resource: Patient", "resource: Person2", "'Person2' is not an R4 resource type"),
    ("resources/PID.Patient.yaml", "$when: not PID-29", "$when: PID-29 ~ 1", "is not"),
    ("resources/PID.Patient.yaml", "key:", "keys:", "keys is not known here"),
    (
        "resources/PV1.Encounter.yaml",
        '"=PV1-10 | CWE.CodeableConcept 0069"',
        '"=PV1-10 | CX.Identifier"',
        "makes a Identifier",
    ),
    ("datatypes/CWE.Coding.yaml", '".1"', ".1", "quote it"),
    ("datatypes/CX.Identifier.yaml", "fhir: Identifier", "fhir: Identity", "R4 has no type 'Identity'"),
    ("messages/VXU.yaml", "RXA.Immunization", "RXA.Vaccine", "there is no resources/RXA.Vaccine.yaml"),
    ("groups.yaml", "groups: [patient, appointment]", "groups: [patients]", "'patients' that is not declared"),
]


@pytest.mark.parametrize(("file", "good", "bad", "said"), WRONG)
def test_a_wrong_declaration_is_told(tmp_path: Path, file: str, good: str, bad: str, said: str):
    folder = tmp_path / "hl7v2"
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert good in text
    (folder / file).write_text(text.replace(good, bad, 1), encoding="utf-8")
    with pytest.raises(CatalogError, match=said) as caught:
        Mapper(load_hl7v2(folder))
    assert file in str(caught.value)


def test_each_map_is_made_by_a_message_and_each_has_a_group():
    declared = load_hl7v2()
    triggers = [t for message in declared.messages.values() for t in message.triggers.values()]
    made = {name for message in declared.messages.values() for name in message.makes}
    made |= {name for trigger in triggers for name in trigger.makes or ()}
    assert made == set(declared.resources)
    placed = {s for group in declared.groups.values() for s in (*group.opens, *group.members)}
    assert {segment.segment for segment in declared.resources.values()} <= placed


def test_formats_are_found_by_name_and_by_content():
    assert all(format_named(name) for name in FORMATS)
    assert guess_format(b"\xef\xbb\xbfMSH|^~\\&|A") == "hl7v2"
    assert guess_format(b"\x0bMSH|^~\\&|A") == "hl7v2"
    assert guess_format(b"MSHAPED") is None
    with pytest.raises(UsageError, match="no format"):
        format_named("morse")


@pytest.mark.parametrize(
    ("sent", "kind", "made"),
    [
        ("20250103101559", "dateTime", "2025-01-03T10:15:59+00:00"),
        ("20250103101560", "dateTime", "2025-01-03T10:15:60+00:00"),
        ("20250103101561", "dateTime", None),
        ("20250103101599", "instant", None),
        ("20250103106000", "dateTime", None),
        ("20250103240000", "dateTime", None),
        ("101559.5", "time", "10:15:59.5"),
        ("101561", "time", None),
    ],
)
def test_a_second_after_the_leap_second_is_none(sent: str, kind: str, made: str | None):
    assert convert(sent, kind, Clock("", "UTC")) == made


def test_a_code_that_no_map_knows_is_known_of_the_resource_that_says_it():
    lines = [
        "MSH|^~\\&|APP|FAC|||20250103101500||ORU^R01|1|P|2.5",
        "PID|1||7^^^FAC^MR||DOE^JANE||19700101|Q",
        "OBR|1|||1^Panel^99FAC|||20250103",
        "OBX|1|NM|718-7^Hemoglobin^LN||7|g/dL|||||F",
    ]
    converted = to_fhir(Record(0, "\r".join(lines).encode()), Options())
    met = {resource["resourceType"]: converted.codes_of(resource) for resource in converted.resources}
    assert met["DiagnosticReport"] == [("code systems", "99FAC")]
    assert ("0001", "Q") in met["Patient"]
    assert met["Observation"] == []
    assert {code for codes in met.values() for code in codes} <= converted.codes.keys()
