"""Delimited claims to FHIR: identities, codes and their systems, what is not known, declarations that are wrong."""

from __future__ import annotations

import csv
import io
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.claims import cpcds, rif
from cohortlake.core.claims.declared import load_claims
from cohortlake.core.claims.mapper import Mapper
from cohortlake.core.claims.values import convert, day
from cohortlake.core.convert import Converted, Options, Record, dumps
from cohortlake.core.errors import CatalogError
from cohortlake.core.language.declared import FORMATS, Shared
from cohortlake.core.language.expand import expand

Row = dict[str, str]


def table(rows: list[Row], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def of_rif(*rows: Row, options: Options | None = None) -> Converted:
    [record] = rif.records(table(list(rows), "|"))
    return rif.to_fhir(record, options)


def of_cpcds(*rows: Row, options: Options | None = None) -> Converted:
    [record] = cpcds.records(table(list(rows), ","))
    return cpcds.to_fhir(record, options)


def one(made: Converted, kind: str) -> dict[str, Any]:
    [found] = [r for r in made.resources if r["resourceType"] == kind and "tag" not in r.get("meta", {})]
    return found


PDE = {
    "DML_IND": "INSERT",
    "PDE_ID": "-5",
    "FINAL_ACTION": "F",
    "BENE_ID": "-1",
    "SRVC_DT": "30-Oct-2021",
    "PD_DT": "02-Nov-2021",
    "RX_SRVC_RFRNC_NUM": "77",
    "PROD_SRVC_ID": "55111058810",
    "QTY_DSPNSD_NUM": "90.0",
    "DAYS_SUPLY_NUM": "90",
    "FILL_NUM": "1",
    "TOT_RX_CST_AMT": "7.50",
    "SRVC_PRVDR_ID_QLFYR_CD": "01",
    "SRVC_PRVDR_ID": "1234567893",
    "PRSCRBR_ID_QLFYR_CD": "01",
    "PRSCRBR_ID": "9999994029",
}
INPATIENT = {
    "DML_IND": "INSERT",
    "BENE_ID": "-1",
    "CLM_ID": "-100",
    "FINAL_ACTION": "F",
    "NCH_NEAR_LINE_REC_IDENT_CD": "V",
    "NCH_CLM_TYPE_CD": "60",
    "CLM_FROM_DT": "20210328",
    "CLM_THRU_DT": "20210402",
    "NCH_WKLY_PROC_DT": "09-Apr-2021",
    "PRNCPAL_DGNS_CD": "T148XX",
    "ICD_DGNS_CD1": "T148XX",
    "ICD_DGNS_VRSN_CD1": "0",
    "CLM_POA_IND_SW1": "Y",
    "ICD_DGNS_CD2": "25000",
    "ICD_DGNS_VRSN_CD2": "9",
    "FST_DGNS_E_CD": "E8889",
    "FST_DGNS_E_VRSN_CD": "9",
    "ICD_PRCDR_CD1": "0DTJ4ZZ",
    "ICD_PRCDR_VRSN_CD1": "0",
    "PRCDR_DT1": "29-Mar-2021",
    "CLM_FAC_TYPE_CD": "1",
    "CLM_SRVC_CLSFCTN_TYPE_CD": "1",
    "CLM_FREQ_CD": "1",
    "PTNT_DSCHRG_STUS_CD": "1",
    "CLM_DRG_CD": "63",
    "CLM_TOT_CHRG_AMT": "1200.10",
    "BENE_LRD_USED_CNT": "0",
    "CLM_TOT_PPS_CPTL_AMT": "0",
    "CLM_PASS_THRU_PER_DIEM_AMT": "10",
    "AT_PHYSN_NPI": "1234567893",
    "CLM_LINE_NUM": "1",
    "REV_CNTR": "320",
    "HCPCS_CD": "73610",
    "HCPCS_1ST_MDFR_CD": "26",
    "REV_CNTR_TOT_CHRG_AMT": "615.85",
    "RNDRNG_PHYSN_NPI": "1234567893",
}
CLAIM = {
    "Claim unique identifier": "c1",
    "Claim service start date": "2021-03-01",
    "Claim service end date": "2021-03-02",
    "Claim received date": "2021-03-03",
    "Claim paid date": "2021-03-10",
    "Claim processing status code": "active",
    "Claim frequency code": "1",
    "Claim payment status code": "complete",
    "Claim type": "inpatient-facility",
    "Patient account number": "m1",
    "Claim payer identifier": "p1",
    "Claim billing provider NPI": "420584983365",
    "Claim performing provider NPI": "420584983365",
    "Claim total submitted amount": "215.30",
    "Member paid deductible": "521258.19",
    "Line number": "1",
    "Service (from) date": "2021-03-01",
    "Service to date": "1970-01-01",
    "Diagnosis code": "66383009",
    "Diagnosis description": "Gingivitis (disorder)",
    "Diagnosis code type": "SNOMED",
    "Diagnosis type": "principal",
    "Present on admission": "Y",
    "Procedure code": "265764009",
    "Procedure code type": "SNOMED",
    "Line submitted amount": "215.30",
    "Line patient deductible": "521258.19",
}


def codes(concept: dict[str, Any]) -> list[tuple[str, str]]:
    return [(coding["system"], coding["code"]) for coding in concept["coding"]]


def test_an_inpatient_claim_in_carins_terms():
    claim = one(of_rif(INPATIENT), "ExplanationOfBenefit")
    assert codes(claim["type"])[0] == ("http://terminology.hl7.org/CodeSystem/claim-type", "institutional")
    assert codes(claim["subType"])[0][1] == "inpatient"
    assert claim["billablePeriod"] == {"start": "2021-03-28", "end": "2021-04-02"}
    assert (claim["status"], claim["use"], claim["outcome"], claim["created"]) == (
        *("active", "claim", "complete"),
        "2021-04-09",
    )
    told = {codes(info["category"])[0][1]: info for info in claim["supportingInfo"]}
    assert codes(told["typeofbill"]["code"]) == [("https://www.nubc.org/CodeSystem/TypeOfBill", "111")]
    assert codes(told["discharge-status"]["code"])[0][1] == "01"
    assert codes(told["drg"]["code"])[0][1] == "063"
    [item] = claim["item"]
    assert codes(item["revenue"]) == [("https://www.nubc.org/CodeSystem/RevenueCodes", "0320")]
    assert codes(item["productOrService"]) == [("http://www.ama-assn.org/go/cpt", "73610")]
    assert codes(item["modifier"][0])[0][1] == "26"
    assert item["adjudication"][0]["amount"] == {"value": Decimal("615.85"), "currency": "USD"}
    assert '"value":1200.10' in dumps(claim)
    roles = [codes(member["role"])[0][1] for member in claim["careTeam"]]
    assert roles == ["attending", "rendering"]
    assert item["careTeamSequence"] == [2]


def test_diagnoses_have_their_version_type_and_full_stop():
    claim = one(of_rif(INPATIENT), "ExplanationOfBenefit")
    found = [(*codes(d["diagnosisCodeableConcept"])[0], codes(d["type"][0])[0][1]) for d in claim["diagnosis"]]
    assert found == [
        ("http://hl7.org/fhir/sid/icd-10-cm", "T14.8XX", "principal"),
        ("http://hl7.org/fhir/sid/icd-9-cm", "250.00", "secondary"),
        ("http://hl7.org/fhir/sid/icd-9-cm", "E888.9", "externalcauseofinjury"),
    ]
    assert [d["sequence"] for d in claim["diagnosis"]] == [1, 2, 3]
    assert codes(claim["diagnosis"][0]["onAdmission"])[0][1] == "Y"
    [procedure] = claim["procedure"]
    assert codes(procedure["procedureCodeableConcept"]) == [("http://www.cms.gov/Medicare/Coding/ICD10", "0DTJ4ZZ")]
    assert procedure["date"] == "2021-03-29"


def test_a_claim_has_its_type_though_no_column_says_it():
    silent = {name: value for name, value in INPATIENT.items() if not name.startswith("NCH_")}
    claim = one(of_rif(silent), "ExplanationOfBenefit")
    assert codes(claim["type"]) == [("http://terminology.hl7.org/CodeSystem/claim-type", "institutional")]


def test_a_principal_diagnosis_that_is_no_other_stands_last_and_is_not_lost():
    claim = one(of_rif({**INPATIENT, "PRNCPAL_DGNS_CD": "I10"}), "ExplanationOfBenefit")
    found = {codes(d["diagnosisCodeableConcept"])[0][1]: codes(d["type"][0])[0][1] for d in claim["diagnosis"]}
    assert found["I10"] == "principal"
    assert found["T14.8XX"] == "secondary"


def test_a_code_that_no_system_takes_is_kept_as_the_senders_own_and_counted():
    made = of_rif({**INPATIENT, "ICD_PRCDR_CD1": "Z992"})
    [procedure] = one(made, "ExplanationOfBenefit")["procedure"]
    assert codes(procedure["procedureCodeableConcept"]) == [("urn:cohortlake:rif:icd_procedure", "Z992")]
    assert made.codes == {("icd_procedure", "Z992"): 1}


def test_a_column_that_no_map_takes_is_counted_and_one_that_is_left_out_is_not():
    made = of_rif({**PDE, "NEW_COLUMN": "x"})
    assert made.unmapped == {"NEW_COLUMN": 1}
    made = of_rif({"BENE_ID": "-1", "CARRIER_CLAIMS": "6", "DME_CLAIMS": "1", "PDE_CLAIMS": "2", "SNF_CLAIMS": "0"})
    assert (made.unmapped, made.resources, made.error) == ({}, [], None)


def test_ids_come_from_business_identifiers():
    first, again = of_rif(PDE), of_rif({**PDE, "TOT_RX_CST_AMT": "8.00", "PD_DT": "09-Nov-2021", "DML_IND": "UPDATE"})
    ids = [[(r["resourceType"], r["id"]) for r in made.resources] for made in (first, again)]
    assert ids[0] == ids[1]
    versions = [one(made, "ExplanationOfBenefit")["meta"]["lastUpdated"] for made in (first, again)]
    assert versions == ["2021-11-02T00:00:00Z", "2021-11-09T00:00:00Z"]
    assert one(of_rif({**PDE, "PDE_ID": "-6"}), "ExplanationOfBenefit")["id"] != ids[0][-1][1]


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({"FINAL_ACTION": "F"}, "active"),
        ({"FINAL_ACTION": "N"}, "cancelled"),
        ({"DML_IND": "DELETE"}, "entered-in-error"),
        ({"ADJSTMT_DLTN_CD": "D"}, "cancelled"),
        ({"FINAL_ACTION": ""}, "active"),
    ],
)
def test_the_status_of_a_claim(columns: Row, status: str):
    assert one(of_rif({**PDE, **columns}), "ExplanationOfBenefit")["status"] == status


def test_a_prescription_drug_event():
    made = of_rif(PDE)
    claim = one(made, "ExplanationOfBenefit")
    told = {codes(info["category"])[0][1]: info for info in claim["supportingInfo"]}
    assert told["dayssupply"]["valueQuantity"]["value"] == Decimal(90)
    assert codes(claim["item"][0]["productOrService"]) == [("http://hl7.org/fhir/sid/ndc", "55111058810")]
    [pharmacy] = [r for r in made.resources if claim["provider"]["reference"].endswith(r["id"])]
    assert pharmacy["identifier"] == [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]
    assert pharmacy["meta"]["tag"][0]["code"] == "passing"


BENEFICIARY = {
    "BENE_ID": "-1",
    "RFRNC_YR": "2021",
    "BENE_BIRTH_DT": "07-Jul-1951",
    "BENE_SEX_IDENT_CD": "2",
    "BENE_RACE_CD": "2",
    "STATE_CODE": "10",
    "MBI_NUM": "1S00E00AA00",
    "BENE_SRNM_NAME": "Dicki",
    "BENE_GVN_NAME": "Erlene",
    **{f"MDCR_ENTLMT_BUYIN_{n}_IND": "" if n < 3 else "3" if n < 6 else "1" for n in range(1, 13)},
    "PTD_CNTRCT_JAN_ID": "N",
    "PTD_CNTRCT_FEB_ID": "Z0001",
    "PTD_CNTRCT_MAR_ID": "Z0001",
}


def test_a_beneficiary_and_the_parts_of_a_year():
    made = of_rif(BENEFICIARY)
    patient = one(made, "Patient")
    assert {"system": "http://hl7.org/fhir/sid/us-mbi", "value": "1S00E00AA00"}.items() <= patient["identifier"][
        1
    ].items()
    assert (patient["gender"], patient["birthDate"]) == ("female", "1951-07-07")
    assert patient["address"][0]["state"] == "FL"
    race = patient["extension"][0]["extension"]
    assert race[0]["valueCoding"]["code"] == "2054-5"
    parts = {c["class"][1]["value"]: c["period"] for c in made.resources if c["resourceType"] == "Coverage"}
    assert parts == {
        "Part A": {"start": "2021-03-01", "end": "2021-12-31"},
        "Part B": {"start": "2021-03-01", "end": "2021-05-31"},
        "Part D": {"start": "2021-02-01", "end": "2021-03-31"},
    }


def test_a_claim_refers_to_the_beneficiary_and_the_part_of_its_year():
    of_year = {(r["resourceType"], r["id"]) for r in of_rif(BENEFICIARY).resources}
    claim = of_rif(INPATIENT)
    stubs = {(r["resourceType"], r["id"]) for r in claim.resources if r["resourceType"] in ("Patient", "Coverage")}
    assert len(stubs) == 2
    assert stubs <= of_year


def test_the_names_of_the_summary_file_are_other_names_of_the_same():
    names = {
        "RFRNC_YR": "BENE_ENROLLMT_REF_YR",
        "BENE_SEX_IDENT_CD": "SEX_IDENT_CD",
        "PTD_CNTRCT_FEB_ID": "PTD_CNTRCT_ID_02",
    }
    for n in range(1, 13):
        names[f"MDCR_ENTLMT_BUYIN_{n}_IND"] = f"MDCR_ENTLMT_BUYIN_IND_{n:02}"
    renamed = {names.get(name, name): value for name, value in BENEFICIARY.items()}
    renamed["PTD_CNTRCT_ID_03"], renamed["PTD_CNTRCT_ID_01"] = renamed.pop("PTD_CNTRCT_MAR_ID"), "N"
    renamed.pop("PTD_CNTRCT_JAN_ID")
    assert of_rif(renamed).resources == of_rif(BENEFICIARY).resources


def test_a_cpcds_claim():
    made = of_cpcds(CLAIM, {**CLAIM, "Line number": "2", "Line patient deductible": "12.00"})
    claim = one(made, "ExplanationOfBenefit")
    first, second = claim["item"]
    assert first["servicedPeriod"] == {"start": "2021-03-01"}
    assert [p.reason for p in made.problems] == ["1970-01-01 stands for nothing"]
    kinds = [[codes(a["category"])[0][1] for a in item["adjudication"]] for item in (first, second)]
    assert kinds == [["submitted"], ["submitted", "deductible"]]
    assert [codes(total["category"])[0][1] for total in claim["total"]] == ["submitted", "deductible"]
    [diagnosis] = claim["diagnosis"]
    assert codes(diagnosis["diagnosisCodeableConcept"]) == [("http://snomed.info/sct", "66383009")]
    assert diagnosis["diagnosisCodeableConcept"]["text"] == "Gingivitis (disorder)"
    assert (first["diagnosisSequence"], first["procedureSequence"]) == ([1], [1])


def test_the_names_of_earlier_data_dictionaries_are_other_names_of_the_same():
    names = {"Claim received date": "Claim recieved date", "Claim type": "Claim type code"}
    renamed = {names.get(name, name): value for name, value in CLAIM.items()}
    assert of_cpcds(renamed).resources == of_cpcds(CLAIM).resources


def test_a_line_may_have_several_diagnoses():
    several = {
        **{name: value for name, value in CLAIM.items() if not name.startswith(("Diagnosis", "Present"))},
        **{f"Diagnosis code - {n}": code for n, code in enumerate(("I10", "E119"), 1)},
        **{f"Diagnosis code type - {n}": "ICD10" for n in (1, 2)},
        "Diagnosis type - 1": "principal",
        "Diagnosis type - 2": "secondary",
    }
    made = of_cpcds(several)
    claim = one(made, "ExplanationOfBenefit")
    assert [codes(d["diagnosisCodeableConcept"])[0][1] for d in claim["diagnosis"]] == ["I10", "E11.9"]
    assert claim["item"][0]["diagnosisSequence"] == [1, 2]
    assert not made.unmapped


def test_a_coverage_is_known_by_its_id_else_by_whose_it_is():
    columns = {"Subscriber id": "m1", "Coverage type": "HMO", "Coverage status": "active", "Group id": "g"}
    with_id = of_cpcds({"Coverage id": "k1", "Member id": "m1", **columns, "Payer identifier": "p1"})
    without = of_cpcds({**columns, "Plan": "gold", "Payer": "p1", "Start date": "2021-01-01"})
    other = of_cpcds({**columns, "Plan": "gold", "Payer": "p1", "Start date": "2022-01-01"})
    found = [one(made, "Coverage") for made in (with_id, without, other)]
    assert len({coverage["id"] for coverage in found}) == 3
    assert len({coverage["beneficiary"]["reference"] for coverage in found}) == 1
    assert found[1]["class"][1]["value"] == "gold"


def test_a_beneficiary_without_a_year_has_the_dates_of_the_parts():
    made = of_rif({**BENEFICIARY, "RFRNC_YR": "", "PTA_CVRG_STRT_DT": "07-Jul-2016", "PTB_CVRG_STRT_DT": ""})
    parts = {c["class"][1]["value"]: c["period"] for c in made.resources if c["resourceType"] == "Coverage"}
    assert parts == {"Part A": {"start": "2016-07-07"}}


def test_a_number_that_is_no_npi_is_the_senders_own():
    made = of_cpcds(CLAIM)
    claim = one(made, "ExplanationOfBenefit")
    kind, name = claim["provider"]["reference"].split("/")
    [provider] = [r for r in made.resources if (r["resourceType"], r["id"]) == (kind, name)]
    assert kind == "Practitioner"
    assert provider["identifier"] == [{"system": "urn:cohortlake:cpcds:provider", "value": "420584983365"}]
    assert not made.codes
    true = of_cpcds({**CLAIM, "Claim billing provider NPI": "1234567893"})
    [payee] = [
        r for r in true.resources if one(true, "ExplanationOfBenefit")["provider"]["reference"].endswith(r["id"])
    ]
    assert (payee["resourceType"], payee["identifier"][0]["system"]) == (
        "Organization",
        "http://hl7.org/fhir/sid/us-npi",
    )


def test_an_adjusted_claim_says_by_what():
    claim = one(of_cpcds({**CLAIM, "Claim adjusted to identifier": "c2"}), "ExplanationOfBenefit")
    assert claim["status"] == "cancelled"
    assert claim["related"][0]["reference"] == {"system": "urn:cohortlake:cpcds:claim", "value": "c2"}


def test_a_silo_says_what_uri_its_numbers_have():
    names = ("provider", "member")
    made = of_cpcds(
        CLAIM, options=Options(authorities=tuple((name, f"https://payer.example/{name}") for name in names))
    )
    [patient] = [r for r in made.resources if r["resourceType"] == "Patient"]
    assert patient["identifier"][0]["system"] == "https://payer.example/member"
    [clinician] = [r for r in made.resources if r["resourceType"] == "Practitioner"]
    assert clinician["identifier"][0]["system"] == "https://payer.example/provider"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("12-Jan-2021", "2021-01-12"),
        ("12JAN2021", "2021-01-12"),
        ("20210112", "2021-01-12"),
        ("2021-01-12", "2021-01-12"),
        ("2021-01-12T00:00:00Z", "2021-01-12"),
        ("01/12/2021", "2021-01-12"),
        ("31-Feb-2021", None),
        ("12-Foo-2021", None),
        ("00000000", None),
        ("٢٠٢١٠١١٢", None),
    ],
)
def test_dates(text: str, date: str | None):
    assert day(text) == date


@given(
    st.text(max_size=30), st.sampled_from(["date", "decimal", "positiveInt", "instant", "code", "boolean", "string"])
)
def test_no_text_breaks_a_primitive(text, kind):
    value = convert(text, kind)
    assert value is None or value != ""
    json.dumps(dumps({"value": value}))


def test_short_forms_are_written_out():
    amount = {"$parameters": ["code", "column"], "v": "={column}", "c": "{code}"}
    shared = Shared(series={"month": ["JAN", "FEB"]}, templates={"amount": amount})
    assert expand([{"$each": "D{1..2}", "a": "=V{n}"}], shared) == [
        {"$each": "D1", "a": "=V1"},
        {"$each": "D2", "a": "=V2"},
    ]
    assert expand([{"$use": "amount", "$rows": [["x", "A"], ["y", "B"]]}], shared) == [
        {"v": "=A", "c": "x"},
        {"v": "=B", "c": "y"},
    ]
    with pytest.raises(ValueError, match="there is no template"):
        expand({"$use": "other"}, shared)
    with pytest.raises(ValueError, match="is not known"):
        expand("{name}", shared)


WRONG = [
    ("  nonsense: 1", "Patient has no element 'nonsense'"),
    ("  gender: =BENE_SEX | nowhere", "there is no map or turn 'nowhere'"),
    ("  identifier: ['=BENE_ID | system nowhere']", "'nowhere' is not a system"),
    ("  managingOrganization: =BENE_ID => Nothing", "there is no map 'Nothing' to refer to"),
    ("  name: [{ $what: 1 }]", "$what is not known"),
    ("  birthDate: [=BENE_ID]", "this element does not repeat"),
]


@pytest.mark.parametrize(("line", "problem"), WRONG)
def test_a_wrong_declaration_is_named_with_its_file(tmp_path: Path, line: str, problem: str):
    shutil.copytree(FORMATS / "rif", tmp_path / "rif")
    path = tmp_path / "rif/resources/Patient.passing.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}{line}\n" if not line.startswith("  identifier") else text.split("  identifier")[0] + line)
    mapper = Mapper(load_claims("rif", tmp_path / "rif"))
    [record] = rif.records(table([PDE], "|"))
    with pytest.raises(CatalogError) as raised:
        mapper.to_fhir(Record(0, record.payload), Options())
    assert problem in str(raised.value)
    assert str(path) in str(raised.value)
