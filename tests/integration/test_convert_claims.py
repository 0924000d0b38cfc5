"""Real claims files: hospital C's CPCDS, payer D's and CMS' own RIF go through, balanced, valid and linked."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter, defaultdict
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cohortlake.core.catalog.resource import whole_tree
from cohortlake.core.claims.declared import load_claims
from cohortlake.core.claims.layout import plain
from cohortlake.core.convert import Converted, Options, Record, dumps, format_named, guess_format
from cohortlake.core.readers.fhir_json import parse
from spark_jobs.fhir_types import fhir_schema
from tests.integration.test_convert_ccda import references, wrong

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
SITE, PAYER, CMS = DATA / "site_c_ccda_cpcds", DATA / "payer_d_bfd_rif", DATA / "claims_rif_cms_bfd/rif-synthea"
for folder in (SITE, PAYER, CMS):
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (set COHORTLAKE_DATA)", allow_module_level=True)

FILES = {
    "cpcds": sorted(SITE.glob("*.csv.gz")),
    "rif": [*sorted(PAYER.glob("*.csv.gz")), *sorted(PAYER.glob("*.tsv.gz")), *sorted(CMS.glob("*.csv"))],
}
Result = list[tuple[Record, Converted]]


def data_of(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@cache
def converted(path: Path) -> Result:
    data = data_of(path)
    fmt = format_named(str(guess_format(data)))
    return [(record, fmt.to_fhir(record, Options())) for record in fmt.records(data)]


def everything() -> list[tuple[Path, Record, Converted]]:
    return [(path, record, made) for paths in FILES.values() for path in paths for record, made in converted(path)]


def rows_of(path: Path) -> list[dict[str, str]]:
    text = data_of(path).decode("utf-8-sig")
    head = text[: text.index("\n")]
    return list(csv.DictReader(io.StringIO(text), delimiter=max("|,\t", key=head.count)))


def of(path: Path, kind: str) -> list[dict[str, Any]]:
    """The resources of a type that are not told in passing."""
    return [
        r
        for _, made in converted(path)
        for r in made.resources
        if r["resourceType"] == kind and "tag" not in r.get("meta", {})
    ]


@pytest.mark.acceptance
def test_every_file_is_known_by_its_header_and_every_line_lands():
    assert {name: len(paths) for name, paths in FILES.items()} == {"cpcds": 5, "rif": 37}
    for name, paths in FILES.items():
        for path in paths:
            assert guess_format(data_of(path)) == name, path
            held = sum(len(record.payload.splitlines()) - 1 for record, _ in converted(path))
            assert held == len(rows_of(path)), path
    assert [(path.name, made.error) for path, _, made in everything() if made.error] == []


@pytest.mark.acceptance
def test_every_column_is_carried_or_left_out_for_a_reason():
    found: Counter[str] = Counter()
    for _, _, made in everything():
        found += made.unmapped
    assert found == {}


@pytest.mark.acceptance
def test_a_record_reads_the_same_alone():
    for path, record, made in everything()[::50]:
        fmt = format_named(str(guess_format(data_of(path))))
        assert fmt.to_fhir(Record(0, record.payload), Options()).resources == made.resources


@pytest.mark.acceptance
def test_each_line_of_a_claim_is_an_item_and_each_claim_an_explanation_of_benefit():
    claims = SITE / "CPCDS_Claims.csv.gz"
    assert len(of(claims, "ExplanationOfBenefit")) == 4205
    assert sum(len(eob["item"]) for eob in of(claims, "ExplanationOfBenefit")) == 15599
    for kind, count in {"carrier": 357, "inpatient": 79, "outpatient": 560, "dme": 67, "pde": 2103}.items():
        path = PAYER / f"{kind}.csv.gz"
        made = of(path, "ExplanationOfBenefit")
        assert len(made) == count, kind
        assert sum(len(eob["item"]) for eob in made) == len(rows_of(path)), kind
        assert len({eob["id"] for eob in made}) == count, kind


def test_amounts_keep_their_sum_and_their_digits():
    path = PAYER / "carrier.csv.gz"
    told = sum(Decimal(row["LINE_SBMTD_CHRG_AMT"]) for row in rows_of(path))
    amounts = [
        adjudication["amount"]["value"]
        for eob in of(path, "ExplanationOfBenefit")
        for item in eob["item"]
        for adjudication in item["adjudication"]
        if adjudication["category"]["coding"][0]["code"] == "submitted"
    ]
    assert sum(amounts) == told
    assert Counter(map(str, amounts)) == Counter(row["LINE_SBMTD_CHRG_AMT"] for row in rows_of(path))


def test_every_diagnosis_of_a_claim_is_there():
    row = rows_of(PAYER / "inpatient.csv.gz")[0]
    told = {value for name, value in row.items() if name.startswith("ICD_DGNS_CD") and value}
    [first, *_] = of(PAYER / "inpatient.csv.gz", "ExplanationOfBenefit")
    found = {d["diagnosisCodeableConcept"]["coding"][0]["code"].replace(".", "") for d in first["diagnosis"]}
    assert told <= found


def test_items_point_at_the_diagnosis_and_the_procedure_of_their_line():
    path = SITE / "CPCDS_Claims.csv.gz"
    lines = {(row["Claim unique identifier"], row["Line number"]): row for row in rows_of(path)}
    pointed = 0
    for eob in of(path, "ExplanationOfBenefit"):
        for item in eob["item"]:
            row = lines[eob["identifier"][0]["value"], str(item["sequence"])]
            for name, element in (("Diagnosis", "diagnosis"), ("Procedure", "procedure")):
                found = [eob[element][n - 1][f"{element}CodeableConcept"] for n in item.get(f"{element}Sequence", ())]
                assert [concept["coding"][0]["code"] for concept in found] == [c for c in [row[f"{name} code"]] if c]
                pointed += len(found)
    assert pointed == 10013 + 9698


def test_the_members_are_the_patients_of_the_claims():
    members = {r["id"] for r in of(SITE / "CPCDS_Members.csv.gz", "Patient")}
    assert len(members) == 134
    claimed = {eob["patient"]["reference"] for eob in of(SITE / "CPCDS_Claims.csv.gz", "ExplanationOfBenefit")}
    assert {reference.removeprefix("Patient/") for reference in claimed} == members
    beneficiaries = {r["id"] for path in PAYER.glob("beneficiary_*.csv.gz") for r in of(path, "Patient")}
    events = of(PAYER / "pde.csv.gz", "ExplanationOfBenefit")
    assert {eob["patient"]["reference"].removeprefix("Patient/") for eob in events} <= beneficiaries


def test_providers_of_the_directory_are_those_of_the_claims():
    known = {f"Practitioner/{r['id']}" for r in of(SITE / "PractitionerRoles.csv.gz", "Practitioner")}
    places = {f"Organization/{r['id']}" for r in of(SITE / "Organizations.csv.gz", "Organization")}
    claims = of(SITE / "CPCDS_Claims.csv.gz", "ExplanationOfBenefit")
    assert {member["provider"]["reference"] for eob in claims for member in eob["careTeam"]} <= known
    assert {eob["provider"]["reference"] for eob in claims} <= known
    roles = of(SITE / "PractitionerRoles.csv.gz", "PractitionerRole")
    assert {role["organization"]["reference"] for role in roles} <= places
    npis = PAYER / "npi.tsv.gz"
    named = {f"{kind}/{r['id']}" for kind in ("Organization", "Practitioner") for r in of(npis, kind)}
    inpatient = of(PAYER / "inpatient.csv.gz", "ExplanationOfBenefit")
    assert {eob["provider"]["reference"] for eob in inpatient} <= named


def test_a_number_with_twelve_digits_is_no_npi():
    systems = {
        identifier["system"]
        for path in FILES["cpcds"]
        for _, made in converted(path)
        for r in made.resources
        for identifier in r.get("identifier", ())
    }
    assert "http://hl7.org/fhir/sid/us-npi" not in systems


@pytest.mark.acceptance
def test_all_of_it_is_typed_fhir():
    by_type: dict[str, list[str]] = defaultdict(list)
    for _, _, made in everything():
        for resource in made.resources:
            by_type[resource["resourceType"]].append(dumps(resource))
    assert by_type.keys() == {
        *("Coverage", "ExplanationOfBenefit", "Location", "Organization"),
        *("Patient", "Practitioner", "PractitionerRole"),
    }
    for kind, lines in by_type.items():
        schema = pa.schema([pa.field("resourceType", pa.string()), *fhir_schema(whole_tree(kind))])
        parsed = parse(pa.array(lines), schema)
        assert parsed.bad == {}, kind
        assert parsed.table.num_rows == len(lines)


@pytest.mark.acceptance
def test_every_element_is_r4s_and_what_is_required_is_there():
    found = Counter(
        reason
        for _, _, made in everything()
        for resource in made.resources
        for reason in wrong(resource, resource["resourceType"], resource["resourceType"])
    )
    assert found == {}


@pytest.mark.acceptance
def test_every_reference_resolves_within_its_record_and_every_id_is_there_once():
    for path, _, made in everything():
        ids = Counter(f"{r['resourceType']}/{r['id']}" for r in made.resources)
        assert max(ids.values(), default=1) == 1, path
        assert {r for resource in made.resources for r in references(resource)} <= ids.keys(), path


def test_what_maps_and_kinds_name_are_columns_of_real_files():
    """A column that is spelled wrong in a declaration would never be read."""
    for name, paths in FILES.items():
        declared = load_claims(name)
        real = {plain(column) for path in paths for column in rows_of(path)[0]}
        for kind in declared.kinds.values():
            for column in (*kind.known_by, *kind.key, *kind.required, *([kind.line] if kind.line else [])):
                others = kind.aliases.get(column, ())
                assert real & {plain(c) for c in (column, *others)}, (kind.name, column)
