"""Hospital C's encounters by class and year, and its orders with their dates, recounted from the XML by other code.

The recount reads the documents with the standard library's ElementTree and has its own words for what a type means; it
shares nothing with the converter.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cohortlake.core.ccda import records, to_fhir
from cohortlake.core.ccda.declared import load_ccda
from cohortlake.core.convert import Options

pytestmark = pytest.mark.acceptance
DATA = Path(__file__).parents[2] / "data"
DOCUMENTS = DATA / "site_c_ccda_cpcds/ccda.zip"
NAMES = {"h": "urn:hl7-org:v3"}
# What the words of a type say of where care is given. Words of none of these say nothing.
WORDS = {
    "EMER": ("emergency",),
    "OBSENC": ("for observation",),
    "IMP": ("hospital admission", "admission to", "transfer to intensive", "orthopedic admission"),
    "HH": ("home visit", "rest home"),
    "VR": ("videotelephony",),
    "AMB": (
        "encounter for", "general examination", "well child", "vaccine", "natal", "follow-up", "urgent care",
        "consultation for",
    ),
}  # fmt: skip
# What hospital B calls its visits, in the terms of ActCode.
OF_B = {"inpatient": "IMP", "snf": "IMP", "emergency": "EMER", "hospice": "HH", "home": "HH", "virtual": "VR"}

Line = tuple[str, str, str]


def by_words(display: str) -> str:
    return next((code for code, words in WORDS.items() if any(word in display.lower() for word in words)), "")


@cache
def in_xml() -> tuple[Counter[Line], Counter[Line]]:
    """(id, class, start) of the encounters and (id, start, end) of the orders that the documents hold."""
    encounters: Counter[Line] = Counter()
    orders: Counter[Line] = Counter()
    with zipfile.ZipFile(DOCUMENTS) as archive:
        for name in archive.namelist():
            root = ElementTree.fromstring(archive.read(name))  # noqa: S314 (the bundled documents)
            for found in root.iterfind(".//h:encounter", NAMES):
                code = found.find("h:code", NAMES)
                assert code is not None
                encounters[_id(found), by_words(code.attrib["displayName"]), _time(found, "low")] += 1
            for found in root.iterfind(".//h:substanceAdministration", NAMES):
                if found.find("h:templateId[@root='2.16.840.1.113883.10.20.22.4.16']", NAMES) is not None:
                    orders[_id(found), _time(found, "low"), _time(found, "high")] += 1
    return encounters, orders


def _id(of: ElementTree.Element) -> str:
    found = of.find("h:id", NAMES)
    assert found is not None
    return found.attrib["root"]


def _time(of: ElementTree.Element, end: str) -> str:
    found = of.find(f"h:effectiveTime/h:{end}", NAMES)
    return found.attrib.get("value", "") if found is not None else ""


@cache
def in_fhir() -> list[dict[str, Any]]:
    """The encounters and orders that the converter makes of the documents."""
    documents = list(records(DOCUMENTS.read_bytes()))
    made = [resource for record in documents for resource in to_fhir(record, Options()).resources]
    return [each for each in made if each["resourceType"] in ("Encounter", "MedicationRequest")]


def of_type(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in in_fhir():
        if each["resourceType"] == kind:
            yield each["identifier"][0]["value"].removeprefix("urn:uuid:"), each


def digits(moment: str) -> str:
    """A FHIR dateTime in UTC as HL7 writes it."""
    date, _, rest = moment.partition("T")
    return date.replace("-", "") + rest[:8].replace(":", "")


def test_encounters_have_the_class_that_their_type_says_line_by_line():
    expected, _ = in_xml()
    found = Counter(
        (identity, each["class"].get("code", ""), digits(each["period"]["start"]))
        for identity, each in of_type("Encounter")
    )
    assert sum(expected.values()) == 4659
    assert found == expected


def test_encounters_by_class_and_year():
    def by_year(lines: Counter[Line]) -> Counter[tuple[str, str]]:
        return Counter((code, start[:4]) for _, code, start in lines.elements())

    expected = by_year(in_xml()[0])
    found = by_year(
        Counter((i, e["class"].get("code", ""), digits(e["period"]["start"])) for i, e in of_type("Encounter"))
    )
    assert expected["EMER", "2025"] == 18
    assert found == expected


def test_orders_have_the_dates_of_the_documents_line_by_line():
    _, expected = in_xml()
    found: Counter[Line] = Counter()
    for identity, each in of_type("MedicationRequest"):
        # No order of these documents has an author, so none says when it was written.
        assert "authoredOn" not in each
        bounds = each["dosageInstruction"][0]["timing"]["repeat"]["boundsPeriod"]
        found[identity, digits(bounds["start"]), digits(bounds.get("end", ""))] += 1
    assert sum(expected.values()) == 3152
    assert found == expected


def test_where_hospitals_record_class_and_type_the_map_is_right_as_often_as_its_page_says():
    inferred = {code: target.code for code, target in load_ccda().maps["snomed_class"].codes.items()}
    pairs: Counter[tuple[str, str | None]] = Counter()
    with gzip.open(DATA / "site_a_fhir_r4/Encounter.ndjson.gz", "rt", encoding="utf-8") as lines:
        for encounter in map(json.loads, lines):
            pairs[encounter["class"]["code"], inferred.get(encounter["type"][0]["coding"][0]["code"])] += 1
    with gzip.open(DATA / "site_b_csv/encounters.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            pairs[OF_B.get(row["ENCOUNTERCLASS"], "AMB"), inferred.get(row["CODE"])] += 1
    mapped = {pair: n for pair, n in pairs.items() if pair[1]}
    right = sum(n for (said, guess), n in mapped.items() if said == guess)
    emergencies = sum(n for (said, _), n in mapped.items() if said == "EMER")
    assert not any(guess == "EMER" and said != "EMER" for said, guess in mapped)
    told = f"{right:,} of {sum(mapped.values()):,}", f"{mapped['EMER', 'EMER']} of {emergencies}"
    page = " ".join((Path(__file__).parents[2] / "docs/ccda.md").read_text(encoding="utf-8").split())
    assert all(share in page for share in told), told
