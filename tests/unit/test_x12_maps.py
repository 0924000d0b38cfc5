"""The X12 maps: what the examples become, and one identity of a claim in its 837 and its 835."""

from __future__ import annotations

from decimal import Decimal

from cohortlake.core.convert import dumps
from tests.x12_sets import claim, codes, info


def test_a_professional_claim():
    found = claim("837p.edi", "PCN-1001")
    assert (found["status"], found["use"], codes(found["type"])) == ("active", "claim", ["professional"])
    assert found["billablePeriod"] == {"start": "2025-03-03", "end": "2025-03-04"}
    assert found["total"] == {"value": Decimal("257.50"), "currency": "USD"}
    assert '"total":{"value":257.50,' in dumps(found)
    assert [
        (d["sequence"], *codes(d["diagnosisCodeableConcept"]), *codes(d["type"][0])) for d in found["diagnosis"]
    ] == [
        (1, "S52.501A", "principal"),
        (2, "V18.00XA", "secondary"),
        (3, "J45.909", "secondary"),
    ]
    assert [codes(m["role"]) for m in found["careTeam"]] == [["referring"], ["rendering"], ["rendering"]]
    assert [i["focal"] for i in found["insurance"]] == [True, False]
    assert found["insurance"][0]["preAuthRef"] == ["AUTH77"]
    assert (found["accident"]["date"], codes(found["accident"]["type"])) == ("2025-02-27", ["MVA"])


def test_the_lines_of_a_professional_claim():
    first, second, third = claim("837p.edi", "PCN-1001")["item"]
    assert first["productOrService"]["coding"] == [{"system": "http://www.ama-assn.org/go/cpt", "code": "99213"}]
    assert first["diagnosisSequence"] == [1, 2]
    assert [m["coding"][0]["system"] for m in (first["modifier"][0], second["modifier"][0])] == [
        "http://www.ama-assn.org/go/cpt",
        "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    ]
    assert [codes(m) for m in second["modifier"]] == [["LT"], ["TC"]]
    assert (first["servicedDate"], second["servicedPeriod"]) == (
        "2025-03-03",
        {"start": "2025-03-03", "end": "2025-03-04"},
    )
    assert [codes(line["locationCodeableConcept"]) for line in (first, second)] == [["11"], ["22"]]
    assert (second["careTeamSequence"], "careTeamSequence" in first) == ([3], False)
    assert third["productOrService"]["coding"][0]["system"].endswith("HCPCSReleaseCodeSets")
    assert third["quantity"] == {"value": 25, "unit": "UN", "system": "http://unitsofmeasure.org", "code": "1"}
    assert third["detail"][0]["productOrService"]["coding"] == [
        {"system": "http://hl7.org/fhir/sid/ndc", "code": "00487950101"}
    ]


def test_an_institutional_claim():
    found = claim("837i.edi", "OAK-77")
    assert (codes(found["type"]), codes(found["subType"])) == (["institutional"], ["inpatient"])
    told = [(*codes(d["diagnosisCodeableConcept"]), *codes(d["type"][0])) for d in found["diagnosis"]]
    assert told == [
        ("I21.09", "principal"),
        ("E11.65", "other"),
        ("N17.9", "other"),
        ("R07.9", "admitting"),
        ("W18.30XA", "externalcauseofinjury"),
    ]
    assert [codes(d["onAdmission"]) for d in found["diagnosis"] if "onAdmission" in d] == [["Y"], ["Y"], ["N"]]
    assert [(codes(p["procedureCodeableConcept"]), p["date"], codes(p["type"][0])) for p in found["procedure"]] == [
        (["027034Z"], "2025-03-20", ["principal"]),
        (["4A023N7"], "2025-03-21", ["other"]),
        (["B2111ZZ"], "2025-03-21", ["other"]),
    ]
    assert [codes(info(found, name)[0]["code"]) for name in ("typeofbill", "admtype", "pointoforigin")] == [
        ["111"],
        ["1"],
        ["7"],
    ]
    assert codes(info(found, "discharge-status")[0]["code"]) == ["01"]
    assert codes(info(found, "drg")[0]["code"]) == ["247"]
    assert info(found, "admissionperiod")[0]["timingPeriod"] == {"start": "2025-03-20T07:10:00+00:00"}
    assert info(found, "medicalrecordnumber")[0]["valueString"] == "OAK-MRN-9"
    nubc = {c["system"].rpartition("/")[2]: i for i in info(found, "info") for c in i["code"].get("coding", ())}
    assert nubc["ValueCodes"]["valueQuantity"] == {"value": 4}
    assert nubc["OccurrenceCodes"]["timingDate"] == "2025-06-30"
    assert nubc["OccurrenceSpanCodes"]["timingPeriod"] == {"start": "2025-03-01", "end": "2025-03-05"}
    assert codes(nubc["ConditionCodes"]["code"]) == ["C1"]
    assert [codes(line["revenue"]) for line in found["item"]] == [["0120"], ["0250"], ["0481"]]
    assert [codes(line["productOrService"]) for line in found["item"]] == [
        ["not-applicable"],
        ["not-applicable"],
        ["92941"],
    ]
    assert found["item"][0]["quantity"]["code"] == "d"
    assert [codes(m["role"]) for m in found["careTeam"]] == [["attending"], ["operating"]]
    assert [item["sequence"] for item in found["supportingInfo"]] == list(range(1, len(found["supportingInfo"]) + 1))
