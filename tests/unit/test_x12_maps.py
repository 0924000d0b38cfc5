"""The X12 maps: what the examples become, one identity in claim and remittance, wrong declarations, nothing raises."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortlake.core.convert import Converted, Options, Record, dumps
from cohortlake.core.errors import CatalogError
from cohortlake.core.readers.x12 import records
from cohortlake.core.x12 import to_fhir
from cohortlake.core.x12.declared import FOLDER, load_x12
from cohortlake.core.x12.mapper import Mapper

EXAMPLES = Path(__file__).parents[1] / "integration/x12"
Resource = dict[str, Any]
CARIN = "http://hl7.org/fhir/us/carin-bb/CodeSystem/"


def sets(name: str, **replaced: str) -> list[Converted]:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in replaced.items():
        text = text.replace(old, new)
    return [to_fhir(record) for record in records(text.encode())]


def made(results: list[Converted], kind: str) -> list[Resource]:
    return [r for result in results for r in result.resources if r["resourceType"] == kind]


def claim(name: str, number: str) -> Resource:
    return next(r for r in made(sets(name), "Claim") if r["identifier"][0]["value"] == number)


def codes(concept: Resource) -> list[str]:
    return [coding["code"] for coding in concept["coding"]]


def info(resource: Resource, code: str) -> list[Resource]:
    return [i for i in resource["supportingInfo"] if code in codes(i["category"])]


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


def test_a_dependent_is_the_patient_and_the_subscriber_is_related():
    first, second = sets("837p.edi")
    (patient,), (subscriber,) = made([first], "Patient"), made([first], "RelatedPerson")
    own, other = made([first], "Coverage")
    assert (patient["name"][0]["given"], patient["birthDate"], patient["gender"]) == (["LINDEN"], "2015-06-01", "male")
    assert (subscriber["name"][0]["given"], subscriber["patient"]["reference"]) == (
        ["ROWAN", "Q"],
        f"Patient/{patient['id']}",
    )
    assert codes(subscriber["relationship"][0]) == ["PRN"]
    assert own["subscriber"]["reference"] == f"RelatedPerson/{subscriber['id']}"
    assert (codes(own["relationship"]), own["subscriberId"], own["order"]) == (["child"], "W123456789", 1)
    assert (codes(other["relationship"]), other["subscriberId"], other["order"]) == (["self"], "Z987654321", 2)
    (own,) = made([second], "Coverage")
    (patient,) = made([second], "Patient")
    assert own["subscriber"]["reference"] == own["beneficiary"]["reference"] == f"Patient/{patient['id']}"
    assert made([second], "RelatedPerson") == []


def test_a_replacement_names_what_it_replaces_and_a_void_is_cancelled():
    replaced, void = claim("837p.edi", "PCN-1002"), claim("837p.edi", "PCN-1003")
    assert [r["related"][0]["reference"]["value"] for r in (replaced, void)] == ["ICN555", "ICN556"]
    assert [r["status"] for r in (replaced, void)] == ["active", "cancelled"]


def test_a_remittance_points_at_the_claim_and_the_people_of_the_claim():
    claims, remittance = sets("837p.edi"), sets("835.edi")
    eob = next(r for r in made(remittance, "ExplanationOfBenefit") if r["identifier"][0]["value"] == "ICN1001")
    known = {f"{r['resourceType']}/{r['id']}" for result in claims for r in result.resources}
    same = ("claim", "patient", "insurer", "provider")
    assert {eob[name]["reference"] for name in same} <= known
    assert eob["insurance"][0]["coverage"]["reference"] in known
    assert eob["careTeam"][0]["provider"]["reference"] in known
    assert eob["claim"]["reference"] == f"Claim/{claim('837p.edi', 'PCN-1001')['id']}"


def test_what_a_payer_decided():
    eob = next(r for r in made(sets("835.edi"), "ExplanationOfBenefit") if r["identifier"][0]["value"] == "ICN1001")
    assert (eob["status"], eob["outcome"], eob["disposition"]) == ("active", "complete", "Processed as Primary")
    assert {codes(t["category"])[0]: t["amount"]["value"] for t in eob["total"]} == {
        "submitted": Decimal("257.5"),
        "paidtoprovider": Decimal("206.75"),
        "memberliability": Decimal(35),
        "eligible": Decimal("251.75"),
    }
    assert eob["payment"]["date"] == "2025-04-02"
    assert [
        (codes(a["category"]), codes(a["reason"]), str(a["amount"]["value"]))
        for a in eob["item"][0]["adjudication"][3:]
    ] == [
        (["deductible"], ["1", "PR"], "25"),
        (["copay"], ["3", "PR"], "10"),
    ]
    second = eob["item"][1]
    assert [codes(a["category"]) for a in second["adjudication"]] == [
        ["submitted"],
        ["paidtoprovider"],
        ["eligible"],
        ["adjustmentreason"],
        ["adjustmentreason"],
    ]
    assert codes(second["adjudication"][4]["reason"]) == ["N130"]
    assert second["servicedPeriod"] == {"start": "2025-03-03", "end": "2025-03-04"}


def test_a_reversal_cancels_and_gives_way_to_its_correction_in_the_same_set():
    (remittance,) = sets("835.edi")
    told = {r["identifier"][0]["value"]: r for r in made([remittance], "ExplanationOfBenefit")}
    assert {name: r["status"] for name, r in told.items()} == {
        "ICN1001": "active",
        "ICN1009": "active",
        "ICN0990": "cancelled",
        "ICN0991": "active",
        "ICN0700": "active",
    }
    assert codes(told["ICN1009"]["payment"]["type"]) == ["denied"]
    assert told["ICN0700"]["payment"]["amount"]["value"] == 20
    assert told["ICN0991"]["related"][0]["reference"]["value"] == "ICN0990"
    assert "ExplanationOfBenefit is superseded in the same set" in [p.reason for p in remittance.problems]


def test_a_payment_lists_all_that_it_pays_and_takes_off():
    (payment,) = made(sets("835.edi"), "PaymentReconciliation")
    assert (payment["paymentDate"], payment["paymentAmount"]["value"]) == ("2025-04-02", Decimal("206.75"))
    assert sum(d["amount"]["value"] for d in payment["detail"]) == payment["paymentAmount"]["value"]
    assert [codes(d["type"]) for d in payment["detail"]][-2:] == [["adjustment", "WO"], ["adjustment", "L6"]]


@pytest.mark.parametrize("name", ["837p.edi", "837i.edi", "835.edi"])
def test_the_same_set_sent_again_has_the_same_ids(name):
    def ids(results: list[Converted]) -> list[tuple[str, str]]:
        return [(r["resourceType"], r["id"]) for result in results for r in result.resources]

    again = sets(name, **{"*000000101*": "*000000999*", "*0915*": "*1015*", "000000101~": "000000999~"})
    assert ids(sets(name)) == ids(again)
    assert [count for count in Counter(ids(sets(name)[:1])).values() if count > 1] == []


def test_a_claim_that_stands_twice_is_one_and_two_with_one_number_are_two():
    text = (EXAMPLES / "837p.edi").read_text(encoding="utf-8").replace("\n", "")
    body = text[text.index("CLM*PCN-1003") : text.index("SE*30")]
    for copy, count, said in ((body, 2, "stands twice"), (body.replace("*45*", "*46*"), 3, "carry one number")):
        (_, record) = records(text.replace("SE*30", copy + "SE*35").encode())
        result = to_fhir(record)
        found = made([result], "Claim")
        assert len(found) == len({r["id"] for r in found}) == count
        assert any(said in problem.reason for problem in result.problems)


def test_codes_that_no_map_knows_are_kept_and_counted():
    result = sets("837p.edi", **{"PAT*19": "PAT*ZX", "*UN*25*": "*QQ*25*"})[0]
    assert result.codes == {("relationship", "ZX"): 1, ("subscriber_is", "ZX"): 1, ("unit", "QQ"): 1}
    own = made([result], "Coverage")[0]
    assert own["relationship"] == {"coding": [{"system": "https://codesystem.x12.org/005010/1069", "code": "ZX"}]}
    assert made([result], "Claim")[0]["item"][2]["quantity"] == {"value": 25, "unit": "QQ"}


def test_what_no_map_takes_is_counted_by_name():
    result = sets("837p.edi", **{"REF*D9*": "REF*LX*", "NM1*DN*1*BIRCH": "NM1*DN*1*BIRCH"})[0]
    assert result.unmapped["REF[LX]-02"] == 1
    assert result.unmapped["REF[6R]-02"] == 1
    assert not any(name.startswith(("NM1[DN]", "HI", "SV1", "DTP", "SE", "ST")) for name in result.unmapped)


def test_times_are_in_the_silos_zone():
    record = next(records((EXAMPLES / "837i.edi").read_bytes()))
    found = made([to_fhir(record, Options(zone="America/Chicago"))], "Claim")[0]
    assert info(found, "admissionperiod")[0]["timingPeriod"] == {"start": "2025-03-20T07:10:00-05:00"}


def test_a_test_interchange_is_labelled():
    label = ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST")
    for mark, expected in (("T", {label}), ("P", set())):
        result = sets("837i.edi", **{"*0*P*:~": f"*0*{mark}*:~"})[0]
        told = [r["meta"].get("security", []) for r in result.resources]
        assert {(s["system"], s["code"]) for labels in told for s in labels} == expected


WRONG = [
    # file, what is replaced, by what, what the error says
    ("maps/Patient.yaml", "birthDate:", "birthday:", "Patient has no element 'birthday'"),
    ("maps/Patient.yaml", "| gender", "| sex", "'sex' is not a code map or a text"),
    ("maps/Patient.yaml", '"=DMG-2"', '"=DMG2"', "'DMG2' is not a source"),
    ("maps/Patient.yaml", "resource: Patient", "resource: Person2", "'Person2' is not an R4 resource type"),
    ("maps/Patient.yaml", "when: beside 2300", "when: beside", "is not"),
    ("maps/Patient.yaml", "key:", "keys:", "keys is not known here"),
    ("maps/Patient.yaml", "$needs: value", "$need: value", "$need is not known"),
    ("maps/Patient.yaml", "$each: PER-3+2", "$each: PER-3 by 2", "cannot be gone through"),
    ("maps/Claim.yaml", 'role: "=NM1-1 | care_team_role"', 'role: "=NM1-1"', "made through a code map"),
    ("maps/Claim.yaml", 'total: "=CLM-2"', 'total: ["=CLM-2"]', "does not repeat"),
    ("maps/PaymentReconciliation.yaml", "$refers: Claim", "$refers: Claims", "there is no maps/Claims.yaml"),
    ("sets/837P.yaml", "makes: [Payer,", "makes: [Payers,", "there is no maps/Payers.yaml"),
    ("sets/837P.yaml", "2010AA required;", "2010AX required;", "names a loop '2010AX' that is not declared"),
    ("sets/837P.yaml", "PWK x10", "PWK times 10", "is not an item"),
    ("sets/837P.yaml", "  SET: [", "  WHOLE: [", "there is no loop SET"),
    ("sets/835.yaml", '"2000": [LX required,', '"2000": ["2100",', "does not begin with a segment"),
]


@pytest.mark.parametrize(("file", "good", "bad", "said"), WRONG)
def test_a_wrong_declaration_is_told(tmp_path: Path, file: str, good: str, bad: str, said: str):
    folder = tmp_path / "x12"
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert good in text
    (folder / file).write_text(text.replace(good, bad, 1), encoding="utf-8")
    with pytest.raises(CatalogError) as error:
        Mapper(load_x12(folder))
    assert said in str(error.value)
    assert Path(file).name in str(error.value)


SEGMENTS = [
    line
    for name in ("837p.edi", "837i.edi", "835.edi")
    for line in (EXAMPLES / name).read_text(encoding="utf-8").replace("\n", "").split("~")[2:-3]
]
PIECE = st.text('AB19:*^ .-\\"é20250102ICDEXW', max_size=14)
HEADS = {"837P": "005010X222A1", "837I": "005010X223A2", "835": "005010X221A1"}


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(sorted(HEADS)), st.lists(st.one_of(st.sampled_from(SEGMENTS), PIECE), max_size=40))
def test_no_order_of_segments_raises(guide, body):
    isa = (EXAMPLES / "835.edi").read_text(encoding="utf-8")[:105]
    text = "~".join(
        [isa, "GS*HC*A*B*20250101*1200*1*X*1", f"ST*{guide[:3]}*1*{HEADS[guide]}", *body, "SE*9*1", "GE*1*1"]
    )
    for record in records(f"{text}~IEA*1*1~".encode()):
        result = to_fhir(record)
        assert result.error is None or result.resources == []


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["837p.edi", "837i.edi", "835.edi"]), st.data())
def test_values_of_any_kind_raise_nothing_and_what_lands_is_whole(name, data):
    lines = (EXAMPLES / name).read_text(encoding="utf-8").replace("\n", "").split("~")
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4, len(lines) - 5))
        elements = lines[at].split("*")
        if len(elements) > 1 and elements[0] not in ("SE", "ST", "GS"):
            elements[data.draw(st.integers(1, len(elements) - 1))] = data.draw(PIECE)
            lines[at] = "*".join(elements)
    for record in records("~".join(lines).encode()):
        result = to_fhir(record)
        ids = [(r["resourceType"], r["id"]) for r in result.resources]
        assert len(ids) == len(set(ids))
        assert all(json.loads(dumps(r))["id"] == r["id"] for r in result.resources)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    for record in [*records(data), *records(b"ISA*" + data), Record(0, data)]:
        to_fhir(record)
