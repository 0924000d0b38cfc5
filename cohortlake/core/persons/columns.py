"""Records of persons in a CSV file, whatever it calls its columns, as rows of demographics."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cohortlake.core.errors import SourceError, UsageError
from cohortlake.core.persons.declared import PersonModel
from cohortlake.core.persons.demographics import Row, row, split_name
from cohortlake.core.persons.evaluate import Truth
from cohortlake.core.persons.ids import Key

# What files call what we call by the first name; compared without case, blanks, `_` and `-`.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "id": ("unique_id", "local_patient_id", "patient_id", "record_id", "rec_id", "person_id", "uid", "id"),
    "silo": ("silo", "site", "source_dataset", "source", "hospital", "dataset"),
    "truth": (
        "cluster",
        "person_key",
        "true_cluster",
        "cluster_id",
        "ent_id",
        "entity_id",
        "truth",
        "true_id",
        "identity",
    ),
    "variant": ("demographic_variant", "variant"),
    "first": ("first_name", "given_name", "given", "forename", "first", "fname", "fname_c1", "firstname"),
    "middle": ("middle_name", "middle", "middle_names", "second_forename", "fname_c2", "mname"),
    "last": ("surname", "last_name", "family_name", "family", "last", "lname", "lname_c1", "lastname"),
    "maiden": ("maiden_name", "maiden", "birth_surname", "previous_surname"),
    "name": ("full_name", "name", "fullname", "patient_name"),
    "suffix": ("suffix", "name_suffix"),
    "birth_date": ("dob", "birth_date", "date_of_birth", "birthdate", "birth_dt"),
    "year": ("birth_year", "year_of_birth", "by"),
    "month": ("birth_month", "month_of_birth", "bm"),
    "day": ("birth_day", "day_of_birth", "bd"),
    "sex": ("sex", "gender", "sex_code"),
    "ssn": ("ssn", "soc_sec_id", "social_security_number", "soc_sec", "social_security"),
    "number": ("street_number", "house_number"),
    "address": ("address", "address_1", "street", "street_address", "address_line_1", "addr", "street_name"),
    "address_2": ("address_2", "address_line_2"),
    "city": ("city", "town", "suburb", "city_name", "locality"),
    "postcode": ("postcode", "postal_code", "zip", "zip_code", "zipcode", "post_code", "postcode_fake"),
    "phone": ("phone", "phone_number", "telephone", "mobile", "tel"),
    "email": ("email", "email_address", "mail"),
}


@dataclass(frozen=True)
class Records:
    """A file's rows. `truth` is by record, where the file says it; of the columns `left_out` nothing was made."""

    rows: list[Row]
    truth: dict[Key, Truth]
    used: dict[str, str]
    left_out: list[str]


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """A CSV file's header and rows. Raises SourceError where it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [{name: value or "" for name, value in line.items() if isinstance(name, str)} for line in reader]
            return list(reader.fieldnames or ()), rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}", "Name a CSV file in UTF-8 with a header.") from error


def columns(header: Sequence[str], path: Path, needed: Iterable[str]) -> dict[str, str]:
    """Our names of the columns that the header has. Raises UsageError where a needed one is not there."""
    known = {bare_name(name): name for name in header}
    found = {
        ours: known[bare_name(theirs)]
        for ours, names in SYNONYMS.items()
        for theirs in reversed(names)
        if bare_name(theirs) in known
    }
    for ours in needed:
        if ours not in found:
            raise UsageError(f"{path} has no column for {ours}", f"Call it one of {', '.join(SYNONYMS[ours])}.")
    return found


def read_records(path: Path, model: PersonModel) -> Records:
    """A file's records as rows of demographics. Raises SourceError, UsageError."""
    header, lines = read_table(path)
    used = columns(header, path, ["id"])
    if not {"first", "last", "name"} & used.keys():
        raise UsageError(f"{path} has no column for a name", f"Call it one of {', '.join(SYNONYMS['last'])}.")
    rows = [_row(line, used, path.stem, model) for line in lines]
    keys = [(made["silo"], made["patient_id"]) for made in rows]
    if len(set(keys)) < len(keys):
        twice = next(key for n, key in enumerate(keys) if key in keys[:n])
        raise UsageError(f"{path} has the record {'/'.join(twice)} twice", f"Make the column {used['id']} unique.")
    truth = {}
    if "truth" in used:
        truth = {
            key: Truth(line[used["truth"]], line.get(used.get("variant", ""), ""))
            for key, line in zip(keys, lines, strict=True)
            if line[used["truth"]]
        }
    return Records(rows, truth, used, [name for name in header if name not in used.values()])


def _row(line: Mapping[str, str], used: Mapping[str, str], dataset: str, model: PersonModel) -> Row:
    def value(name: str) -> str:
        return line[used[name]].strip() if name in used else ""

    named = {"family": value("last"), "given": [value("first"), value("middle")], "suffix": [value("suffix")]}
    if not value("last") and not value("first"):
        named |= split_name(value("name"))
    return row(
        model, silo=value("silo") or dataset, patient_id=value("id"),
        names=[named, {"family": value("maiden")}],
        birth_date=iso_date(value("birth_date")) or _date(value("year"), value("month"), value("day")),
        sex=value("sex"), ssn=value("ssn"),
        lines=[f"{value('number')} {value('address')}", value("address_2")], city=value("city"),
        postcode=value("postcode"), phones=[value("phone")], emails=[value("email")],
    )  # fmt: skip


def iso_date(text: str) -> str:
    """A date as ISO 8601, from `19800201` and `1980/02/01` too; others are taken as they are."""
    bare = text.replace("/", "-").replace(".", "-")[:10]
    return f"{bare[:4]}-{bare[4:6]}-{bare[6:]}" if len(bare) == 8 and bare.isdigit() else bare


def _date(year: str, month: str, day: str) -> str:
    parts = [year.zfill(4) if year else "", month.zfill(2), day.zfill(2)]
    return "-".join(parts) if all((year, month, day)) else parts[0]


def read_truth(path: Path) -> dict[Key, Truth]:
    """A file that says of each record (site, id) who it is of; "" for no site. Raises SourceError, UsageError."""
    header, lines = read_table(path)
    used = columns(header, path, ["id", "truth"])
    silo, variant = used.get("silo", ""), used.get("variant", "")
    return {
        (line.get(silo, ""), line[used["id"]]): Truth(line[used["truth"]], line.get(variant, ""))
        for line in lines
        if line[used["truth"]]
    }


def bare_name(name: str) -> str:
    """A column's name, however it is written."""
    return name.strip().casefold().replace("_", "").replace("-", "").replace(" ", "")
