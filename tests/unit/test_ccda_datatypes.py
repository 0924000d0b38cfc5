"""CDA datatypes as FHIR's: a snippet of XML beside what it becomes."""

# A row of the table is a line.
# ruff: noqa: E501

from __future__ import annotations

import json
from typing import Any

import pytest

from cohortlake.core.ccda.datatypes import choices, value_of
from cohortlake.core.ccda.declared import load_ccda
from cohortlake.core.ccda.run import Run
from cohortlake.core.convert import Options, dumps
from cohortlake.core.readers.ccda import Node, parse
from tests.ccda_documents import document

TEXT = '<paragraph ID="p1">Wheezing <content styleCode="Bold">badly</content></paragraph>'


def read(snippet: str) -> tuple[Node, Run]:
    """The element of a snippet, in a document whose narrative holds the id `p1`."""
    root = parse(document(f"<act>{snippet}</act>", text=TEXT))
    act = next(node for node in root.within() if node.name == "act")
    node = next(child for child in act.children if isinstance(child, Node))
    return node, Run(load_ccda(), root, Options())


def value(snippet: str, kind: str) -> Any:
    node, run = read(snippet)
    return json.loads(dumps({"v": value_of(node, kind, run)}))["v"]


UUID = "67265ed2-35bb-43f8-b9de-91c5935625e0"
UNIT = {"unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
SNOMED, ICD = "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10-cm"
TABLE = [
    # Identifier: the cases of the guide's table.
    ("Identifier", '<id root="2.16.840.1.113883.4.1" extension="123-45-6789"/>', {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "123-45-6789"}),
    ("Identifier", '<id root="2.16.840.1.113883.4.500" extension="1234"/>', {"system": "urn:oid:2.16.840.1.113883.4.500", "value": "1234"}),
    ("Identifier", '<id root="2.16.840.1.123.4.50"/>', {"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.16.840.1.123.4.50"}),
    ("Identifier", f'<id root="{UUID.upper()}"/>', {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{UUID}"}),
    ("Identifier", f'<id root="{UUID}" extension="abcd"/>', {"system": f"urn:uuid:{UUID}", "value": "abcd"}),
    ("Identifier", '<id extension="Z1124"/>', {"value": "Z1124"}),
    ("Identifier", '<id root="2.16.840.1.113883.4.873" extension="http://myorg.com/patient/1234"/>', {"system": "http://myorg.com/patient", "value": "1234"}),
    ("Identifier", '<id root="2.16.840.1.113883.4.873" extension="urn:myNID:myOrg:Z3321"/>', {"system": "urn:myNID:myOrg", "value": "Z3321"}),
    ("Identifier", '<id root="2.16.840.1.113883.4.6"/>', None),
    ("Identifier", '<id nullFlavor="NI"/>', None),
    ("Identifier", '<id root="1.2" nullFlavor="UNK"/>', None),
    ("Identifier", '<id root="1.2" extension="7" assigningAuthorityName="Clinic"/>', {"system": "urn:oid:1.2", "value": "7", "assigner": {"display": "Clinic"}}),
    # Times: as precise as they were sent.
    ("dateTime", '<t value="2015"/>', "2015"),
    ("dateTime", '<t value="201503"/>', "2015-03"),
    ("dateTime", '<t value="20150301"/>', "2015-03-01"),
    ("dateTime", '<t value="201503012205-0500"/>', "2015-03-01T22:05:00-05:00"),
    ("dateTime", '<t value="20150301220501.123+0000"/>', "2015-03-01T22:05:01.123+00:00"),
    ("dateTime", '<t value="20150301220501Z"/>', "2015-03-01T22:05:01+00:00"),
    ("dateTime", '<t value="20150301220501"/>', "2015-03-01T22:05:01+01:00"),
    ("dateTime", '<t><low value="2015"/><high value="2016"/></t>', "2015"),
    ("dateTime", '<t value="20151301"/>', None),
    ("dateTime", '<t nullFlavor="UNK"/>', None),
    ("date", '<t value="19971204005602"/>', "1997-12-04"),
    ("date", '<t value="199712"/>', "1997-12"),
    ("Period", '<t><low value="2015"/><high nullFlavor="UNK"/></t>', {"start": "2015"}),
    ("Period", '<t><low value="2015"/><high value="20160102"/></t>', {"start": "2015", "end": "2016-01-02"}),
    ("Period", '<t value="2015"/>', {"start": "2015"}),
    ("Period", '<t nullFlavor="UNK"/>', None),
    # Codes.
    ("CodeableConcept", '<c code="1" codeSystem="2.16.840.1.113883.6.96" displayName="One"/>', {"coding": [{"system": SNOMED, "code": "1", "display": "One"}]}),
    ("CodeableConcept", '<c code="1" codeSystem="1.2.3.4"/>', {"coding": [{"system": "urn:oid:1.2.3.4", "code": "1"}]}),
    ("CodeableConcept", '<c code="1" codeSystem="2.16.840.1.113883.6.96"><translation code="A1" codeSystem="2.16.840.1.113883.6.90"/></c>', {"coding": [{"system": SNOMED, "code": "1"}, {"system": ICD, "code": "A1"}]}),
    ("CodeableConcept", '<c nullFlavor="OTH"><originalText>odd</originalText><translation code="A1" codeSystem="2.16.840.1.113883.6.90"/></c>', {"coding": [{"system": ICD, "code": "A1"}], "text": "odd"}),
    ("CodeableConcept", '<c nullFlavor="UNK"><originalText><reference value="#p1"/></originalText></c>', {"text": "Wheezing badly"}),
    ("CodeableConcept", '<c nullFlavor="UNK"><originalText><reference value="#gone"/></originalText></c>', None),
    ("CodeableConcept", '<c nullFlavor="UNK"/>', None),
    ("CodeableConcept", '<c displayName="words"/>', {"text": "words"}),
    # Quantities.
    ("Quantity", '<v value="13.40" unit="mg/dL"/>', {"value": 13.40, **UNIT}),
    ("Quantity", '<v value="1" unit="1"/>', {"value": 1, "system": "http://unitsofmeasure.org", "code": "1"}),
    ("Quantity", '<v value="30"/>', {"value": 30}),
    ("Quantity", '<v value="2" unit="per day"/>', {"value": 2, "unit": "per day"}),
    ("Quantity", '<v value="many"/>', None),
    ("Quantity", '<v nullFlavor="OTH"><translation value="25" nullFlavor="OTH"><originalText>drops</originalText></translation></v>', {"value": 25, "unit": "drops"}),
    ("Quantity", '<v nullFlavor="OTH"><translation value="30" code="EA" codeSystem="2.16.840.1.113883.2.13"><originalText>each</originalText></translation></v>', {"value": 30, "unit": "each", "system": "urn:oid:2.16.840.1.113883.2.13", "code": "EA"}),
    ("Quantity", '<v><high value="200" unit="mg/dL"/></v>', {"value": 200, "comparator": "<=", **UNIT}),
    ("Quantity", '<v><low value="0" unit="mg/dL"/><high value="200" unit="mg/dL" inclusive="false"/></v>', {"value": 200, "comparator": "<", **UNIT}),
    ("Quantity", '<v><low value="500" unit="mg/dL"/><high nullFlavor="PINF"/></v>', {"value": 500, "comparator": ">=", **UNIT}),
    ("Quantity", '<v><low value="2" unit="mg/dL"/><high value="3" unit="mg/dL"/></v>', None),
    ("Range", '<v><low value="2" unit="mg/dL"/><high value="3" unit="mg/dL"/></v>', {"low": {"value": 2, **UNIT}, "high": {"value": 3, **UNIT}}),
    ("Ratio", '<v><numerator value="6" unit="{spray}"/><denominator value="1" unit="d"/></v>', {"numerator": {"value": 6, "unit": "{spray}", "system": "http://unitsofmeasure.org", "code": "{spray}"}, "denominator": {"value": 1, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}}),
    ("integer", '<v value="7"/>', 7),
    ("integer", '<v value="7.5"/>', None),
    ("boolean", '<v value="true"/>', True),
    ("decimal", '<v value="0.50"/>', 0.5),
    ("string", "<v>plain  words</v>", "plain words"),
    ("string", '<v><reference value="#p1"/></v>', "Wheezing badly"),
    # Names, addresses, telecoms.
    ("HumanName", '<n use="L"><prefix>Dr</prefix><given>Ann</given><given>B</given><family>Lee</family><suffix>MD</suffix></n>', {"use": "usual", "family": "Lee", "given": ["Ann", "B"], "prefix": ["Dr"], "suffix": ["MD"]}),
    ("HumanName", "<n>Ann Lee</n>", {"text": "Ann Lee"}),
    ("HumanName", '<n><family>Lee</family><validTime><low value="2010"/></validTime></n>', {"family": "Lee", "period": {"start": "2010"}}),
    ("HumanName", '<n nullFlavor="UNK"/>', None),
    ("Address", '<a use="HP"><streetAddressLine>1 Road</streetAddressLine><city>Kent</city><state>WA</state><postalCode>98030</postalCode><country>US</country></a>', {"use": "home", "line": ["1 Road"], "city": "Kent", "state": "WA", "postalCode": "98030", "country": "US"}),
    ("Address", "<a>1 Road, Kent</a>", {"text": "1 Road, Kent"}),
    ("Address", '<a nullFlavor="NA"/>', None),
    ("ContactPoint", '<t use="MC" value="tel:+1(555)555-2003"/>', {"system": "phone", "value": "+1(555)555-2003", "use": "mobile"}),
    ("ContactPoint", '<t use="PG" value="tel: 555"/>', {"system": "pager", "value": "555", "use": "mobile"}),
    ("ContactPoint", '<t value="mailto:a@b.org"/>', {"system": "email", "value": "a@b.org"}),
    ("ContactPoint", '<t value="https://b.org/x"/>', {"system": "url", "value": "https://b.org/x"}),
    ("ContactPoint", '<t value="555-1234"/>', {"system": "phone", "value": "555-1234"}),
    ("ContactPoint", '<t nullFlavor="NA"/>', None),
    # ED.
    ("Attachment", '<t mediaType="application/pdf" representation="B64">aGVs\n bG8=</t>', {"contentType": "application/pdf", "data": "aGVsbG8="}),
    ("Attachment", "<t>hello</t>", {"contentType": "text/plain", "data": "aGVsbG8="}),
    ("Attachment", '<t mediaType="application/pdf"><reference value="a.pdf"/></t>', {"contentType": "application/pdf", "url": "a.pdf"}),
    ("Attachment", "<t/>", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "snippet", "expected"), TABLE)
def test_datatype(kind, snippet, expected):
    assert value(snippet, kind) == expected


@pytest.mark.parametrize(
    ("snippet", "first"),
    [
        ('<value xsi:type="PQ" value="1"/>', "Quantity"),
        ('<value xsi:type="CD" code="1"/>', "CodeableConcept"),
        ('<value xsi:type="CO" code="1"/>', "CodeableConcept"),
        ('<value xsi:type="ST">x</value>', "String"),
        ('<value xsi:type="INT" value="1"/>', "Integer"),
        ('<value xsi:type="IVL_PQ"/>', "Quantity"),
        ('<value xsi:type="TS" value="2015"/>', "DateTime"),
        ('<effectiveTime value="2015"/>', "DateTime"),
        ('<effectiveTime><low value="2015"/></effectiveTime>', "Period"),
        ('<effectiveTime><low value="2015"/><high value="2015"/></effectiveTime>', "DateTime"),
        ('<effectiveTime><low value="2015"/><high value="2016"/></effectiveTime>', "Period"),
    ],
)
def test_the_type_of_a_choice_follows_from_the_value(snippet, first):
    assert choices(read(snippet)[0])[0] == first


def test_a_code_system_that_is_not_known_is_counted():
    node, run = read('<c code="1" codeSystem="1.2.3.4"/>')
    value_of(node, "CodeableConcept", run)
    assert run.codes == {("code systems", "1.2.3.4"): 1}


def test_a_time_that_is_none_is_told_with_its_place():
    node, run = read('<t value="yesterday"/>')
    assert value_of(node, "dateTime", run) is None
    [problem] = run.problems.values()
    assert (problem.reason, problem.severity) == ("a time that is none is left out", "warning")
    assert problem.place.startswith("<t> line ")


def test_base64_that_is_none_is_kept_as_text():
    node, run = read('<t representation="B64">not base64!</t>')
    assert value_of(node, "Attachment", run)["contentType"] == "text/plain"
    assert [problem.reason for problem in run.problems.values()] == ["base64 data that is none is kept as text"]
