"""Who is in the cohort of type 2 diabetes, and with which outcome, counted from the raw files (`tests.recount.raw`).

The cohort in words (catalog/cohorts/type2_diabetes/cohort.yaml): adults on a 1 January who have type 2 diabetes, at a
hospital whose records reach a year back and a year ahead, with a visit in the year before, not in hospital that day,
without another type of diabetes. The outcome: an emergency visit or the start of an inpatient stay within 365 days.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from dataclasses import dataclass, field

import duckdb

TYPE_2 = {
    "44054006", "90781000119102", "157141000119108", "368581000119106", "422034002", "1551000119108", "1501000119109",
}  # fmt: skip
OTHER_TYPES = {"46635009", "11687002", "8801005", "5368009"}
HOSPITAL = {"EMER", "IMP"}
YEAR = datetime.timedelta(days=365)
GRACE = datetime.timedelta(days=14)


@dataclass
class Patient:
    """What the raw files tell of a patient; `visits` are (start day, end day or None, class or None)."""

    silo: str
    born: datetime.date
    visits: list[tuple[datetime.date, datetime.date | None, str | None]] = field(default_factory=list)
    diagnoses: list[tuple[datetime.date, str]] = field(default_factory=list)


def _patients(raw: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], Patient]:
    people = raw.sql("SELECT silo, patient, born FROM patients WHERE silo IN (SELECT silo FROM encounters)").fetchall()
    found = {(silo, one): Patient(silo, born) for silo, one, born in people}
    visits = raw.sql("SELECT silo, patient, class, started::DATE, ended::DATE FROM encounters").fetchall()
    for silo, one, kind, start, end in visits:
        found[silo, one].visits.append((start, end, kind))
    for silo, one, code, known in raw.sql("SELECT silo, patient, code, known FROM conditions").fetchall():
        found[silo, one].diagnoses.append((known, code))
    return found


def _years_before(day: datetime.date, years: int) -> datetime.date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)


def _is_in(one: Patient, index: datetime.date, until: datetime.date) -> bool:
    known = {code for day, code in one.diagnoses if day <= index}
    in_hospital = any(kind == "IMP" and end and start <= index < end for start, end, kind in one.visits)
    return (
        one.born <= _years_before(index, 18)
        and bool(known & TYPE_2)
        and not known & OTHER_TYPES
        and _years_before(until, 5) - GRACE <= index - YEAR
        and until + GRACE >= index + YEAR
        and any(index - YEAR < start <= index for start, *_ in one.visits)
        and not in_hospital
    )


def rows(raw: duckdb.DuckDBPyConnection) -> list[tuple[str, datetime.date, int, int, bool]]:
    """The cohort's rows, sorted: silo, index date, age in years, visits in the year before, outcome."""
    patients = _patients(raw)
    last: dict[str, datetime.date] = defaultdict(lambda: datetime.date.min)
    for one in patients.values():
        last[one.silo] = max([last[one.silo], *(start for start, *_ in one.visits)])
    found = []
    for one in patients.values():
        until = last[one.silo]
        for index in (datetime.date(until.year - back, 1, 1) for back in range(5)):
            if not _is_in(one, index, until):
                continue
            age = index.year - one.born.year - ((index.month, index.day) < (one.born.month, one.born.day))
            before = sum(index - YEAR < start <= index for start, *_ in one.visits)
            outcome = any(kind in HOSPITAL and index < start <= index + YEAR for start, _, kind in one.visits)
            found.append((one.silo, index, age, before, outcome))
    return sorted(found)
