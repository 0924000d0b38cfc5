"""The three bundled hospitals' patients as demographics, with who they are: A's FHIR, B's CSV, C's C-CDA."""

from __future__ import annotations

import csv
import gzip
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core import ccda
from cohortlake.core.convert import Options
from cohortlake.core.persons.columns import read_truth
from cohortlake.core.persons.declared import PersonModel
from cohortlake.core.persons.demographics import SCHEMA, Row, from_patient, row
from cohortlake.core.persons.evaluate import Measure, Truth, measure
from cohortlake.core.persons.ids import Key
from cohortlake.core.persons.match_truth import matched
from tests.persons_population import Person

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[2] / "shared/data"))
TRUTH, PUBLIC = DATA / "mpi_truth.csv", DATA / "linkage_splink"
PASSPORT = "passport|http://hl7.org/fhir/sid/passport-USA"


def hospital_a(model: PersonModel) -> Iterator[Row]:
    with gzip.open(DATA / "site_a_fhir_r4/Patient.ndjson.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            yield from_patient("site_a", json.loads(line), model)


def hospital_b(model: PersonModel) -> Iterator[Row]:
    with gzip.open(DATA / "site_b_csv/patients.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            now = {"given": [line["FIRST"], line["MIDDLE"]], "family": line["LAST"], "suffix": [line["SUFFIX"]]}
            yield row(
                model, silo="site_b", patient_id=line["Id"], names=[now, {"family": line["MAIDEN"]}],
                birth_date=line["BIRTHDATE"], sex=line["GENDER"], ssn=line["SSN"],
                identifiers=[(PASSPORT, line["PASSPORT"])], lines=[line["ADDRESS"]], city=line["CITY"],
                postcode=line["ZIP"],
            )  # fmt: skip


@cache
def people() -> list[Person]:
    """Hospital A's patients as people, to be seen again elsewhere."""
    found = []
    with gzip.open(DATA / "site_a_fhir_r4/Patient.ndjson.gz", "rt", encoding="utf-8") as stream:
        for patient in map(json.loads, stream):
            name, *earlier = patient["name"]
            home = patient["address"][0]
            numbers = {one.get("system", ""): one["value"] for one in patient["identifier"]}
            found.append(
                Person(
                    person=patient["id"], site="a", variant="source", first=name["given"][0],
                    middle=" ".join(name["given"][1:]), last=name["family"], born=patient["birthDate"],
                    sex=patient["gender"], ssn=numbers.get("http://hl7.org/fhir/sid/us-ssn", ""),
                    street=home["line"][0], city=home.get("city", ""), postcode=home.get("postalCode", ""),
                    maiden=earlier[0]["family"] if earlier else "",
                )
            )  # fmt: skip
    return found


@cache
def documents() -> list[dict[str, Any]]:
    """Hospital C's Patients, of its C-CDA documents."""
    found: list[dict[str, Any]] = []
    with zipfile.ZipFile(DATA / "site_c_ccda_cpcds/ccda.zip") as archive:
        for name in sorted(archive.namelist()):
            for record in ccda.records(archive.read(name)):
                made = ccda.to_fhir(record, Options()).resources
                found += [resource for resource in made if resource["resourceType"] == "Patient"]
    return found


def hospital_c(model: PersonModel) -> Iterator[Row]:
    return (from_patient("site_c", patient, model) for patient in documents())


def table(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def hospitals(model: PersonModel) -> pa.Table:
    """All records of the three hospitals."""
    return table([*hospital_a(model), *hospital_b(model), *hospital_c(model)])


def keys(rows: pa.Table) -> list[Key]:
    return list(zip(rows["silo"].to_pylist(), rows["patient_id"].to_pylist(), strict=True))


def truth(rows: pa.Table) -> dict[Key, Truth]:
    """Who each record is of; every record of the truth is there."""
    found, missing = matched(
        read_truth(TRUTH), dict(zip(keys(rows), rows["record_numbers"].to_pylist(), strict=True)), {}
    )
    assert missing == 0
    assert len(found) == rows.num_rows
    return found


def measures(clusters: list[list[int]], of: list[Key], told: dict[Key, Truth]) -> dict[str, Measure]:
    """The measures by name, of clusters of record numbers."""
    named = {number: str(place) for place, cluster in enumerate(clusters) for number in cluster}
    persons = {key: named.get(number, f"alone {number}") for number, key in enumerate(of)}
    return {one.name: one for one in measure(persons, told)}
