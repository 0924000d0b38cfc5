"""The HL7 v2 maps, as tables: segments in, the FHIR that must come out. Source: the v2-to-FHIR guide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cohortlake.core.convert import Converted, Options, Problem, Record, dumps
from cohortlake.core.hl7v2 import to_fhir

PID, OTHER = "PID|1||77^^^SITE^MR", "PID|1||66^^^SITE^MR"


def convert(
    event: str, *segments: str, options: Options | None = None, header: str = "20250102120000+0100"
) -> Converted:
    """One message of an event (`ADT^A01`) and its segments."""
    msh = f"MSH|^~\\&|APP|SITE|HUB|LAKE|{header}||{event}|M1|P|2.5.1"
    return to_fhir(Record(0, "\r".join([msh, *segments]).encode()), options or Options())


def made(converted: Converted, kind: str) -> list[dict[str, Any]]:
    """The resources of a type, as JSON has them."""
    return [json.loads(dumps(r)) for r in converted.resources if r["resourceType"] == kind]


def values(whole: Any, path: str) -> list[Any]:
    """The values at a path, through lists."""
    if isinstance(whole, list):
        return [value for item in whole for value in values(item, path)]
    if not path:
        return [whole]
    name, _, rest = path.partition(".")
    return values(whole[name], rest) if isinstance(whole, dict) and name in whole else []


def differences(resource: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The paths at which a resource lacks a wanted value, with what it has there."""
    return {
        path: values(resource, path)
        for path, value in wanted.items()
        if any(one not in values(resource, path) for one in (value if isinstance(value, list) else [value]))
    }


def is_passing(resource: dict[str, Any]) -> bool:
    """Whether a resource is older than whatever is told in full."""
    return "passing" in values(resource, "meta.tag.code")


def segment(name: str, fields: dict[int, str]) -> str:
    """A segment from its fields by number."""
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


V2 = "http://terminology.hl7.org/CodeSystem/v2-"
LOINC, SCT = "http://loinc.org", "http://snomed.info/sct"

PATIENTS = [
    # PID after PID-3; path to value of the Patient (a list: all of them)
    (
        "||Doe^John^Q^Jr^Dr^MD^L",
        {
            "name.use": "official",
            "name.family": "Doe",
            "name.given": ["John", "Q"],
            "name.prefix": "Dr",
            "name.suffix": ["Jr", "MD"],
        },
    ),
    ("||Doe^William^^^^^L^^^^^^^^Bill", {"name.use": "nickname", "name.given": "Bill"}),
    ("||||19630105|F", {"birthDate": "1963-01-05", "gender": "female"}),
    ("||||196301", {"birthDate": "1963-01"}),
    ("||||1963", {"birthDate": "1963"}),
    (
        "||||19630105103000",
        {"birthDate": "1963-01-05", "_birthDate.extension.valueDateTime": "1963-01-05T10:30:00+01:00"},
    ),
    ("||||||||1 Elm St^^Salem|Essex", {"address.city": "Salem", "address.district": "Essex"}),
    ("||||||||1 Elm St^^Salem^^^^^^&Essex", {"address.district": "Essex"}),
    ("|||||Q", {"gender": "unknown"}),
    (
        "||||||||1 Elm St&Elm&1^Apt 2^Salem^MA^01970^USA^H^^Essex",
        {
            "address.use": "home",
            "address.line": ["1 Elm St Elm 1", "Apt 2"],
            "address.city": "Salem",
            "address.district": "Essex",
            "address.state": "MA",
            "address.postalCode": "01970",
            "address.country": "USA",
        },
    ),
    (
        "||||||||||555-1|555-2",
        {"telecom.system": ["phone", "phone"], "telecom.value": ["555-1", "555-2"], "telecom.use": ["home", "work"]},
    ),
    ("||||||||||^PRN^Internet^a@b.org", {"telecom.system": "email", "telecom.value": "a@b.org", "telecom.use": "home"}),
    (
        "||||||||||^PRN^CP^^1^617^5551234",
        {"telecom.system": "phone", "telecom.value": "1 617 5551234", "telecom.use": "mobile"},
    ),
    (
        "|||||||2106-3^White^HL70005",
        {
            "extension.url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
            "extension.extension.url": ["ombCategory", "text"],
            "extension.extension.valueCoding.code": "2106-3",
            "extension.extension.valueString": "White",
        },
    ),
    (
        "|||||||||||||M",
        {
            "maritalStatus.coding.system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
            "maritalStatus.coding.code": "M",
        },
    ),
    ("||||||||||||||||99-9", {"identifier.system": "http://hl7.org/fhir/sid/us-ssn", "identifier.value": "99-9"}),
    ("||||||||||||||||||||||||||20250101|Y", {"deceasedDateTime": "2025-01-01"}),
    ("|||||||||||||||||||||||||||Y", {"deceasedBoolean": True}),
    ("|||||||||||||||||||||Y|2", {"multipleBirthInteger": 2}),
    ("|||||||||||||||||||||||||BT^Bhutan", {"extension.extension.valueCodeableConcept.coding.code": "BT"}),
    ("||||||||||||||||||||||||||||||||125097000^^SCT", {"extension.extension.url": "species"}),
]


@pytest.mark.parametrize(("fields", "fragment"), PATIENTS)
def test_pid_patient(fields, fragment):
    [patient] = made(convert("ADT^A28", PID + fields), "Patient")
    assert not differences(patient, fragment)


def test_a_day_of_birth_has_no_time():
    [patient] = made(convert("ADT^A28", f"{PID}||||19630105"), "Patient")
    assert "_birthDate" not in patient


def test_gt1_and_in1_related_persons():
    segments = [
        "GT1|1|G9|Ray^Lu||1 Elm^^Salem|555|556|20010412|F||MTH||20200101|20201231",
        "IN1|1|P1^Plan|C1|Ins|9 Bay^^Rye|Fox^Al||||||20200101||||Doe^Jo|SPO|19800101|2 Oak^^Lynn",
        segment("IN2", {2: "425-57-9745", 6: "MED-1", 8: "AID-1", 34: "eng"}),
    ]
    converted = convert("ADT^A01", PID, *segments)
    guarantor, insured = made(converted, "RelatedPerson")
    assert not differences(
        guarantor,
        {
            "relationship.coding.code": ["GUAR", "MTH"],
            "name.family": "Ray",
            "telecom.use": ["home", "work"],
            "birthDate": "2001-04-12",
            "period.end": "2020-12-31",
        },
    )
    assert not differences(
        insured,
        {
            "name.family": "Doe",
            "identifier.value": "425-57-9745",
            "address.city": "Lynn",
            "communication.language.coding.code": "en",
        },
    )
    [insurer] = [one for one in made(converted, "Organization") if one["name"] == "Ins"]
    assert not differences(insurer, {"identifier.value": "C1", "address.city": "Rye", "contact.name.family": "Fox"})
    [coverage] = made(converted, "Coverage")
    assert coverage["payor"] == [{"reference": f"Organization/{insurer['id']}", "display": "Ins"}]
    assert coverage["subscriber"] == {"reference": f"RelatedPerson/{insured['id']}"}
    assert {(i["type"]["coding"][0]["code"], i["value"]) for i in coverage["identifier"]} == {
        ("MC", "MED-1"),
        ("MA", "AID-1"),
    }
    # Who is the patient's own guarantor, or insured, is the patient.
    own = convert("ADT^A01", PID, "GT1|1|G9|Ray^Lu||||||||SLF", "IN1|1|P1|C1|Ins||||||||||||Ray^Lu|SEL")
    assert made(own, "RelatedPerson") == []
    assert made(own, "Coverage")[0]["subscriber"]["reference"].startswith("Patient/")


def test_next_of_kin_is_a_contact_too():
    [patient] = made(convert("ADT^A01", PID, "NK1|1|Ray^Lu|MTH|1 Elm^^Salem|555", "NK1|2||EMC"), "Patient")
    [contact] = patient["contact"]
    assert contact["name"] == {"family": "Ray", "given": ["Lu"]}
    assert contact["telecom"] == [{"system": "phone", "value": "555", "use": "home"}]


def test_pda_death():
    segments = [pv1({2: "I"}), "PDA|I21^Infarction^I10|ICU^1|N|20250102|7^Cert^Robin"]
    converted = convert("ADT^A03", PID, *segments)
    assert made(converted, "Patient")[0]["deceasedBoolean"] is True
    [cause] = made(converted, "Observation")
    assert not differences(
        cause,
        {"status": "preliminary", "code.coding.code": "69453-9", "valueCodeableConcept.coding.code": "I21"},
    )
    assert converted.unmapped == {"PDA-2": 1}


REFERRALS = [
    ("I12", "P", "active"),
    ("I13", "A", "active"),
    ("I13", "R", "revoked"),
    ("I14", "A", "revoked"),
]


@pytest.mark.parametrize(("event", "sent", "status"), REFERRALS)
def test_rf1_and_prd_referral(event, sent, status):
    segments = [
        f"RF1|{sent}|A|Med^Medical||O|9^CLINIC|20250101|20250201|20250102|O^Ordered|8^HOSPITAL",
        "PRD|RP^Referring|Powell^Bo|||||N1^SL",
        "PRD|RT^Referred to|Mc^Pa|1 Elm||^WPN^PH^^^617^555",
        PID,
        pv1({2: "O", 19: "V1"}),
    ]
    converted = convert(f"REF^{event}", *segments)
    [request], [patient] = made(converted, "ServiceRequest"), made(converted, "Patient")
    referring, referred = made(converted, "Practitioner")
    assert not differences(
        request,
        {
            "status": status,
            "priority": "asap",
            "identifier.value": ["9", "8"],
            "subject.reference": f"Patient/{patient['id']}",
            "requester.reference": f"Practitioner/{referring['id']}",
            "performer.reference": f"Practitioner/{referred['id']}",
            "occurrencePeriod.end": "2025-02-01",
            "authoredOn": "2025-01-02",
        },
    )
    assert converted.unmapped == {}


TIMINGS = [
    # TQ1 by field; the ServiceRequest
    ({7: "20250102"}, {"occurrenceDateTime": "2025-01-02"}),
    (
        {2: "2^mL", 3: "BID", 7: "20250102", 8: "20250103", 13: "15^min", 14: "4"},
        {
            "quantityQuantity.value": 2,
            "occurrenceTiming.code.coding.code": "BID",
            "occurrenceTiming.repeat.boundsPeriod.end": "2025-01-03",
            "occurrenceTiming.repeat.duration": 15,
            "occurrenceTiming.repeat.durationUnit": "min",
            "occurrenceTiming.repeat.count": 4,
        },
    ),
    (
        {3: "Q6H^^^^6^h^^AC", 6: "2^d&Day"},
        {
            "occurrenceTiming.repeat.period": 6,
            "occurrenceTiming.repeat.periodUnit": "h",
            "occurrenceTiming.repeat.when": "AC",
            "occurrenceTiming.repeat.boundsDuration.code": "d",
        },
    ),
    ({3: "Q6H^^^^^^^AC", 4: "1130"}, {"occurrenceTiming.repeat.timeOfDay": "11:30:00"}),
    ({13: "2^hr"}, {"occurrenceTiming.repeat.durationUnit": "h"}),
    ({13: "2^moon", 14: "4"}, {"occurrenceTiming.repeat.count": 4}),
]


@pytest.mark.parametrize(("fields", "fragment"), TIMINGS)
def test_tq1_service_request(fields, fragment):
    segments = ["ORC|NW|P1", segment("TQ1", fields), "OBR|1|P1||1^x^L"]
    [request] = made(convert("OML^O21", PID, *segments), "ServiceRequest")
    assert not differences(request, fragment)
    repeat = request.get("occurrenceTiming", {}).get("repeat", {})
    assert ("duration" in repeat) == ("durationUnit" in repeat)
    assert "_durationUnit" not in repeat
    assert not {"when", "timeOfDay"} <= repeat.keys()


IDENTIFIERS = [
    # CX; the Identifier
    (
        "77^^^SITE^MR",
        {
            "system": "urn:cohortlake:hl7v2:authority:SITE",
            "value": "77",
            "type.coding.system": "http://terminology.hl7.org/CodeSystem/v2-0203",
            "type.coding.code": "MR",
        },
    ),
    ("77^^^&2.16.840.1.113883.19&ISO", {"system": "urn:oid:2.16.840.1.113883.19", "value": "77"}),
    ("77^^^X&1.2&ISO", {"system": "urn:cohortlake:hl7v2:authority:X", "value": "77"}),
    ("77^^^X&https://x.org/mrn&URI", {"system": "https://x.org/mrn", "value": "77"}),
    ("77^^^USSSA^SS", {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "77"}),
    ("77", {"value": "77"}),
]


@pytest.mark.parametrize(("cx", "identifier"), IDENTIFIERS)
def test_cx_identifier(cx, identifier):
    [patient] = made(convert("ADT^A28", f"PID|1||{cx}"), "Patient")
    assert not differences(patient["identifier"][0], identifier)


def test_a_silo_declares_what_its_authorities_are():
    options = Options(authorities=(("SITE", "https://site.example/mrn"),))
    [patient] = made(convert("ADT^A28", PID, options=options), "Patient")
    assert patient["identifier"][0]["system"] == "https://site.example/mrn"


VISITS = [
    # event; PV1 by field; the Encounter
    ("A01", {2: "I"}, {"status": "in-progress", "class.code": "IMP"}),
    ("A01", {2: "E"}, {"class.code": "EMER"}),
    ("A04", {2: "O"}, {"status": "in-progress", "class.code": "AMB"}),
    (
        "A04",
        {2: "O", 44: "20250102", 45: "20250103"},
        {"status": "finished", "period.start": "2025-01-02", "period.end": "2025-01-03"},
    ),
    ("A03", {2: "I"}, {"status": "finished"}),
    ("A05", {2: "P"}, {"status": "planned", "class.code": "PRENC"}),
    ("A08", {2: "P"}, {"status": "planned"}),
    ("A11", {2: "I"}, {"status": "cancelled"}),
    ("A12", {2: "I"}, {"status": "in-progress"}),
    ("A21", {2: "I"}, {"status": "onleave"}),
    ("A23", {2: "I"}, {"status": "entered-in-error"}),
    ("A01", {2: "R"}, {"class.system": "http://terminology.hl7.org/CodeSystem/v2-0004", "class.code": "R"}),
    ("A01", {}, {"class.code": "UNK"}),
    (
        "A01",
        {2: "I", 4: "E"},
        {"type.coding.system": "http://terminology.hl7.org/CodeSystem/v2-0007", "type.coding.code": "E"},
    ),
    (
        "A01",
        {2: "I", 7: "9^Ray^Ann"},
        {"participant.type.coding.code": "ATND", "participant.individual.display": "Ann Ray"},
    ),
    ("A01", {2: "I", 3: "W1^R2^B3"}, {"location.status": "active", "location.location.display": "W1 R2 B3"}),
    ("A01", {2: "I", 19: "V9^^^SITE"}, {"identifier.value": "V9", "identifier.type.coding.code": "VN"}),
    (
        "A03",
        {2: "I", 36: "01"},
        {
            "hospitalization.dischargeDisposition.coding.system": "http://terminology.hl7.org/CodeSystem/v2-0112",
            "hospitalization.dischargeDisposition.coding.code": "01",
        },
    ),
]


def pv1(fields: dict[int, str]) -> str:
    return segment("PV1", {1: "1", **fields})


@pytest.mark.parametrize(("event", "fields", "fragment"), VISITS)
def test_pv1_encounter(event, fields, fragment):
    converted = convert(f"ADT^{event}", PID, pv1(fields))
    [encounter], [patient] = made(converted, "Encounter"), made(converted, "Patient")
    assert not differences(encounter, fragment)
    assert encounter["subject"]["reference"] == f"Patient/{patient['id']}"


def test_a_cancelled_discharge_takes_the_end_back():
    [encounter] = made(convert("ADT^A13", PID, pv1({2: "I", 44: "20250102", 45: "20250103"})), "Encounter")
    assert encounter["status"] == "in-progress"
    assert encounter["period"] == {"start": "2025-01-02"}


VALUES = [
    # OBX-2; OBX-5; OBX-6; the Observation
    (
        "NM",
        "13.40",
        "g/dL^gram^UCUM",
        {
            "valueQuantity.value": 13.4,
            "valueQuantity.unit": "gram",
            "valueQuantity.system": "http://unitsofmeasure.org",
            "valueQuantity.code": "g/dL",
        },
    ),
    ("NM", "7", "%", {"valueQuantity.value": 7, "valueQuantity.unit": "%"}),
    ("NM", "7~8", "%", {"component.valueQuantity.value": [7, 8]}),
    ("SN", "<^5", "mg", {"valueQuantity.comparator": "<", "valueQuantity.value": 5, "valueQuantity.unit": "mg"}),
    ("SN", "^1^:^8", "", {"valueRatio.numerator.value": 1, "valueRatio.denominator.value": 8}),
    ("SN", "^2^-^4", "mg", {"valueRange.low.value": 2, "valueRange.low.unit": "mg", "valueRange.high.value": 4}),
    ("SN", "^2^+", "", {"valueString": "2 +"}),
    ("NR", "2^4", "", {"valueRange.low.value": 2, "valueRange.high.value": 4}),
    (
        "CWE",
        "1^Yes^SCT^Y^ja^L^^^oh yes",
        "",
        {
            "valueCodeableConcept.coding.system": "http://snomed.info/sct",
            "valueCodeableConcept.coding.code": ["1", "Y"],
            "valueCodeableConcept.text": "oh yes",
        },
    ),
    ("CE", "POS", "", {"valueCodeableConcept.coding.code": "POS"}),
    ("ST", "a^b \\T\\ c", "", {"valueString": "a^b & c"}),
    ("FT", "line one~line two\\.br\\three", "", {"valueString": "line one\nline two\nthree"}),
    ("DT", "20250102", "", {"valueDateTime": "2025-01-02"}),
    ("TS", "202501021530-0500", "", {"valueDateTime": "2025-01-02T15:30:00-05:00"}),
    ("TM", "1530", "", {"valueTime": "15:30:00"}),
    ("DR", "20250102^20250103", "", {"valuePeriod.start": "2025-01-02", "valuePeriod.end": "2025-01-03"}),
    ("XX", "what^is", "", {"valueString": "what^is"}),
    (
        "ED",
        "^IM^JPEG^Base64^QUJD",
        "",
        {"extension.valueAttachment.contentType": "image/JPEG", "extension.valueAttachment.data": "QUJD"},
    ),
]


@pytest.mark.parametrize(("kind", "value", "unit", "fragment"), VALUES)
def test_obx_values(kind, value, unit, fragment):
    converted = convert(
        "ORU^R01", PID, "OBR|1|P1|F1|24317-0^CBC^LN", f"OBX|1|{kind}|718-7^Hgb^LN||{value}|{unit}|||||F"
    )
    [observation] = made(converted, "Observation")
    assert not differences(observation, {"status": "final", "code.coding.code": "718-7", **fragment})
    assert sum(name.startswith("value") for name in observation) == (
        "component.valueQuantity.value" not in fragment and kind != "ED"
    )


def test_digits_are_kept_as_they_were_sent():
    converted = convert("ORU^R01", PID, "OBR|1|P1|F1|x", "OBX|1|NM|718-7^Hgb^LN||13.40|g/dL|||||F")
    [observation] = [r for r in converted.resources if r["resourceType"] == "Observation"]
    assert '"value":13.40,' in dumps(observation)


def test_a_number_that_is_none_is_kept_as_text_and_told():
    converted = convert("ORU^R01", PID, "OBR|1|P1|F1|x", "OBX|1|NM|718-7^Hgb^LN||haemolysed|g/dL|||||X")
    [observation] = made(converted, "Observation")
    assert observation["valueString"] == "haemolysed"
    assert "valueQuantity" not in observation
    assert Problem("not a decimal", "OBX-5", "warning") in converted.problems


STATUSES = [
    ("F", "final"),
    ("P", "preliminary"),
    ("C", "corrected"),
    ("D", "entered-in-error"),
    ("W", "entered-in-error"),
    ("X", "cancelled"),
    ("A", "amended"),
    ("U", "final"),
    ("", "unknown"),
    ("?", "unknown"),
]


@pytest.mark.parametrize(("sent", "meant"), STATUSES)
def test_obx_status_keeps_the_id(sent, meant):
    def observation(status: str) -> dict[str, Any]:
        line = f"OBX|1|NM|718-7^Hgb^LN||13|g/dL|||||{status}|||20250102"
        return made(convert("ORU^R01", PID, "OBR|1|P1|F1|x", line), "Observation")[0]

    assert observation(sent)["status"] == meant
    assert observation(sent)["id"] == observation("F")["id"]


SEGMENTS = [
    # event; segments after PID; resource type; path to value
    (
        "ADT^A01",
        ["NK1|1|Doe^Ann|SPO^Spouse^HL70063|1 Elm^^Salem|555"],
        "RelatedPerson",
        {"name.family": "Doe", "relationship.coding.code": "SPS", "telecom.value": "555", "telecom.use": "home"},
    ),
    (
        "ADT^A01",
        ["AL1|1|DA|7980^Penicillin^RXNORM|SV|Hives|20200101"],
        "AllergyIntolerance",
        {
            "category": "medication",
            "criticality": "high",
            "code.coding.system": "http://www.nlm.nih.gov/research/umls/rxnorm",
            "code.coding.code": "7980",
            "reaction.severity": "severe",
            "reaction.manifestation.text": "Hives",
            "onsetDateTime": "2020-01-01",
        },
    ),
    (
        "ADT^A60",
        ["IAM|1|FA|P^Peanut^L|MI|Rash|D|U7"],
        "AllergyIntolerance",
        {"verificationStatus.coding.code": "entered-in-error", "identifier.value": "U7", "category": "food"},
    ),
    (
        "ADT^A01",
        ["DG1|1||I10^Hypertension^I10C||20250101|A"],
        "Condition",
        {
            "code.coding.system": "http://hl7.org/fhir/sid/icd-10-cm",
            "code.coding.code": "I10",
            "onsetDateTime": "2025-01-01",
            "category.coding.code": "encounter-diagnosis",
        },
    ),
    ("ADT^A01", ["DG1|1|||Stroke"], "Condition", {"code.text": "Stroke"}),
    (
        "ADT^A01",
        ["PR1|1||80146002^Appendectomy^SCT||202501021000|||||||9^Cut^Al"],
        "Procedure",
        {
            "status": "completed",
            "code.coding.system": "http://snomed.info/sct",
            "code.coding.code": "80146002",
            "performedDateTime": "2025-01-02T10:00:00+01:00",
            "performer.actor.display": "Al Cut",
        },
    ),
    (
        "ADT^A01",
        ["IN1||HMO^Plan|C1|Blue Cross||||||||20250101|20251231|||||||||||||||||||||||P99"],
        "Coverage",
        {
            "status": "active",
            "payor.display": "Blue Cross",
            "subscriberId": "P99",
            "period.start": "2025-01-01",
            "period.end": "2025-12-31",
        },
    ),
    (
        "ORU^R01",
        ["OBR|1|P1|F1|24317-0^CBC^LN|||20250102|||||||||||||||20250103||HM|C"],
        "DiagnosticReport",
        {
            "status": "corrected",
            "code.coding.code": "24317-0",
            "effectiveDateTime": "2025-01-02",
            "issued": "2025-01-03T00:00:00+01:00",
            "category.coding.system": "http://terminology.hl7.org/CodeSystem/v2-0074",
            "category.coding.code": "HM",
        },
    ),
    (
        "OML^O21",
        ["ORC|NW|P1|F1||||||20250102|||9^Ray^Ann", "OBR|1|P1|F1|24317-0^CBC^LN"],
        "ServiceRequest",
        {
            "status": "active",
            "intent": "order",
            "authoredOn": "2025-01-02",
            "requester.display": "Ann Ray",
            "identifier.value": ["P1", "F1"],
            "identifier.type.coding.code": ["PLAC", "FILL"],
        },
    ),
    ("OML^O21", ["ORC|CA|P1", "OBR|1|P1||x"], "ServiceRequest", {"status": "revoked"}),
    (
        "ORM^O01",
        ["ORC|NW|P1|||SC", "OBR|1|P1||x", "NTE|1||fasting"],
        "ServiceRequest",
        {"status": "active", "note.text": "fasting"},
    ),
    (
        "OML^O21",
        ["ORC|NW|P1", "OBR|1|P1||x", "SPM|1|S1&A^S2&B||BLD^Blood^HL70487|||||||||||||202501021000"],
        "Specimen",
        {
            "type.coding.code": "BLD",
            "identifier.value": ["S1", "S2"],
            "collection.collectedDateTime": "2025-01-02T10:00:00+01:00",
        },
    ),
    (
        "RDE^O11",
        ["ORC|NW|P1", "RXE||308047^Amoxicillin^RXNORM|500||mg|||||20|TAB|2", "RXR|PO^Oral^HL70162"],
        "MedicationRequest",
        {
            "status": "active",
            "medicationCodeableConcept.coding.code": "308047",
            "dosageInstruction.doseAndRate.doseQuantity.value": 500,
            "dosageInstruction.doseAndRate.doseQuantity.unit": "mg",
            "dosageInstruction.route.coding.code": "PO",
            "dispenseRequest.quantity.value": 20,
            "dispenseRequest.quantity.unit": "TAB",
            "dispenseRequest.numberOfRepeatsAllowed": 2,
        },
    ),
    (
        "RDS^O13",
        ["ORC|RE|P1", "RXD|1|308047^Amoxicillin^RXNORM|20250102|20|TAB||RX9"],
        "MedicationDispense",
        {"status": "completed", "quantity.value": 20, "whenHandedOver": "2025-01-02", "identifier.value": "RX9"},
    ),
    (
        "RAS^O17",
        ["ORC|RE|P1", "RXA|0|1|202501021000||308047^Amoxicillin^RXNORM|500|mg||||||||||||CP"],
        "MedicationAdministration",
        {
            "status": "completed",
            "effectiveDateTime": "2025-01-02T10:00:00+01:00",
            "dosage.dose.value": 500,
            "dosage.dose.unit": "mg",
        },
    ),
    (
        "VXU^V04",
        [
            "ORC|RE||F1",
            "RXA|0|1|20250102||115^Tdap^CVX|0.5|mL^mL^UCUM||00^New^NIP001||||||LOT7|20260101|PMC^Sanofi^MVX|||CP|A",
            "RXR|IM^^HL70162|LD^^HL70163",
        ],
        "Immunization",
        {
            "status": "completed",
            "primarySource": True,
            "vaccineCode.coding.system": "http://hl7.org/fhir/sid/cvx",
            "vaccineCode.coding.code": "115",
            "occurrenceDateTime": "2025-01-02",
            "lotNumber": "LOT7",
            "doseQuantity.value": 0.5,
            "doseQuantity.code": "mL",
            "site.coding.code": "LD",
        },
    ),
    (
        "VXU^V04",
        ["ORC|RE||F1", "RXA|0|1|20250102||115^Tdap^CVX|999|||01^Told^NIP001|||||||||OBJ^Refused^L||RE|A"],
        "Immunization",
        {"status": "not-done", "primarySource": False, "statusReason.coding.code": "OBJ"},
    ),
    (
        "MDM^T02",
        ["TXA||DS^Summary|TX|20250102||||||||D1||||unique.txt|AU", "OBX|1|TX|x||line one", "OBX|2|TX|x||line two"],
        "DocumentReference",
        {
            "status": "current",
            "docStatus": "final",
            "masterIdentifier.value": "D1",
            "content.attachment.contentType": "text/plain",
            "content.attachment.data": "bGluZSBvbmUKbGluZSB0d28=",
            "content.attachment.title": "unique.txt",
        },
    ),
    ("MDM^T11", ["TXA||DS|TX|||||||||D1"], "DocumentReference", {"status": "entered-in-error"}),
    (
        "DFT^P03",
        ["FT1|1|T1||20250102||CG|99213^Visit^C4|||2|100&USD"],
        "ChargeItem",
        {
            "status": "billable",
            "code.coding.code": "99213",
            "quantity.value": 2,
            "priceOverride.value": 100,
            "priceOverride.currency": "USD",
            "occurrenceDateTime": "2025-01-02",
        },
    ),
    (
        "PPR^PC1",
        ["PRB|AD|20250102|E11^Diabetes^I10C|PR1"],
        "Condition",
        {"category.coding.code": "problem-list-item", "clinicalStatus.coding.code": "active"},
    ),
]


@pytest.mark.parametrize(("event", "segments", "kind", "fragment"), SEGMENTS)
def test_segments(event, segments, kind, fragment):
    converted = convert(event, PID, *segments)
    [resource], [patient] = made(converted, kind), made(converted, "Patient")
    assert not differences(resource, fragment)
    assert f'"Patient/{patient["id"]}"' in json.dumps(resource)


APPOINTMENTS = [
    ("S12", "booked"),
    ("S13", "booked"),
    ("S14", "pending"),
    ("S15", "cancelled"),
    ("S17", "entered-in-error"),
    ("S26", "noshow"),
]


@pytest.mark.parametrize(("event", "status"), APPOINTMENTS)
def test_sch_appointment(event, status):
    segments = [
        "SCH|P1|F1|||||Checkup||30|min|^^^202501021000+0100^202501021030+0100",
        PID,
        "RGS|1",
        "AIS|1|A|45^Exam^L",
        "AIP|1||9^Ray^Ann||||||||Booked",
        "AIL|1||W1^R2",
    ]
    [appointment] = made(convert(f"SIU^{event}", *segments), "Appointment")
    fragment = {
        "status": status,
        "minutesDuration": 30,
        "start": "2025-01-02T10:00:00+01:00",
        "end": "2025-01-02T10:30:00+01:00",
        "serviceType.coding.code": "45",
        "participant.actor.display": ["Ann Ray", "W1 R2"],
        "participant.status": ["accepted", "needs-action"],
    }
    assert not differences(appointment, fragment)


@pytest.mark.parametrize("event", ["A18", "A30", "A34", "A36", "A39", "A40", "A46", "A47"])
def test_a_merge_ends_one_record_and_is_told_by_it_alone(event):
    converted = convert(f"ADT^{event}", PID, "MRG|66^^^SITE^MR")
    kept, ended = made(converted, "Patient")
    assert ended["active"] is False
    assert ended["link"] == [{"other": {"reference": f"Patient/{kept['id']}"}, "type": "replaced-by"}]
    assert not {"link", "active"} & kept.keys()
    [before] = made(convert("ADT^A01", OTHER), "Patient")
    assert ended["id"] == before["id"]


@pytest.mark.parametrize("event", ["A01", "A04", "A05", "A08", "A28", "A31"])
def test_a_record_that_is_told_again_stands_on_its_own(event):
    [again] = made(convert(f"ADT^{event}", OTHER), "Patient")
    assert not {"link", "active"} & again.keys()
    assert not is_passing(again)
    # A result under the number that ended is no un-merge.
    assert is_passing(made(convert("ORU^R01", OTHER, "OBR|1|P1|F1|x"), "Patient")[0])


def test_linked_records_stay_distinct_and_unlinking_them_is_a_newer_version_of_the_same_fact():
    linked, unlinked = convert("ADT^A24", PID, OTHER), convert("ADT^A37", OTHER, PID)
    [together], [apart] = made(linked, "Linkage"), made(unlinked, "Linkage")
    assert (together["id"], together["active"], apart["active"]) == (apart["id"], True, False)
    patients = {f"Patient/{patient['id']}" for patient in made(linked, "Patient")}
    assert {item["resource"]["reference"] for item in together["item"]} == patients
    assert not any("link" in patient for converted in (linked, unlinked) for patient in made(converted, "Patient"))
    # What is linked keeps what other messages say of it; what is unlinked stands, so that a merge is undone too.
    assert all(is_passing(patient) for patient in made(linked, "Patient"))
    assert not any(is_passing(patient) for patient in made(unlinked, "Patient"))
    assert made(convert("ADT^A24", PID, PID), "Linkage") == []


@pytest.mark.parametrize("event", ["A42", "A45", "A50"])
def test_a_visit_that_gets_another_number_ends_under_the_old_one(event):
    converted = convert(f"ADT^{event}", PID, "MRG|66^^^SITE^MR||||V1^^^SITE", pv1({2: "I", 19: "V2^^^SITE"}))
    old, new = made(converted, "Encounter")
    [before] = made(convert("ADT^A01", OTHER, pv1({2: "I", 19: "V1^^^SITE"})), "Encounter")
    assert (old["id"], old["status"]) == (before["id"], "entered-in-error")
    assert [(i.get("use"), i["value"]) for i in new["identifier"]] == [(None, "V2"), ("old", "V1")]
    assert len(made(converted, "Patient")) == 1


@pytest.mark.parametrize("event", ["A35", "A41", "A49"])
def test_an_account_that_is_merged_or_renamed_ends(event):
    account = segment("PID", {3: "77^^^SITE^MR", 18: "ACC2^^^SITE^AN"})
    converted = convert(f"ADT^{event}", account, "MRG|77^^^SITE^MR||ACC1^^^SITE^AN")
    kept, ended = made(converted, "Account")
    [before] = made(convert("ADT^A01", segment("PID", {3: "77^^^SITE^MR", 18: "ACC1^^^SITE^AN"})), "Account")
    assert (kept["status"], ended["status"], ended["id"]) == ("active", "inactive", before["id"])
    assert len(made(converted, "Patient")) == 1


def test_an_account_has_its_visit_its_coverage_and_who_answers_for_it():
    account = segment("PID", {3: "77^^^SITE^MR", 18: "ACC2^^^SITE^AN"})
    guarantor = segment("GT1", {3: "Ray^Lu", 11: "MTH", 13: "20200101"})
    converted = convert("ADT^A01", account, pv1({2: "I"}), guarantor, "GT1|2||Self^A||||||||SEL", "IN1|1|P1|C1|Ins")
    [made_account], [visit] = made(converted, "Account"), made(converted, "Encounter")
    [related], [patient], [coverage] = (made(converted, kind) for kind in ("RelatedPerson", "Patient", "Coverage"))
    parties = [f"RelatedPerson/{related['id']}", f"Patient/{patient['id']}"]
    assert [one["party"]["reference"] for one in made_account["guarantor"]] == parties
    assert made_account["coverage"] == [{"coverage": {"reference": f"Coverage/{coverage['id']}"}}]
    assert visit["account"] == [{"reference": f"Account/{made_account['id']}"}]


def test_diagnoses_of_a_visit_have_kind_and_rank():
    diagnoses = [
        segment("DG1", {3: f"{code}^^I10", 6: kind, 15: rank}) for code, kind, rank in (("A", "F", "1"), ("B", "A", ""))
    ]
    converted = convert("ADT^A01", PID, pv1({2: "I", 19: "V1"}), *diagnoses)
    [visit], conditions = made(converted, "Encounter"), made(converted, "Condition")
    assert [one["condition"]["reference"] for one in visit["diagnosis"]] == [f"Condition/{c['id']}" for c in conditions]
    assert [one["use"]["coding"][0]["code"] for one in visit["diagnosis"]] == ["F", "A"]
    assert [one.get("rank") for one in visit["diagnosis"]] == [1, None]


def test_visits_that_are_moved_keep_their_numbers_and_get_another_patient():
    moves = [part for n in (1, 2) for part in (f"MRG|66^^^SITE^MR||||V{n}^^^SITE", pv1({19: f"V{n}^^^SITE"}))]
    converted = convert("ADT^A45", PID, *moves)
    [patient] = made(converted, "Patient")
    before = [made(convert("ADT^A01", OTHER, pv1({19: f"V{n}^^^SITE"})), "Encounter")[0]["id"] for n in (1, 2)]
    assert [e["id"] for e in made(converted, "Encounter")] == before
    assert {e["subject"]["reference"] for e in made(converted, "Encounter")} == {f"Patient/{patient['id']}"}
    assert converted.unmapped["MRG-1"] == 2


def test_one_fact_has_one_id_whoever_tells_it():
    order = "OBR|1|P1|F1|24317-0^CBC^LN|||20250102"
    result = "OBX|1|NM|718-7^Hgb^LN||13|g/dL|||||F"
    visit = pv1({2: "I", 19: "V9^^^SITE"})
    first = convert("ORU^R01", PID, visit, order, result)
    again = convert("ORU^R01", PID, visit, order, "OBX|1|NM|2345-7^Glucose^LN||90|||||F", result, header="20250105")
    admitted = convert("ADT^A01", "PID|1||5^^^OTHER^PI~77^^^SITE^MR", visit)

    def ids(converted: Converted, kind: str) -> set[str]:
        return {resource["id"] for resource in made(converted, kind)}

    assert ids(first, "Observation") < ids(again, "Observation")
    assert ids(first, "Patient") == ids(again, "Patient") == ids(admitted, "Patient")
    assert ids(first, "Encounter") == ids(admitted, "Encounter")


def test_two_facts_with_one_identity_in_a_message_are_both_kept():
    result = "OBX|1|NM|718-7^Hgb^LN||13|g/dL|||||F|||20250102"
    converted = convert("ORU^R01", PID, "OBR|1|P1|F1|x", result, result.replace("13", "14"))
    assert [o["valueQuantity"]["value"] for o in made(converted, "Observation")] == [13, 14]
    assert len({o["id"] for o in made(converted, "Observation")}) == 2


def test_notes_stay_with_what_they_follow():
    segments = [
        "OBR|1|P1|F1|x",
        "NTE|1||of the order",
        "OBX|1|NM|a^^L||1",
        "NTE|1||of the first~more",
        "OBX|2|NM|b^^L||2",
    ]
    converted = convert("ORU^R01", PID, *segments)
    assert [o.get("note") for o in made(converted, "Observation")] == [[{"text": "of the first\nmore"}], None]
    assert [r["note"] for r in made(converted, "ServiceRequest")] == [[{"text": "of the order"}]]


def test_each_result_belongs_to_its_own_order_and_specimen():
    segments = ["OBR|1|P1|F1|x", "OBX|1|NM|a^^L||1", "SPM|1|S1||BLD", "OBR|2|P2|F2|y", "OBX|1|NM|b^^L||2"]
    converted = convert("ORU^R01", PID, *segments)
    first, second = made(converted, "DiagnosticReport")
    [a, b] = made(converted, "Observation")
    assert first["result"] == [{"reference": f"Observation/{a['id']}"}]
    assert second["result"] == [{"reference": f"Observation/{b['id']}"}]
    assert "specimen" in a
    assert "specimen" not in b


TIMES = [
    # PV1-44, MSH-7, the silo's zone, period.start, whether a zone was assumed
    ("20250102", "20250102", "UTC", "2025-01-02", True),
    ("202501021000", "20250102120000", "UTC", "2025-01-02T10:00:00+00:00", True),
    ("202501021000", "20250102120000", "America/Chicago", "2025-01-02T10:00:00-06:00", True),
    ("202507021000", "20250102120000", "America/Chicago", "2025-07-02T10:00:00-05:00", True),
    ("202501021000", "20250102120000+0100", "America/Chicago", "2025-01-02T10:00:00+01:00", False),
    ("202501021000-0500", "20250102120000+0100", "UTC", "2025-01-02T10:00:00-05:00", False),
    ("20250102100005.1234", "20250102120000+0100", "UTC", "2025-01-02T10:00:05.1234+01:00", False),
]


@pytest.mark.parametrize(("sent", "header", "zone", "meant", "is_assumed"), TIMES)
def test_times_are_as_precise_as_sent_and_zones_are_said(sent, header, zone, meant, is_assumed):
    converted = convert("ADT^A01", PID, pv1({2: "I", 44: sent}), options=Options(zone=zone), header=header)
    [encounter] = made(converted, "Encounter")
    assert encounter["period"]["start"] == meant
    said = Problem(f"times without a zone are taken as {zone}", "MSH-7", "warning")
    assert (said in converted.problems) == is_assumed


@pytest.mark.parametrize("sent", ["20251301", "20250230", "2025-01-02", "yesterday", "202501022500"])
def test_a_time_that_is_none_is_left_out_and_told(sent):
    converted = convert("ADT^A01", PID, pv1({2: "I", 44: sent}))
    [encounter] = made(converted, "Encounter")
    assert "period" not in encounter
    assert Problem("not a dateTime", "PV1-44", "warning") in converted.problems


def test_nothing_is_dropped_in_silence():
    pid = segment("PID", {3: "77^^^SITE^MR", 8: "Q", 38: "local"})
    visit = segment("PV1", {2: "I", 14: '""', 18: "Z"})
    converted = convert(
        "ADT^A01", pid, visit, "NTE|1||of the visit", "ZPI|1|secret", "OBX|1|ST|a^^L||x", "NTE|1||taken"
    )
    assert set(converted.unmapped) == {"PID-38", "PV1-14 (delete)", "PV1-18", "NTE-1", "NTE-3", "ZPI-1", "ZPI-2"}
    assert converted.unmapped["NTE-3"] == 1
    assert converted.codes["0001", "Q"] == 1


def test_an_order_line_that_another_takes_the_place_of_is_counted():
    order = ["ORC|NW|P1", "RXO|1^A^L|2||mg", "RXE||1^A^L|2||mg"]
    assert {"RXO-1", "RXO-2", "RXO-4"} == set(convert("RDE^O11", PID, *order).unmapped)


def test_a_local_code_system_becomes_a_urn_of_the_sender_and_is_counted():
    converted = convert("ORU^R01", PID, "OBR|1|P1|F1|HB^Haemoglobin^99LAB")
    [report] = made(converted, "DiagnosticReport")
    [coding] = report["code"]["coding"]
    assert coding == {
        "system": "urn:cohortlake:hl7v2:facility:SITE:system:99LAB",
        "code": "HB",
        "display": "Haemoglobin",
    }
    assert converted.codes["code systems", "99LAB"] == 2


def test_a_code_outside_a_required_binding_is_kept_as_original_text():
    [patient] = made(convert("ADT^A28", PID + "||Doe^Jo^^^^^ODD"), "Patient")
    [extension] = patient["name"][0]["_use"]["extension"]
    assert extension["valueString"] == "ODD"


def test_what_is_required_and_was_not_sent_is_marked_and_told():
    converted = convert("ORU^R01", PID, "OBR|1|P1|F1|x", "OBX|1|NM|||5|||||F")
    [observation] = made(converted, "Observation")
    assert observation["code"]["extension"][0]["valueCode"] == "unknown"
    assert any("Observation.code is required" in problem.reason for problem in converted.problems)


REFUSED = [("QBP^Q11", "no map for this message type"), ("", "no map for this message type")]


@pytest.mark.parametrize(("event", "reason"), REFUSED)
def test_a_message_without_a_map_is_quarantined(event, reason):
    converted = convert(event, PID)
    assert converted.error is not None
    assert converted.error.reason == reason
    assert not converted.resources


def test_each_resource_says_who_sent_it_and_when():
    converted = convert("ADT^A01", PID, pv1({2: "I"}))
    for resource in converted.resources:
        assert {name: text for name, text in resource["meta"].items() if name != "tag"} == {
            "lastUpdated": "2025-01-02T12:00:00+01:00",
            "source": "urn:cohortlake:hl7v2:facility:SITE:APP#M1",
        }
    [provenance] = made(converted, "Provenance")
    assert provenance["activity"]["coding"][0]["code"] == "A01"
    assert len(provenance["target"]) == 2


def test_what_a_message_only_refers_to_is_tagged():
    def passing(converted: Converted) -> set[str]:
        return {r["resourceType"] for r in converted.resources if "tag" in r["meta"]}

    visit = pv1({2: "I", 7: "9^Ray^Ann"})
    assert passing(convert("ORU^R01", PID, visit, "OBR|1|P1|F1|x")) == {
        "Patient", "Encounter", "Practitioner", "Organization"
    }  # fmt: skip
    assert passing(convert("ADT^A01", PID, visit)) == {"Practitioner", "Organization"}


def test_the_event_may_stand_in_evn_alone():
    [encounter] = made(convert("ADT", "EVN|A03|20250102", PID, pv1({2: "I"})), "Encounter")
    assert encounter["status"] == "finished"


def test_a_section_says_the_category_of_its_results():
    segments = [PID, segment("OBR", {2: "P1", 4: "x", 24: "CH"}), "OBX|1|NM|a^^L||1"]
    [observation] = made(convert("ORU^R01", *segments), "Observation")
    assert observation["category"][0]["coding"][0]["code"] == "laboratory"


def test_roles_and_participations_are_people_of_what_they_follow():
    primary, nurse = "ROL|1|AD|PP^Primary care^HL70443|1^Prim^Ann", "ROL|2|AD|RN^Nurse^L|2^Nurse^Bo"
    reader = "PRT||AD||RO^Result^L|3^Read^Cy"
    visit, order = pv1({2: "I"}), ["OBR|1|P1|F1|x", "OBX|1|NM|a^^L||1", reader]
    converted = convert("ORU^R01", PID, primary, nurse, visit, nurse, *order)
    [patient], [encounter], [result] = (made(converted, kind) for kind in ("Patient", "Encounter", "Observation"))
    assert values(patient, "generalPractitioner.display") == ["Ann Prim"]
    assert values(encounter, "participant.individual.display") == ["Bo Nurse"]
    assert values(result, "performer.display") == ["Cy Read"]


def limits(text: str, kind: str = "NM") -> tuple[Any, Any, Any]:
    """The text and the limits of a reference range that OBX-7 holds."""
    obx = segment("OBX", {1: "1", 2: kind, 3: "2345-7^Glucose^LN", 5: "90", 6: "mg/dL", 7: text, 11: "F"})
    [found] = made(convert("ORU^R01", PID, "OBR|1|A|B|X^X^L", obx), "Observation")
    [told] = found.get("referenceRange", [{}])
    return told.get("text"), told.get("low", {}).get("value"), told.get("high", {}).get("value")


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("70-80", 70, 80),
        ("4.3 to 6.2", 4.3, 6.2),
        ("-1.5 - 2", -1.5, 2),
        ("-5--2", -5, -2),
        ("< 5", None, 5),
        (">60", 60, None),
        ("<=5", None, 5),
        # Words, and what is no range of numbers, stay words.
        ("negative", None, None),
        ("70_105", None, None),
        ("80-70", None, None),
        ("4-6 mmol/L", None, None),
    ],
)
def test_a_reference_range_beside_a_number_has_limits(text, low, high):
    assert limits(text) == (text, low, high)


def test_a_reference_range_beside_words_is_words():
    assert limits("70-80", "ST") == ("70-80", None, None)


@pytest.mark.parametrize(
    ("status_time", "issued"), [("20250104083602+0100", "2025-01-04T08:36:02+01:00"), ("20250104", None), ("", None)]
)
def test_a_result_is_issued_when_its_report_is(status_time, issued):
    obr = segment("OBR", {1: "1", 2: "A", 3: "B", 4: "X^X^L", 22: status_time})
    [found] = made(convert("ORU^R01", PID, obr, "OBX|1|NM|2345-7^Glucose^LN||90|mg/dL|||||F"), "Observation")
    assert found.get("issued") == issued
