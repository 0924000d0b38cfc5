"""C-CDA documents for tests: a header around what a test is about."""

from __future__ import annotations

import json
from typing import Any

from cohortlake.core.ccda import to_fhir
from cohortlake.core.convert import Converted, Record, dumps

T = "2.16.840.1.113883.10.20.22.4"
PATIENT = """
<recordTarget><patientRole><id root="2.16.840.1.113883.19.5" extension="P1"/>
  <patient><name><given>Ann</given><family>Lee</family></name><administrativeGenderCode code="F"/></patient>
</patientRole></recordTarget>"""


def document(
    entries: str = "",
    *,
    text: str = "",
    section: str = "11450-4",
    header: str = PATIENT,
    time: str = "20240102030405+0100",
) -> bytes:
    """A document with one section; `entries` are its acts, each in an `entry`, `text` its narrative."""
    body = f"<text>{text}</text>" if text else ""
    entry = f"<entry>{entries}</entry>" if entries else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <id root="1.2.3" extension="D1"/>
  <code code="34133-9" codeSystem="2.16.840.1.113883.6.1"/>
  <title>Summary</title>
  <effectiveTime value="{time}"/>
  <setId root="1.2.3" extension="S1"/><versionNumber value="2"/>
  {header}
  <author><time value="20240101"/><assignedAuthor><id root="2.16.840.1.113883.4.6" extension="99"/>
    <assignedPerson><name><family>Good</family></name></assignedPerson></assignedAuthor></author>
  <component><structuredBody><component><section>
    <code code="{section}" codeSystem="2.16.840.1.113883.6.1"/><title>Section</title>{body}{entry}
  </section></component></structuredBody></component>
</ClinicalDocument>""".encode()


def converted(payload: bytes) -> Converted:
    """What a document becomes."""
    return to_fhir(Record(0, payload))


def resources(payload: bytes, kind: str) -> list[dict[str, Any]]:
    """The resources of a type that a document becomes, as JSON has them."""
    result = converted(payload)
    assert result.error is None, result.error
    return [json.loads(dumps(resource)) for resource in result.resources if resource["resourceType"] == kind]
