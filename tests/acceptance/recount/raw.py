"""The bundled files as flat tables in DuckDB: what each file says of patients, visits, orders, diagnoses and money.

| table | a row | columns |
|---|---|---|
| `people` | a patient of a silo | silo, patient, birth_date, is_dead |
| `visits` | an encounter | silo, patient, visit, class, started_at, ended_at |
| `orders` | an order of a drug | silo, patient, code, ordered_at, display |
| `diagnoses` | a condition | silo, patient, code, known_date |
| `bills` | a claim of a payer | silo, kind, claim, billed, paid (of its lines, in dollars) |

Times are UTC. A class is one of HL7's ActCode: AMB, EMER, IMP, HH, VR.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pyarrow as pa

V3 = "{urn:hl7-org:v3}"
RXNORM_OID = "2.16.840.1.113883.6.88"

# What hospital B calls its classes.
B_CLASSES = {
    "ambulatory": "AMB", "outpatient": "AMB", "wellness": "AMB", "urgentcare": "AMB", "emergency": "EMER",
    "inpatient": "IMP", "snf": "IMP", "home": "HH", "hospice": "HH", "virtual": "VR",
}  # fmt: skip
PROBLEM = "2.16.840.1.113883.10.20.22.4.4"
# SNOMED CT types of hospital C's encounters whose words say emergency or admission.
C_CLASSES = {
    "50849002": "EMER", "182813001": "EMER", "183452005": "EMER", "183460006": "EMER", "183478001": "EMER",
    "32485007": "IMP", "449411000124106": "IMP", "305408004": "IMP", "305432006": "IMP", "397821002": "IMP",
    "305342007": "IMP", "1505002": "IMP", "305351004": "IMP", "76464004": "IMP", "183495009": "IMP",
}  # fmt: skip


def lines(path: Path) -> Iterator[Any]:
    """The JSON values of a compressed NDJSON file."""
    with gzip.open(path, "rt", encoding="utf-8") as text:
        for line in text:
            yield json.loads(line)


def rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a compressed CSV file by its header."""
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as text:
        yield from csv.DictReader(text, delimiter=delimiter)


def utc(text: str | None) -> datetime.datetime | None:
    """An ISO moment with its zone, in UTC."""
    return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC) if text else None


def hl7_time(text: str | None) -> datetime.datetime | None:
    """A time of C-CDA (YYYYMMDDhhmmss, no zone: taken as UTC)."""
    if not text:
        return None
    return datetime.datetime.strptime(text[:14].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=datetime.UTC)


class Facts:
    """What was read so far, a list of rows a table."""

    def __init__(self) -> None:
        self.people: list[tuple[Any, ...]] = []
        self.visits: list[tuple[Any, ...]] = []
        self.orders: list[tuple[Any, ...]] = []
        self.diagnoses: list[tuple[Any, ...]] = []
        self.bills: list[tuple[Any, ...]] = []


def site_a(folder: Path, facts: Facts) -> None:
    """Hospital A: FHIR resources, one a line."""
    silo = "site_a_fhir_r4"
    for one in lines(folder / "Patient.ndjson.gz"):
        dead = "deceasedDateTime" in one or one.get("deceasedBoolean", False)
        facts.people.append((silo, one["id"], datetime.date.fromisoformat(one["birthDate"]), dead))
    for one in lines(folder / "Encounter.ndjson.gz"):
        period, patient = one["period"], one["subject"]["reference"].split("/")[-1]
        times = (utc(period["start"]), utc(period.get("end")))
        facts.visits.append((silo, patient, one["id"], one["class"]["code"], *times))
    drugs = {one["id"]: one["code"]["coding"][0] for one in lines(folder / "Medication.ndjson.gz")}
    for one in lines(folder / "MedicationRequest.ndjson.gz"):
        named = one.get("medicationCodeableConcept")
        drug = named["coding"][0] if named else drugs[one["medicationReference"]["reference"].split("/")[-1]]
        patient = one["subject"]["reference"].split("/")[-1]
        facts.orders.append((silo, patient, drug["code"], utc(one["authoredOn"]), drug["display"]))
    for one in lines(folder / "Condition.ndjson.gz"):
        patient, known = one["subject"]["reference"].split("/")[-1], one.get("recordedDate") or one["onsetDateTime"]
        facts.diagnoses.append((silo, patient, one["code"]["coding"][0]["code"], utc(known).date()))  # type: ignore[union-attr]


def site_b(folder: Path, facts: Facts) -> None:
    """Hospital B: tables of an electronic record."""
    silo = "site_b_csv"
    for one in rows(folder / "patients.csv.gz"):
        facts.people.append((silo, one["Id"], datetime.date.fromisoformat(one["BIRTHDATE"]), bool(one["DEATHDATE"])))
    for one in rows(folder / "encounters.csv.gz"):
        times = (utc(one["START"]), utc(one["STOP"]))
        facts.visits.append((silo, one["PATIENT"], one["Id"], B_CLASSES[one["ENCOUNTERCLASS"]], *times))
    for one in rows(folder / "medications.csv.gz"):
        facts.orders.append((silo, one["PATIENT"], one["CODE"], utc(one["START"]), one["DESCRIPTION"]))
    for one in rows(folder / "conditions.csv.gz"):
        facts.diagnoses.append((silo, one["PATIENT"], one["CODE"], datetime.date.fromisoformat(one["START"])))


def site_c(folder: Path, facts: Facts) -> None:
    """Hospital C: a document a patient."""
    silo = "site_c_ccda"
    with zipfile.ZipFile(folder / "ccda.zip") as archive:
        for name in archive.namelist():
            if not name.endswith(".xml"):
                continue
            root = ElementTree.parse(io.BytesIO(archive.read(name))).getroot()  # noqa: S314 (our own files)
            role = root.find(f"{V3}recordTarget/{V3}patientRole")
            assert role is not None
            patient = role.find(f"{V3}id").get("extension")  # type: ignore[union-attr]
            born = hl7_time(role.find(f"{V3}patient/{V3}birthTime").get("value"))  # type: ignore[union-attr]
            dead = role.find(f"{V3}patient/{{urn:hl7-org:sdtc}}deceasedInd") is not None
            facts.people.append((silo, patient, born.date(), dead))  # type: ignore[union-attr]
            _document(root, silo, str(patient), facts)


def _time(entry: ElementTree.Element, edge: str) -> datetime.datetime | None:
    found = entry.find(f"{V3}effectiveTime/{V3}{edge}")
    return None if found is None else hl7_time(found.get("value"))


def _document(root: ElementTree.Element, silo: str, patient: str, facts: Facts) -> None:
    for entry in root.iter(f"{V3}encounter"):
        code = entry.find(f"{V3}code").get("code")  # type: ignore[union-attr]
        visit = entry.find(f"{V3}id").get("root")  # type: ignore[union-attr]
        found = (C_CLASSES.get(str(code)), _time(entry, "low"), _time(entry, "high"))
        facts.visits.append((silo, patient, visit, *found))
    for entry in root.iter(f"{V3}observation"):
        value, known = entry.find(f"{V3}value"), _time(entry, "low")
        if value is not None and known and any(one.get("root") == PROBLEM for one in entry.iterfind(f"{V3}templateId")):
            facts.diagnoses.append((silo, patient, value.get("code"), known.date()))
    for entry in root.iter(f"{V3}substanceAdministration"):
        drug = entry.find(f".//{V3}manufacturedMaterial/{V3}code")
        if drug is not None and drug.get("codeSystem") == RXNORM_OID:
            facts.orders.append((silo, patient, drug.get("code"), _time(entry, "low"), drug.get("displayName")))


def payers(data: Path, facts: Facts) -> None:
    """Bills by payer and kind: where a claim's totals stand on each of its lines, lines are added up."""
    claims: dict[tuple[str, str, str], list[Decimal]] = {}

    def add(silo: str, kind: str, claim: str, billed: str, paid: str) -> None:
        sums = claims.setdefault((silo, kind, claim), [Decimal(0), Decimal(0)])
        sums[0] += Decimal(billed or 0)
        sums[1] += Decimal(paid or 0)

    for one in rows(data / "site_c_ccda_cpcds/CPCDS_Claims.csv.gz"):
        amounts = (one["Line submitted amount"], one["Line payment amount"])
        add("site_c_cpcds", one["Claim type"], one["Claim unique identifier"], *amounts)
    folder = data / "payer_d_bfd_rif"
    for name in ("carrier", "dme"):
        for one in rows(folder / f"{name}.csv.gz", "|"):
            add("payer_d_rif", name, one["CLM_ID"], one["LINE_SBMTD_CHRG_AMT"], one["LINE_NCH_PMT_AMT"])
    for name in ("inpatient", "outpatient", "snf", "hha", "hospice"):
        seen: set[str] = set()
        for one in rows(folder / f"{name}.csv.gz", "|"):
            if one["CLM_ID"] not in seen:  # a claim's totals stand on each of its lines
                seen.add(one["CLM_ID"])
                add("payer_d_rif", name, one["CLM_ID"], one["CLM_TOT_CHRG_AMT"], one["CLM_PMT_AMT"])
    for one in rows(folder / "pde.csv.gz", "|"):
        add("payer_d_rif", "pde", one["PDE_ID"], one["TOT_RX_CST_AMT"], one["CVRD_D_PLAN_PD_AMT"])
    facts.bills += [(*key, *sums) for key, sums in claims.items()]


SCHEMAS = {
    "people": [("silo", pa.string()), ("patient", pa.string()), ("birth_date", pa.date32()), ("is_dead", pa.bool_())],
    "visits": [("silo", pa.string()), ("patient", pa.string()), ("visit", pa.string()), ("class", pa.string()),
               ("started_at", pa.timestamp("us", "UTC")), ("ended_at", pa.timestamp("us", "UTC"))],
    "orders": [("silo", pa.string()), ("patient", pa.string()), ("code", pa.string()),
               ("ordered_at", pa.timestamp("us", "UTC")), ("display", pa.string())],
    "diagnoses": [("silo", pa.string()), ("patient", pa.string()), ("code", pa.string()), ("known_date", pa.date32())],
    "bills": [("silo", pa.string()), ("kind", pa.string()), ("claim", pa.string()),
              ("billed", pa.decimal128(18, 2)), ("paid", pa.decimal128(18, 2))],
}  # fmt: skip


def read(data: Path) -> duckdb.DuckDBPyConnection:
    """Every bundled file, as the tables above."""
    facts = Facts()
    site_a(data / "site_a_fhir_r4", facts)
    site_b(data / "site_b_csv", facts)
    site_c(data / "site_c_ccda_cpcds", facts)
    payers(data, facts)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, fields in SCHEMAS.items():
        columns = list(zip(*getattr(facts, name), strict=True))
        table = pa.table([pa.array(column, kind) for column, (_, kind) in zip(columns, fields, strict=True)],
                         names=[field for field, _ in fields])  # fmt: skip
        connection.register("rows", table)
        connection.execute(f"CREATE TABLE {name} AS FROM rows")
        connection.unregister("rows")
    return connection
