"""Who and what X12 resources are: patients, versions of claims, remittances and the claims that they pay, codes."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from cohortlake.core.convert import Converted, Options
from cohortlake.core.readers.x12 import records
from cohortlake.core.x12 import to_fhir
from tests.x12_sets import EXAMPLES, claim, codes, info, resources, sets


def test_a_dependent_is_the_patient_and_the_subscriber_is_related():
    first, second = sets("837p.edi")
    (patient,), (subscriber,) = resources([first], "Patient"), resources([first], "RelatedPerson")
    own, other = resources([first], "Coverage")
    assert (patient["name"][0]["given"], patient["birthDate"], patient["gender"]) == (["LINDEN"], "2015-06-01", "male")
    assert (subscriber["name"][0]["given"], subscriber["patient"]["reference"]) == (
        ["ROWAN", "Q"],
        f"Patient/{patient['id']}",
    )
    assert codes(subscriber["relationship"][0]) == ["PRN"]
    assert own["subscriber"]["reference"] == f"RelatedPerson/{subscriber['id']}"
    assert (codes(own["relationship"]), own["subscriberId"], own["order"]) == (["child"], "W123456789", 1)
    assert (codes(other["relationship"]), other["subscriberId"], other["order"]) == (["self"], "Z987654321", 2)
    (own,) = resources([second], "Coverage")
    (patient,) = resources([second], "Patient")
    assert own["subscriber"]["reference"] == own["beneficiary"]["reference"] == f"Patient/{patient['id']}"
    assert resources([second], "RelatedPerson") == []


def test_a_subscriber_that_is_no_person_holds_the_policy():
    employer = {"NM1*IL*1*ASH*ROWAN*Q***MI*W123456789": "NM1*IL*2*ACME WORKS", "PAT*19": "PAT*20"}
    (first, _) = sets("837p.edi", **employer)
    holder = next(r for r in resources([first], "Organization") if r["name"] == "ACME WORKS")
    own = resources([first], "Coverage")[0]
    assert own["policyHolder"]["reference"] == f"Organization/{holder['id']}"
    assert ("subscriber" in own, resources([first], "RelatedPerson")) == (False, [])


def test_a_replacement_names_what_it_replaces_and_a_void_is_cancelled():
    replaced, void = claim("837p.edi", "PCN-1002"), claim("837p.edi", "PCN-1003")
    assert [r["related"][0]["reference"]["value"] for r in (replaced, void)] == ["ICN555", "ICN556"]
    assert [r["status"] for r in (replaced, void)] == ["active", "cancelled"]


def test_a_remittance_points_at_the_claim_and_the_people_of_the_claim():
    claims, remittance = sets("837p.edi"), sets("835.edi")
    eob = next(r for r in resources(remittance, "ExplanationOfBenefit") if r["identifier"][0]["value"] == "ICN1001")
    known = {f"{r['resourceType']}/{r['id']}" for result in claims for r in result.resources}
    same = ("claim", "patient", "insurer", "provider")
    assert {eob[name]["reference"] for name in same} <= known
    assert eob["insurance"][0]["coverage"]["reference"] in known
    assert eob["careTeam"][0]["provider"]["reference"] in known
    assert eob["claim"]["reference"] == f"Claim/{claim('837p.edi', 'PCN-1001')['id']}"


def test_what_a_payer_decided():
    eob = next(
        r for r in resources(sets("835.edi"), "ExplanationOfBenefit") if r["identifier"][0]["value"] == "ICN1001"
    )
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
    told = {r["identifier"][0]["value"]: r for r in resources([remittance], "ExplanationOfBenefit")}
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
    (payment,) = resources(sets("835.edi"), "PaymentReconciliation")
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
        found = resources([result], "Claim")
        assert len(found) == len({r["id"] for r in found}) == count
        assert any(said in problem.reason for problem in result.problems)


def test_codes_that_no_map_knows_are_kept_and_counted():
    result = sets("837p.edi", **{"PAT*19": "PAT*ZX", "*UN*25*": "*QQ*25*"})[0]
    assert result.codes == {("relationship", "ZX"): 1, ("subscriber_is", "ZX"): 1, ("unit", "QQ"): 1}
    own = resources([result], "Coverage")[0]
    assert own["relationship"] == {"coding": [{"system": "https://codesystem.x12.org/005010/1069", "code": "ZX"}]}
    assert resources([result], "Claim")[0]["item"][2]["quantity"] == {"value": 25, "unit": "QQ"}


def test_what_no_map_takes_is_counted_by_name():
    result = sets("837p.edi", **{"REF*D9*": "REF*LX*", "NM1*DN*1*BIRCH": "NM1*DN*1*BIRCH"})[0]
    assert result.unmapped["REF[LX]-02"] == 1
    assert result.unmapped["REF[6R]-02"] == 1
    assert not any(name.startswith(("NM1[DN]", "HI", "SV1", "DTP", "SE", "ST")) for name in result.unmapped)


def test_times_are_in_the_silos_zone():
    record = next(records((EXAMPLES / "837i.edi").read_bytes()))
    found = resources([to_fhir(record, Options(zone="America/Chicago"))], "Claim")[0]
    assert info(found, "admissionperiod")[0]["timingPeriod"] == {"start": "2025-03-20T07:10:00-05:00"}


def test_a_test_interchange_is_labelled():
    label = ("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HTEST")
    for mark, expected in (("T", {label}), ("P", set())):
        result = sets("837i.edi", **{"*0*P*:~": f"*0*{mark}*:~"})[0]
        told = [r["meta"].get("security", []) for r in result.resources]
        assert {(s["system"], s["code"]) for labels in told for s in labels} == expected
