"""C-CDA on FHIR, template by template: an entry beside the FHIR that the guide wants of it."""

# A row of a table is a line, and so is a line of a document.
# ruff: noqa: E501

from __future__ import annotations

from typing import Any

import pytest

from tests.ccda_documents import PATIENT, T, converted, document, resources

SCT, LOINC = "2.16.840.1.113883.6.96", "2.16.840.1.113883.6.1"
SNOMED = "http://snomed.info/sct"


def template(number: str) -> str:
    return f'<templateId root="{T}.{number}"/>'


def snomed(code: str, name: str = "code", **attributes: str) -> str:
    rest = "".join(f' {key.replace("_", ":")}="{value}"' for key, value in attributes.items())
    return f'<{name} code="{code}" codeSystem="{SCT}"{rest}/>'


def codes(concept: dict[str, Any]) -> list[str]:
    return [coding["code"] for coding in concept["coding"]]


def one(payload: bytes, kind: str) -> dict[str, Any]:
    found = resources(payload, kind)
    assert len(found) == 1, found
    return found[0]


def problem(
    *,
    status: str = "active",
    negated: str = "",
    low: str = '<low value="20150301"/>',
    high: str = "",
    more: str = "",
    value: str = "38341003",
) -> str:
    return f"""<act classCode="ACT" moodCode="EVN">{template("3")}<id root="2.9.1"/><statusCode code="{status}"/>
    <author><time value="20160101"/><assignedAuthor><id root="2.16.840.1.113883.4.6" extension="99"/></assignedAuthor></author>
    <entryRelationship typeCode="SUBJ"><observation {negated}>{template("4")}<id root="2.9.2"/>
    {snomed("64572001")}<effectiveTime>{low}{high}</effectiveTime>{snomed(value, "value", xsi_type="CD")}{more}
    </observation></entryRelationship></act>"""


def status(code: str) -> str:
    return f"""<entryRelationship typeCode="REFR"><observation>{template("6")}<code code="33999-4" codeSystem="{LOINC}"/>
    {snomed(code, "value", xsi_type="CD")}</observation></entryRelationship>"""


@pytest.mark.parametrize(
    ("entry", "clinical", "verification"),
    [
        (problem(), "active", None),
        (problem(status="completed"), "inactive", None),
        (problem(status="suspended"), "inactive", None),
        (problem(more=status("246455001")), "recurrence", None),
        (problem(more=status("55561003"), high='<high value="2016"/>'), "inactive", None),
        (problem(status="completed", high='<high value="2016"/>'), "resolved", None),
        (problem(high='<high nullFlavor="UNK"/>'), "resolved", None),
        (problem(negated='negationInd="true"'), "active", "refuted"),
    ],
)
def test_status_of_a_condition(entry, clinical, verification):
    condition = one(document(entry), "Condition")
    assert codes(condition["clinicalStatus"]) == [clinical]
    assert codes(condition.get("verificationStatus", {"coding": []})) == ([verification] if verification else [])


def test_condition():
    condition = one(document(problem(high='<high nullFlavor="UNK"/>')), "Condition")
    assert condition["identifier"] == [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.9.2"}]
    assert codes(condition["code"]) == ["38341003"]
    assert condition["onsetDateTime"] == "2015-03-01"
    assert condition["_abatementDateTime"]["extension"][0]["valueCode"] == "unknown"
    assert condition["recordedDate"] == "2016-01-01"
    assert [codes(category) for category in condition["category"]] == [["problem-list-item"], ["64572001"]]
    assert condition["recorder"]["reference"].startswith("Practitioner/")


ALLERGY = f"""<act>{template("30")}<id root="8.1"/><statusCode code="active"/><entryRelationship typeCode="SUBJ">
  <observation {{negated}}>{template("7")}<id root="8.2"/><effectiveTime><low value="2008"/></effectiveTime>
  {{value}}<participant typeCode="CSM"><participantRole><playingEntity>{{substance}}</playingEntity></participantRole></participant>
  <entryRelationship typeCode="MFST"><observation>{template("9")}{snomed("247472004", "value", xsi_type="CD")}
    <entryRelationship><observation>{template("8")}<code code="SEV"/>{snomed("24484000", "value", xsi_type="CD")}
    </observation></entryRelationship></observation></entryRelationship>
  <entryRelationship><observation>{template("145")}<code code="82606-5"/><value code="CRITH"/></observation></entryRelationship>
  </observation></entryRelationship></act>"""


def allergy(negated: str = "", value: str = "416098002", substance: str = snomed("387207008")) -> dict[str, Any]:
    entry = ALLERGY.format(negated=negated, value=snomed(value, "value", xsi_type="CD"), substance=substance)
    assert not converted(document(entry)).unmapped
    return one(document(entry, section="48765-2"), "AllergyIntolerance")


def test_allergy():
    found = allergy()
    assert (found["type"], found["category"], found["criticality"]) == ("allergy", ["medication"], "high")
    assert codes(found["code"]) == ["387207008"]
    assert codes(found["clinicalStatus"]) == ["active"]
    assert codes(found["verificationStatus"]) == ["confirmed"]
    assert found["onsetDateTime"] == "2008"
    [reaction] = found["reaction"]
    assert codes(reaction["manifestation"][0]) == ["247472004"]
    assert reaction["severity"] == "severe"


def test_no_known_allergy_is_a_statement_and_no_known_allergy_to_one_substance_is_a_risk():
    negated = 'negationInd="true"'
    nothing = allergy(negated, "419199007", '<code nullFlavor="NA"/>')
    assert codes(nothing["code"]) == ["716186003"]
    peanuts = allergy(negated, "414285001", snomed("256349002"))
    assert "code" not in peanuts
    [risk] = peanuts["extension"]
    assert codes(risk["extension"][0]["valueCodeableConcept"]) == ["256349002"]
    assert codes(risk["extension"][1]["valueCodeableConcept"]) == ["no-known-reaction-risk"]


MEDICATION = f"""<substanceAdministration moodCode="{{mood}}" {{negated}}>{template("16")}<id root="7.1"/>
  <statusCode code="active"/><effectiveTime xsi:type="IVL_TS"><low value="20120318"/></effectiveTime>
  <effectiveTime xsi:type="PIVL_TS" operator="A" institutionSpecified="{{daily}}"><period value="12" unit="h"/></effectiveTime>
  <routeCode code="C38288" codeSystem="2.16.840.1.113883.3.26.1.1"/><doseQuantity value="1" unit="mg"/>
  <consumable><manufacturedProduct><manufacturedMaterial><code code="197380" codeSystem="2.16.840.1.113883.6.88"/>
  </manufacturedMaterial></manufacturedProduct></consumable>
  <entryRelationship typeCode="RSON"><observation>{template("19")}{snomed("38341003", "value", xsi_type="CD")}</observation></entryRelationship>
  <precondition><criterion/></precondition></substanceAdministration>"""


def medication(mood: str = "EVN", negated: str = "", daily: str = "true") -> dict[str, Any]:
    return one(document(MEDICATION.format(mood=mood, negated=negated, daily=daily)), "MedicationRequest")


def test_medication():
    found = medication()
    assert (found["status"], found["intent"]) == ("active", "plan")
    assert found["medicationCodeableConcept"]["coding"] == [
        {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "197380"}
    ]
    assert codes(found["reasonCode"][0]) == ["38341003"]
    [dosage] = found["dosageInstruction"]
    assert dosage["timing"]["repeat"] == {
        "boundsPeriod": {"start": "2012-03-18"}, "frequency": 2, "period": 1, "periodUnit": "d"
    }  # fmt: skip
    assert dosage["asNeededBoolean"] is True
    assert dosage["doseAndRate"][0]["doseQuantity"]["value"] == 1


def test_an_interval_between_doses_is_not_a_number_of_doses_a_day():
    repeat = medication(daily="false")["dosageInstruction"][0]["timing"]["repeat"]
    assert (repeat["frequency"], repeat["period"], repeat["periodUnit"]) == (1, 12, "h")


def test_a_medication_that_is_ordered_or_not_to_be_given():
    assert medication("INT")["intent"] == "order"
    assert medication(negated='negationInd="true"')["doNotPerform"] is True


@pytest.mark.parametrize(
    ("negated", "code", "expected"),
    [("", "completed", "completed"), ("", "active", "in-progress"), ("", "aborted", "stopped"),
     ("", "cancelled", "not-done"), ('negationInd="true"', "completed", "not-done")],
)  # fmt: skip
def test_procedure(negated, code, expected):
    entry = f"""<procedure moodCode="EVN" {negated}>{template("14")}<id root="6.1"/>{snomed("80146002")}
    <statusCode code="{code}"/><effectiveTime value="20120806"/></procedure>"""
    found = one(document(entry, section="47519-4"), "Procedure")
    assert (found["status"], found["performedDateTime"]) == (expected, "2012-08-06")
    assert codes(found["code"]) == ["80146002"]


def test_a_procedure_without_a_time_says_that_it_has_none():
    found = one(document(f'<procedure>{template("14")}<id root="6.1"/>{snomed("1")}</procedure>'), "Procedure")
    assert found["_performedDateTime"]["extension"][0]["valueCode"] == "unknown"


def immunization(negated: str = "", reason: str = "") -> dict[str, Any]:
    entry = f"""<substanceAdministration {negated}>{template("52")}<id root="5.1"/><statusCode code="completed"/>
    <effectiveTime value="20100815"/><consumable><manufacturedProduct><manufacturedMaterial>
    <code code="33" codeSystem="2.16.840.1.113883.12.292"/><lotNumberText>L1</lotNumberText>
    </manufacturedMaterial></manufacturedProduct></consumable>{reason}</substanceAdministration>"""
    return one(document(entry, section="11369-6"), "Immunization")


def test_immunization():
    found = immunization()
    assert (found["status"], found["occurrenceDateTime"], found["lotNumber"]) == ("completed", "2010-08-15", "L1")
    assert found["vaccineCode"]["coding"] == [{"system": "http://hl7.org/fhir/sid/cvx", "code": "33"}]
    refusal = f"""<entryRelationship typeCode="RSON"><observation>{template("53")}
    <code code="PATOBJ" codeSystem="2.16.840.1.113883.5.8"/></observation></entryRelationship>"""
    refused = immunization('negationInd="true"', refusal)
    assert refused["status"] == "not-done"
    assert codes(refused["statusReason"]) == ["PATOBJ"]


def result(value: str, identity: str = "4.2", code: str = "2160-0") -> str:
    return f"""<observation>{template("2")}<id root="{identity}"/><code code="{code}" codeSystem="{LOINC}"/>
    <statusCode code="completed"/><effectiveTime value="20120806"/>{value}
    <referenceRange><observationRange><value xsi:type="IVL_PQ"><low value="1" unit="g"/><high value="2" unit="g"/></value>
    </observationRange></referenceRange></observation>"""


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ('<value xsi:type="PQ" value="1.20" unit="1"/>', "valueQuantity", {"value": 1.2, "system": "http://unitsofmeasure.org", "code": "1"}),
        ('<value xsi:type="INT" value="7"/>', "valueInteger", 7),
        ('<value xsi:type="REAL" value="7.5"/>', "valueQuantity", {"value": 7.5}),
        ('<value xsi:type="ST">cloudy</value>', "valueString", "cloudy"),
        (f'<value xsi:type="CD" code="1" codeSystem="{SCT}"/>', "valueCodeableConcept", {"coding": [{"system": SNOMED, "code": "1"}]}),
        ('<value xsi:type="TS" value="20150301"/>', "valueDateTime", "2015-03-01"),
        ('<value xsi:type="BL" value="false"/>', "valueBoolean", False),
        ('<value xsi:type="IVL_PQ"><high value="5" inclusive="false"/></value>', "valueQuantity", {"value": 5, "comparator": "<"}),
        ('<value xsi:type="IVL_PQ"><low value="2"/><high value="5"/></value>', "valueRange", {"low": {"value": 2}, "high": {"value": 5}}),
        ('<value xsi:type="RTO"><numerator value="1"/><denominator value="8"/></value>', "valueRatio", {"numerator": {"value": 1}, "denominator": {"value": 8}}),
        ('<value xsi:type="PQ" nullFlavor="NASK"/>', "dataAbsentReason", {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-asked"}]}),
        ('<value xsi:type="XX" value="odd"/>', "valueString", "odd"),
    ],
)  # fmt: skip
def test_value_of_a_result(value, name, expected):
    found = one(document(result(value), section="30954-2"), "Observation")
    assert found[name] == expected
    assert sum(key.startswith("value") for key in found) == (name != "dataAbsentReason")
    assert found["status"] == "final"
    assert found["referenceRange"][0]["low"]["value"] == 1


def test_a_result_organizer_is_a_report_of_its_results():
    entry = f"""<organizer>{template("1")}<id root="4.1"/><code code="57021-8" codeSystem="{LOINC}"/>
    <statusCode code="completed"/><effectiveTime><low value="2012"/><high value="2012"/></effectiveTime>
    <component>{result("", "4.2")}</component><component>{result("", "4.3")}</component></organizer>"""
    payload = document(entry, section="30954-2")
    report = one(payload, "DiagnosticReport")
    results = resources(payload, "Observation")
    assert report["effectiveDateTime"] == "2012"
    assert [made["reference"] for made in report["result"]] == [f"Observation/{made['id']}" for made in results]


def vital(code: str, value: str, identity: str, time: str = "20140520") -> str:
    return f"""<component><observation>{template("27")}<id root="{identity}"/><code code="{code}" codeSystem="{LOINC}"/>
    <effectiveTime value="{time}"/><value xsi:type="PQ" value="{value}"/></observation></component>"""


def vitals(*components: str) -> list[dict[str, Any]]:
    entry = f'<organizer>{template("26")}<id root="3.1"/><effectiveTime value="2014"/>{"".join(components)}</organizer>'
    result = converted(document(entry, section="8716-3"))
    assert not result.unmapped
    return resources(document(entry, section="8716-3"), "Observation")


def readings(observation: dict[str, Any]) -> list[float]:
    return [part["valueQuantity"]["value"] for part in observation.get("component", ())]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_pressures_of_one_moment_are_one_observation(is_reversed):
    parts = [vital("8480-6", "120", "3.2"), vital("8462-4", "80", "3.3"), vital("8867-4", "60", "3.4")]
    panel, *members = vitals(*(reversed(parts) if is_reversed else parts))
    assert codes(panel["code"]) == ["85353-1"]
    assert sorted(codes(member["code"])[0] for member in members) == ["85354-9", "8867-4"]
    pressure = next(member for member in members if codes(member["code"]) == ["85354-9"])
    assert readings(pressure) == [120, 80]
    assert "valueQuantity" not in pressure
    assert {made["reference"] for made in panel["hasMember"]} == {f"Observation/{made['id']}" for made in members}


def test_no_pressure_is_lost_where_pairs_repeat_or_are_broken():
    found = vitals(
        vital("8480-6", "120", "3.2"), vital("8462-4", "80", "3.3"), vital("8480-6", "130", "3.4"), vital("8462-4", "90", "3.5"),
        vital("8480-6", "140", "3.6", "2015"), vital("8462-4", "70", "3.7", "2016"),
    )  # fmt: skip
    assert sorted(readings(made) for made in found[1:]) == [[70], [120, 80], [130, 90], [140]]


def test_oxygen_goes_with_its_saturation_else_stands_alone():
    together = vitals(vital("59408-5", "98", "3.2"), vital("3150-0", "36", "3.3"))[1:]
    assert [(codes(made["code"]), made["valueQuantity"]["value"], readings(made)) for made in together] == [
        (["59408-5", "2708-6"], 98, [36])
    ]
    alone = vitals(vital("3150-0", "36", "3.3"))[1:]
    assert [codes(made["code"]) for made in alone] == [["3150-0"]]


def test_encounter_and_the_header_s_are_one_where_they_share_an_id():
    entry = f"""<encounter>{template("49")}<id root="2.1"/><code code="99213" codeSystem="2.16.840.1.113883.6.12"/>
    <effectiveTime><low value="20120927"/></effectiveTime>
    <entryRelationship><act>{template("80")}<code code="29308-4"/><entryRelationship typeCode="SUBJ">
    <observation>{template("4")}<id root="2.2"/>{snomed("233604007", "value", xsi_type="CD")}</observation>
    </entryRelationship></act></entryRelationship></encounter>"""
    header = (
        PATIENT
        + '<componentOf><encompassingEncounter><id root="2.1"/><effectiveTime><low value="20120927"/></effectiveTime>'
        + '<dischargeDispositionCode code="01"/></encompassingEncounter></componentOf>'
    )
    payload = document(entry, section="46240-8", header=header)
    encounter, condition = one(payload, "Encounter"), one(payload, "Condition")
    assert encounter["class"]["code"] == "AMB"
    assert encounter["status"] == "in-progress"
    assert codes(encounter["hospitalization"]["dischargeDisposition"]) == ["01"]
    assert encounter["diagnosis"] == [{"condition": {"reference": f"Condition/{condition['id']}"}}]
    assert codes(condition["category"][0]) == ["encounter-diagnosis"]
    assert condition["encounter"] == {"reference": f"Encounter/{encounter['id']}"}
    assert one(payload, "Composition")["encounter"] == condition["encounter"]


def test_social_history_and_birth_sex():
    smoking = f"""<observation>{template("78")}<id root="1.1"/><code code="72166-2" codeSystem="{LOINC}"/>
    <effectiveTime value="2014"/>{snomed("449868002", "value", xsi_type="CD")}</observation>"""
    found = one(document(smoking, section="29762-2"), "Observation")
    assert codes(found["category"][0]) == ["social-history"]
    assert codes(found["valueCodeableConcept"]) == ["449868002"]
    sex = f'<observation>{template("200")}<code code="76689-9"/><value xsi:type="CD" code="F"/></observation>'
    assert resources(document(sex), "Observation") == []
    assert one(document(sex), "Patient")["extension"] == [
        {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": "F"}
    ]


@pytest.mark.parametrize(
    ("act", "number", "mood", "kind", "element", "expected"),
    [
        ("procedure", "41", "RQO", "ServiceRequest", "intent", "order"),
        ("act", "39", "INT", "ServiceRequest", "intent", "order"),
        ("encounter", "40", "PRP", "ServiceRequest", "intent", "proposal"),
        ("observation", "44", "RQO", "ServiceRequest", "status", "active"),
        ("observation", "44", "GOL", "Goal", "lifecycleStatus", "active"),
        ("observation", "121", "GOL", "Goal", "lifecycleStatus", "active"),
        ("substanceAdministration", "42", "INT", "MedicationRequest", "intent", "order"),
        ("observation", "67", "EVN", "Observation", "status", "registered"),
        ("supply", "50", "EVN", "DeviceUseStatement", "status", "active"),
        ("organizer", "45", "EVN", "FamilyMemberHistory", "status", "completed"),
        ("act", "61", "EVN", "Coverage", "status", "active"),
        ("act", "12", "EVN", "Procedure", "status", "in-progress"),
    ],
)
def test_other_entries(act, number, mood, kind, element, expected):
    entry = (
        f'<{act} moodCode="{mood}">{template(number)}<id root="1.7"/>{snomed("1")}<statusCode code="active"/></{act}>'
    )
    assert one(document(entry, section="18776-5"), kind)[element] == expected


PERSON = """<recordTarget><patientRole><id root="2.16.840.1.113883.19.5" extension="P1"/>
<addr use="HP"><city>Kent</city></addr><telecom value="tel:555" use="MC"/><patient>
<name><given>Ann</given><family>Lee</family></name><administrativeGenderCode code="UN"/><birthTime value="19971204005602"/>
<sdtc:deceasedInd value="true"/><maritalStatusCode code="M" codeSystem="2.16.840.1.113883.5.2"/>
<raceCode code="2106-3" displayName="White" codeSystem="2.16.840.1.113883.6.238"/>
<sdtc:raceCode code="2108-9" displayName="European" codeSystem="2.16.840.1.113883.6.238"/>
<ethnicGroupCode code="2186-5" displayName="Not Hispanic" codeSystem="2.16.840.1.113883.6.238"/>
<guardian><code code="FTH" codeSystem="2.16.840.1.113883.5.111"/><guardianPerson><name><family>Old</family></name></guardianPerson></guardian>
<languageCommunication><languageCode code="eng"/><preferenceInd value="true"/></languageCommunication>
</patient><providerOrganization><id root="1.5"/><name>Clinic</name></providerOrganization></patientRole></recordTarget>"""


def test_patient():
    payload = document(header=PERSON)
    patient = one(payload, "Patient")
    assert patient["identifier"] == [{"system": "urn:oid:2.16.840.1.113883.19.5", "value": "P1"}]
    assert (patient["gender"], patient["birthDate"], patient["deceasedBoolean"]) == ("other", "1997-12-04", True)
    assert patient["address"] == [{"use": "home", "city": "Kent"}]
    assert patient["telecom"] == [{"system": "phone", "value": "555", "use": "mobile"}]
    assert codes(patient["maritalStatus"]) == ["M"]
    race, ethnicity = patient["extension"]
    assert [(part["url"], part.get("valueCoding", {}).get("code")) for part in race["extension"]] == [
        ("ombCategory", "2106-3"), ("detailed", "2108-9"), ("text", None)
    ]  # fmt: skip
    assert ethnicity["extension"][-1] == {"url": "text", "valueString": "Not Hispanic"}
    [guardian] = patient["contact"]
    assert [codes(relationship) for relationship in guardian["relationship"]] == [["GUARD"], ["FTH"]]
    assert guardian["name"] == {"family": "Old"}
    assert patient["communication"] == [
        {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}, "preferred": True}
    ]
    [clinic] = [made for made in resources(payload, "Organization") if made.get("name") == "Clinic"]
    assert patient["managingOrganization"] == {"reference": f"Organization/{clinic['id']}"}


def test_a_deceased_time_wins_over_the_indicator():
    header = PERSON.replace("<maritalStatusCode", '<sdtc:deceasedTime value="20200101"/><maritalStatusCode')
    patient = one(document(header=header), "Patient")
    assert patient["deceasedDateTime"] == "2020-01-01"
    assert "deceasedBoolean" not in patient


def test_composition_and_metadata():
    payload = document(problem(), text='<paragraph ID="a">Pain</paragraph>')
    composition, condition = one(payload, "Composition"), one(payload, "Condition")
    assert composition["identifier"] == {"system": "urn:oid:1.2.3", "value": "S1"}
    assert composition["meta"]["versionId"] == "2"
    assert composition["date"] == "2024-01-02T03:04:05+01:00"
    [section] = composition["section"]
    assert section["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml"><p id="a">Pain</p></div>'
    assert section["entry"] == [{"reference": f"Condition/{condition['id']}"}]
    assert condition["meta"] == {
        "lastUpdated": "2024-01-02T03:04:05+01:00",
        "source": "urn:cohortlake:ccda:document:1.2.3#D1",
    }


def test_a_section_of_text_alone_is_a_note_and_one_without_information_is_not():
    payload = document(text="All is well")
    note = one(payload, "DocumentReference")
    assert note["content"][0]["attachment"] == {"contentType": "text/plain", "data": "QWxsIGlzIHdlbGw="}
    assert codes(note["type"]) == ["11450-4"]
    nothing = payload.replace(b"<section>", b'<section nullFlavor="NI">')
    assert resources(nothing, "DocumentReference") == []
    [section] = one(nothing, "Composition")["section"]
    assert "All is well" in section["text"]["div"]
    assert codes(section["emptyReason"]) == ["unavailable"]


def test_an_unstructured_document_is_a_document_reference():
    head, _, tail = document().decode().partition("<component><structuredBody>")
    body = '<component><nonXMLBody><text mediaType="text/plain" representation="B64">aGVsbG8=</text></nonXMLBody></component>'
    payload = (head + body + tail.partition("</structuredBody></component>")[2]).encode()
    found = one(payload, "DocumentReference")
    assert found["content"] == [{"attachment": {"contentType": "text/plain", "data": "aGVsbG8="}}]
    assert "section" not in one(payload, "Composition")


def test_words_of_the_narrative_stand_where_a_reference_is():
    entry = problem().replace(
        snomed("38341003", "value", xsi_type="CD"),
        '<value xsi:type="CD" nullFlavor="UNK"><originalText><reference value="#a"/></originalText></value>',
    )
    assert one(document(entry, text='<content ID="a">Sore  elbow</content>'), "Condition")["code"] == {
        "text": "Sore elbow"
    }


def test_ids_are_the_same_each_time_and_depend_on_the_business_identifier():
    first, again = converted(document(problem())), converted(document(problem(), time="20250101"))
    assert [made["id"] for made in first.resources] == [made["id"] for made in again.resources]
    other = converted(document(problem().replace("9.2", "9.9")))
    ids = {
        kind: [{m["id"] for m in c.resources if m["resourceType"] == kind} for c in (first, other)]
        for kind in ("Patient", "Condition")
    }
    assert ids["Patient"][0] == ids["Patient"][1]
    assert not ids["Condition"][0] & ids["Condition"][1]


def test_what_has_no_id_is_known_by_what_it_says_within_its_patient():
    nameless = problem().replace('<id root="2.9.2"/>', '<id nullFlavor="NI"/>')
    one_way = one(document(nameless), "Condition")["id"]
    assert one(document(nameless.replace("><", ">\n <")), "Condition")["id"] == one_way
    assert one(document(nameless.replace("38341003", "44054006")), "Condition")["id"] != one_way
    assert one(document(nameless, header=PATIENT.replace("P1", "P2")), "Condition")["id"] != one_way


def test_one_fact_told_twice_is_one_resource_and_two_facts_with_one_id_are_two():
    twice = document(problem() + "</entry><entry>" + problem())
    assert len(resources(twice, "Condition")) == 1
    both = converted(document(problem() + "</entry><entry>" + problem(value="44054006")))
    conditions = [made for made in both.resources if made["resourceType"] == "Condition"]
    assert len({made["id"] for made in conditions}) == 2
    assert [p.reason for p in both.problems] == ["two facts carry one id: they are kept apart by what they say"]


def test_an_entry_of_a_template_that_is_not_known_is_counted():
    inner = problem(more='<entryRelationship><act><templateId root="1.1.1"/></act></entryRelationship>')
    result = converted(
        document(inner + '</entry><entry><observation><templateId root="9.9.9"/></observation></entry><entry><supply/>')
    )
    assert result.unmapped == {"act 1.1.1": 1, "observation 9.9.9": 1, "supply without template": 1}
    assert result.error is None


def test_what_r4_requires_and_the_document_lacks_is_marked_and_told():
    entry = f'<encounter>{template("49")}<id root="2.1"/><effectiveTime value="2012"/></encounter>'
    payload = document(entry)
    assert one(payload, "Encounter")["class"]["extension"][0]["valueCode"] == "unknown"
    masked = f'<substanceAdministration>{template("52")}<id root="5.1"/><effectiveTime nullFlavor="MSK"/><consumable><manufacturedProduct><manufacturedMaterial><code nullFlavor="MSK"/></manufacturedMaterial></manufacturedProduct></consumable></substanceAdministration>'
    assert one(document(masked), "Immunization")["_occurrenceDateTime"]["extension"][0]["valueCode"] == "unknown"
    assert one(document(masked), "Immunization")["vaccineCode"]["extension"][0]["valueCode"] == "masked"
    assert [(p.reason, p.place) for p in converted(payload).problems] == [
        ("required by R4 and not said: marked as absent", "Encounter.class")
    ]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_number_and_a_quantity_of_it_are_one_value(is_reversed):
    told = [result('<value xsi:type="INT" value="3"/>'), result('<value xsi:type="PQ" value="3" unit="{score}"/>')]
    payload = document("</entry><entry>".join(reversed(told) if is_reversed else told), section="30954-2")
    found = one(payload, "Observation")
    assert found["valueQuantity"]["unit"] == "{score}"
    assert "valueInteger" not in found
    other = [result('<value xsi:type="INT" value="3"/>'), result('<value xsi:type="ST">three</value>')]
    assert len(resources(document("</entry><entry>".join(other)), "Observation")) == 2


def test_a_section_that_is_only_a_heading_is_shown_as_that():
    [section] = one(document(), "Composition")["section"]
    assert section["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml">Section</div>'
