"""Gold's persons recounted from the raw files alone: `python -m tests.recount_persons [--lake LAKE] [--data FOLDER]`.

It shares no code with the pipeline. Records are read with the standard library, who is who comes from the delivery's
own truth (`mpi_truth.csv`), gold from its Parquet files through DuckDB. Both sides of each number are printed, and it
ends with 1 where one differs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb

# A silo of gold, and the site of the truth that it is; the payer's beneficiaries are in no truth, and each is alone.
SITES = {"site_a_fhir_r4": "site_a", "site_b_csv": "site_b", "site_c_ccda": "site_c", "site_c_cpcds": "site_c"}
PAYER = "payer_d_rif"
BIRTH = re.compile(rb'<birthTime value="(\d{4})(\d\d)(\d\d)')
RECORD = re.compile(rb'<recordTarget>.*?<id [^>]*extension="([^"]+)"', re.DOTALL)


def rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream, delimiter=delimiter)


def records(data: Path) -> Iterator[tuple[str, str, str]]:
    """Each patient of the raw files that gold has: silo, id, birth date."""
    with gzip.open(data / "site_a_fhir_r4/Patient.ndjson.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            patient = json.loads(line)
            yield "site_a_fhir_r4", patient["id"], patient["birthDate"]
    for row in rows(data / "site_b_csv/patients.csv.gz"):
        yield "site_b_csv", row["Id"], row["BIRTHDATE"]
    with zipfile.ZipFile(data / "site_c_ccda_cpcds/ccda.zip") as archive:
        for name in archive.namelist():
            text = archive.read(name)
            found, born = RECORD.search(text), BIRTH.search(text)
            assert found, f"{name} names no patient"
            assert born, f"{name} has no birth date"
            yield "site_c_ccda", found[1].decode(), "-".join(part.decode() for part in born.groups())
    for row in rows(data / "site_c_ccda_cpcds/CPCDS_Members.csv.gz"):
        yield "site_c_cpcds", row["Member id"], row["Date of birth"][:10]
    last = {}
    for path in sorted((data / "payer_d_bfd_rif").glob("beneficiary_*.csv.gz")):
        last |= {row["BENE_ID"]: row["BENE_BIRTH_DT"] for row in rows(path, "|")}
    for number, born in last.items():
        yield PAYER, number, datetime.strptime(born, "%d-%b-%Y").date().isoformat()


def messages(data: Path) -> int:
    """How many patients the HL7 v2 feed of hospital B names; gold has them as the extract's (site_b_csv)."""
    found = set()
    for path in (data / "site_b_hl7v2_feed").glob("*.hl7"):
        for line in re.split(r"[\r\n]+", path.read_text(encoding="utf-8")):
            if line.startswith("PID|"):
                found.add(line.split("|")[3].split("^")[0])
    return len(found)


def expected(data: Path) -> dict[str, int]:
    """The numbers that the raw files and the truth give."""
    with (data / "mpi_truth.csv").open(encoding="utf-8", newline="") as stream:
        who = {(row["site"], row["local_patient_id"]): row["person_key"] for row in csv.DictReader(stream)}
    people: dict[str, set[str]] = defaultdict(set)
    silos: dict[str, set[str]] = defaultdict(set)
    count = 0
    for silo, number, born in records(data):
        person = number if silo == PAYER else who[SITES[silo], number]
        people[person].add(born)
        silos[person].add(silo)
        count += 1
    return {
        "records (rows of patients)": count,
        "records of silver, the second door's too": count + messages(data),
        "people (rows of persons)": len(people),
        "people with several birth dates": sum(len(dates) > 1 for dates in people.values()),
        "people known to several silos of gold": sum(len(places) > 1 for places in silos.values()),
    }


def live(lake: Path, table: str) -> str:
    """A table's live Parquet files by its log, as DuckDB reads them. Checkpoints and deletion vectors are refused."""
    log, files = sorted((lake / table / "_delta_log").glob("*.json")), set()
    assert [path.stem for path in log[:1]] == ["0" * 20], f"{table}: its log does not begin at the first version"
    for commit in log:
        for line in commit.read_text(encoding="utf-8").splitlines():
            action = json.loads(line)
            if "remove" in action:
                files.discard(action["remove"]["path"])
            if "add" in action:
                assert not action["add"].get("deletionVector"), f"{table} has a deletion vector"
                files.add(action["add"]["path"])
    listed = ", ".join(f"'{lake / table / name}'" for name in sorted(files))
    return f"read_parquet([{listed}], hive_partitioning = true)"


def shown(lake: Path) -> dict[str, int]:
    """The same numbers as gold has them: counted over `patients` by person, and read from `persons`."""
    persons, patients = live(lake, "research/gold/persons"), live(lake, "research/gold/patients")
    members = live(lake, "phi/persons/members")
    by_person = f"""
        SELECT count(*), count(*) FILTER (dates > 1), count(*) FILTER (silos > 1), sum(n)
        FROM (SELECT count(DISTINCT birth_date) AS dates, count(DISTINCT silo) AS silos, count(*) AS n
              FROM {patients} GROUP BY person_key)"""
    said = f"""
        SELECT count(*), count(*) FILTER (has_birth_date_conflict), count(*) FILTER (silo_count > 1), sum(record_count)
        FROM {persons}"""
    one, other = duckdb.sql(by_person).fetchone(), duckdb.sql(said).fetchone()
    assert one == other, f"patients give {one}, persons says {other}"
    silver = duckdb.sql(f"SELECT count(*) FROM {members} WHERE until IS NULL").fetchone()
    assert one is not None
    assert silver is not None
    people, conflicts, several, count = one
    return {
        "records (rows of patients)": int(count),
        "records of silver, the second door's too": silver[0],
        "people (rows of persons)": people,
        "people with several birth dates": conflicts,
        "people known to several silos of gold": several,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, default=Path("lake"), help="the lake's folder")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the delivery's folder")
    asked = parser.parse_args()
    raw, gold = expected(asked.data), shown(asked.lake)
    for name, count in raw.items():
        print(f"{name:<45} raw files {count:>5}   gold {gold[name]:>5}   {'ok' if gold[name] == count else 'DIFFERS'}")
    return int(raw != gold)


if __name__ == "__main__":
    sys.exit(main())
