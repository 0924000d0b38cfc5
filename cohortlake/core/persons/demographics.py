"""A FHIR Patient as a row of demographics, cleaned for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from cohortlake.core.persons import clean
from cohortlake.core.persons.declared import PersonModel

TEXTS = (
    "silo", "patient_id", "first_name", "middle_name", "given_names", "surname", "suffix", "birth_date",
    "birth_day_month", "sex", "ssn", "address", "city", "postcode", "email",
)  # fmt: skip
LISTS = ("first_names", "surnames", "identifiers", "identifier_kinds", "record_numbers", "phones", "links")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXTS]
    + [("birth_year", pa.int32())]
    + [(name, pa.list_(pa.string())) for name in LISTS]
)
# What most silos fill with the name that a person goes by; the others are earlier or other names.
CURRENT = (None, "official", "usual")
Row = dict[str, Any]


def from_patient(silo: str, patient: Mapping[str, Any], model: PersonModel) -> Row:
    """A Patient's row: the columns of SCHEMA, None or [] where nothing is known. Any element may be missing.

    `links` are the ids of Patients of the same silo that the sender says are the same human (`Patient.link`, as HL7
    v2's A40 makes them); R4 says so of every type of link.
    """
    ssn, identifiers, numbers = _identifiers(_objects(patient.get("identifier")), model)
    addresses = _objects(patient.get("address"))
    homes = [a for a in addresses if a.get("use") not in ("old", "temp", "billing")]
    home = next(iter([*homes, *addresses]), {})
    telecom = _objects(patient.get("telecom"))
    return row(
        model, silo=silo, patient_id=str(patient["id"]),
        names=_names(_objects(patient.get("name"))),
        birth_date=_text(patient.get("birthDate")), sex=_text(patient.get("gender")), ssn=ssn,
        identifiers=identifiers, record_numbers=numbers,
        lines=_texts(home.get("line")) or _texts([home.get("text")]), city=_text(home.get("city")),
        postcode=_text(home.get("postalCode")),
        phones=[_text(t.get("value")) for t in telecom if t.get("system") in ("phone", "sms")],
        emails=[_text(t.get("value")) for t in telecom if t.get("system") == "email"],
        links=_links(_objects(patient.get("link"))),
    )  # fmt: skip


def row(
    model: PersonModel,
    *,
    silo: str,
    patient_id: str,
    names: Sequence[Mapping[str, Any]] = (),
    birth_date: str | None = None,
    sex: str | None = None,
    ssn: str | None = None,
    identifiers: Iterable[tuple[str, str]] = (),
    record_numbers: Iterable[str] = (),
    lines: Iterable[str] = (),
    city: str | None = None,
    postcode: str | None = None,
    phones: Iterable[str | None] = (),
    emails: Iterable[str | None] = (),
    links: Iterable[str] = (),
) -> Row:
    """A row from parts as they were written. `names` are {given, family, suffix}, the current one first.

    `identifiers` are (kind with its issuer, value).
    """
    rules, unknown = model.cleaning, model.cleaning.unknown
    keep = rules.keep_digits_in_names
    nowhere = set(unknown.get("name", ()))
    firsts, middles, surnames, generation = _cleaned_names(names, keep, nowhere)
    date = clean.birth_date(birth_date, unknown.get("birth_date", ()))
    numbers = {(kind, number) for kind, value in identifiers if (number := clean.identifier(value))}
    calls = (clean.phone(value, unknown.get("phone", ())) for value in phones)
    mails = (clean.email(value, unknown.get("email", ())) for value in emails)
    return {
        "silo": silo,
        "patient_id": patient_id,
        "first_name": firsts[0] if firsts else None,
        "first_names": _forms(firsts, model.nicknames),
        "middle_name": middles,
        # Without blanks, which one registrar sets and another does not: `Ann Marie`, `Annmarie`.
        "given_names": "".join([*firsts[:1], *(middles or "").split()]) or None,
        "surname": surnames[0] if surnames else None,
        "surnames": surnames,
        "suffix": generation,
        "birth_date": date,
        "birth_year": int(date[:4]) if date else None,
        "birth_day_month": "-".join(sorted((date[5:7], date[8:10]))) if date and len(date) == 10 else None,
        "sex": clean.sex(sex),
        "ssn": clean.ssn(ssn, unknown.get("ssn", ())),
        "identifiers": sorted(f"{kind}|{number}" for kind, number in numbers),
        "identifier_kinds": sorted({kind for kind, _ in numbers}),
        "record_numbers": sorted(set(record_numbers)),
        "address": clean.address(lines, rules.address_words, unknown.get("address", ())),
        "city": clean.city(city, unknown.get("address", ())),
        "postcode": clean.postcode(postcode, unknown.get("postcode", ())),
        "phones": sorted({call for call in calls if call}),
        "email": next((mail for mail in mails if mail), None),
        "links": sorted(set(links)),
    }


def _cleaned_names(
    names: Sequence[Mapping[str, Any]], keep: bool, nowhere: set[str]
) -> tuple[list[str], str | None, list[str], str | None]:
    """First names and surnames, the current ones first; middle names and generation of the first that has them."""
    firsts: list[str] = []
    surnames: list[str] = []
    middle: str | None = None
    for named in names:
        words = [word for given in _texts(named.get("given")) for word in clean.name(given, keep).split()]
        words = [word for word in words if word not in nowhere]
        firsts += words[:1]
        middle = middle or " ".join(words[1:]) or None
        surnames += [part for part in clean.surname_parts(_text(named.get("family")), keep) if part not in nowhere]
    generation = clean.suffix(text for named in names for text in _texts(named.get("suffix")))
    return list(dict.fromkeys(firsts)), middle, list(dict.fromkeys(surnames)), generation


def _forms(firsts: Iterable[str], nicknames: Mapping[str, Sequence[str]]) -> list[str]:
    """First names with the full names that they may be short for. Digits that are kept stay with each form."""
    forms: dict[str, None] = {}
    for first in firsts:
        letters = first.rstrip("0123456789")
        forms |= {first: None} | {full + first[len(letters) :]: None for full in nicknames.get(letters, ())}
    return list(forms)


def _names(names: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    ordered = sorted(names, key=lambda named: named.get("use") not in CURRENT)
    return [
        named if named.get("family") or named.get("given") else {**named, **split_name(_text(named.get("text")))}
        for named in ordered
    ]


def split_name(text: str | None) -> dict[str, Any]:
    """Given and family names of a name in one piece: `Ann B. Lee`, `Lee, Ann B.`."""
    whole = (text or "").strip()
    if "," in whole:
        family, _, given = whole.partition(",")
        return {"family": family, "given": given.split()}
    words = whole.split()
    return {"family": words[-1] if words else None, "given": words[:-1]}


def _identifiers(
    given: list[Mapping[str, Any]], model: PersonModel
) -> tuple[str | None, list[tuple[str, str]], list[str]]:
    """The social security number; the numbers of other issuers as (kind with issuer, value); record numbers."""
    ssn, known, numbers = None, [], []
    for one in given:
        value, system = one.get("value"), str(one.get("system") or "")
        if not isinstance(value, str) or not value.strip() or one.get("use") == "old":
            continue
        kinds = model.cleaning.identifier_types
        types = [kinds[code] for code in _codes(one.get("type")) if code in kinds]
        kind = model.cleaning.identifier_systems.get(system) or next(iter(types), None)
        if kind == "ssn":
            ssn = ssn or value
        elif kind:
            known.append((f"{kind}|{system}", value))
        elif system:
            numbers.append(f"{system}|{value.strip()}")
    return ssn, known, numbers


def _codes(concept: Any) -> list[str]:
    codings = _objects(concept.get("coding")) if isinstance(concept, Mapping) else []
    return _texts([coding.get("code") for coding in codings])


def _links(links: list[Mapping[str, Any]]) -> list[str]:
    others = [link["other"] for link in links if isinstance(link.get("other"), Mapping)]
    references = (_text(other.get("reference")) or "" for other in others)
    return [ref.split("/_history")[0].rpartition("/")[2].removeprefix("urn:uuid:") for ref in references if ref]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
