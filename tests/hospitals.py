"""Small hospitals for tests: a few patients of the bundled ones with all that belongs to them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
SHARED = ("Organization", "Practitioner", "Location", "PractitionerRole", "Medication")
SHARED_CSV = ("organizations", "providers", "payers")


def unzipped(path: Path) -> tuple[str, ...]:
    """The lines of a zipped file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return tuple(stream.read().splitlines())


@cache
def lines(file: str) -> tuple[str, ...]:
    """The lines of a bundled file."""
    return unzipped(DATA / file)


def _patient_of(line: str) -> str | None:
    found = re.search(r'"(?:subject|patient)":\{"reference":"Patient/([^"]+)"', line)
    return found.group(1) if found else None


@cache
def site_a(patients: int = 3, rows: int = 60) -> dict[str, list[str]]:
    """Hospital A's first patients: resource type -> NDJSON lines, at most `rows` a patient and type."""
    chosen = [json.loads(line)["id"] for line in lines("site_a_fhir_r4/Patient.ndjson.gz")[:patients]]
    found: dict[str, list[str]] = {}
    for path in sorted((DATA / "site_a_fhir_r4").glob("*.ndjson.gz")):
        name = path.name.split(".")[0]
        every = lines(f"site_a_fhir_r4/{path.name}")
        if name == "Patient":
            found[name] = list(every[:patients])
        elif name in SHARED:
            found[name] = list(every)
        else:
            counts = dict.fromkeys(chosen, 0)
            for line in every:
                patient = _patient_of(line)
                if patient in counts and counts[patient] < rows:
                    counts[patient] += 1
                    found.setdefault(name, []).append(line)
    return found


@cache
def site_b(patients: int = 3) -> dict[str, list[str]]:
    """Hospital B's first patients: feed -> CSV lines, the header first."""
    header, *rows = lines("site_b_csv/patients.csv.gz")
    chosen = {row.split(",")[0] for row in rows[:patients]}
    found = {"patients": [header, *rows[:patients]]}
    for path in sorted((DATA / "site_b_csv").glob("*.csv.gz")):
        feed = path.name.split(".")[0]
        header, *rows = lines(f"site_b_csv/{path.name}")
        if feed in SHARED_CSV:
            found[feed] = [header, *rows]
        elif feed != "patients":
            names = header.split(",")
            column = names.index("PATIENTID" if "PATIENTID" in names else "PATIENT")
            kept = [line for line in rows if next(csv.reader(io.StringIO(line)))[column] in chosen]
            found[feed] = [header, *kept]
    return found


def write(folder: Path, name: str, content: Iterable[str]) -> Path:
    """Write lines to a file of the folder, zipped if its name says so."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in content).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return path


def write_site_a(data: Path, resources: dict[str, list[str]] | None = None) -> Path:
    """Write hospital A's folder; gives it."""
    for name, content in (resources or site_a()).items():
        write(data / "site_a_fhir_r4", f"{name}.ndjson", content)
    return data / "site_a_fhir_r4"


def write_site_b(data: Path, feeds: dict[str, list[str]] | None = None) -> Path:
    """Write hospital B's folder; gives it."""
    for name, content in (feeds or site_b()).items():
        write(data / "site_b_csv", f"{name}.csv", content)
    return data / "site_b_csv"
