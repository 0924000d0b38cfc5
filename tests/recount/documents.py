"""Hospital C's patient summaries (C-CDA), read with the standard library's XML parser."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

SILO = "site_c_ccda"
HL7 = "{urn:hl7-org:v3}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}type"
SDTC = "{urn:hl7-org:sdtc}"
PROBLEMS, RESULTS, ENCOUNTERS, DRUGS, VACCINES, PROCEDURES = (
    "11450-4", "30954-2", "46240-8", "10160-0", "11369-6", "47519-4",
)  # fmt: skip
# The documents have no class. Types of encounters that say in words that they are emergencies, or stays in a hospital.
EMERGENCY = {"50849002", "4525004", "182813001", "183452005", "183460006", "183478001"}
INPATIENT = {
    "32485007", "8715000", "1505002", "183495009", "305342007", "305351004", "397821002", "305408004", "305411003",
    "305432006", "449411000124106",
}  # fmt: skip


def add(connection: duckdb.DuckDBPyConnection, archive: Path) -> None:
    """Add the rows of all documents to the tables of `tests.recount.raw`."""
    rows: dict[str, list[tuple[Any, ...]]] = {}
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            for table, row in _rows(ET.fromstring(files.read(name))):  # noqa: S314 (bundled files)
                rows.setdefault(table, []).append(row)
    for table, found in rows.items():
        columns = [list(column) for column in zip(*found, strict=True)]
        connection.register("found", pa.table(columns, names=[f"c{index}" for index in range(len(columns))]))
        connection.execute(f"INSERT INTO {table} FROM found")


def _rows(document: ET.Element) -> Iterator[tuple[str, tuple[Any, ...]]]:
    record = document.find(f"{HL7}recordTarget/{HL7}patientRole")
    assert record is not None
    patient = record.find(f"{HL7}id").get("extension")  # type: ignore[union-attr]
    death = record.find(f"{HL7}patient/{SDTC}deceasedTime")
    born = _time(record.find(f"{HL7}patient/{HL7}birthTime").get("value"))  # type: ignore[union-attr]
    yield "patients", (SILO, patient, None if death is None else _time(death.get("value")), born)
    for section in document.iter(f"{HL7}section"):
        code = _attribute(section, "code", "code")
        for entry in section.iterfind(f"{HL7}entry"):
            yield from ((table, (SILO, patient, *row)) for table, row in _entry(code, entry))


def _entry(section: str | None, entry: ET.Element) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if section == ENCOUNTERS:
        for one in entry.iter(f"{HL7}encounter"):
            kind = _attribute(one, "code", "code")
            of = "EMER" if kind in EMERGENCY else "IMP" if kind in INPATIENT else "other"
            yield "encounters", (of, *_period(one))
    elif section == PROBLEMS:
        for one in entry.iter(f"{HL7}observation"):
            if one.get("negationInd") != "true" and one.find(f"{HL7}value") is not None:
                yield "conditions", (_attribute(one, "value", "code"), _period(one)[0])
    elif section == RESULTS:
        for one in entry.iter(f"{HL7}observation"):
            value = one.find(f"{HL7}value")
            number = value.get("value") if value is not None and value.get(XSI) == "PQ" else None
            yield "results", (_attribute(one, "code", "code"), number, _period(one)[0])
    elif section == DRUGS:
        for one in entry.iter(f"{HL7}substanceAdministration"):
            material = next(one.iter(f"{HL7}manufacturedMaterial"))
            yield "orders", (_attribute(material, "code", "displayName"), _period(one)[0])
    elif section == VACCINES:
        for one in entry.iter(f"{HL7}substanceAdministration"):
            material = next(one.iter(f"{HL7}manufacturedMaterial"))
            yield "vaccinations", (_attribute(material, "code", "code"), _period(one)[0])
    elif section == PROCEDURES:
        for one in entry.iter(f"{HL7}procedure"):
            yield (
                "procedures",
                (_attribute(one, "code", "code"), _attribute(one, "code", "displayName"), _period(one)[0]),
            )


def _attribute(element: ET.Element, child: str, name: str) -> str | None:
    found = element.find(f"{HL7}{child}")
    return None if found is None else found.get(name)


def _period(element: ET.Element) -> tuple[datetime.datetime | None, datetime.datetime | None]:
    """The start and end of an act; both the moment itself where it has but one."""
    time = element.find(f"{HL7}effectiveTime")
    if time is None:
        return None, None
    if time.get("value"):
        return (moment := _time(time.get("value"))), moment
    return _time(_attribute(time, "low", "value")), _time(_attribute(time, "high", "value"))


def _time(text: str | None) -> datetime.datetime | None:
    """A time of HL7 (20210413221309), which these documents write in UTC."""
    if not text:
        return None
    return datetime.datetime.strptime(text[:14].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)
