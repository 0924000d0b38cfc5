"""A truth's names of records, matched with the records that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cohortlake.core.persons.evaluate import Truth
from cohortlake.core.persons.ids import Key

Labels = dict[tuple[Key, Key], bool]


def silos_of(site: str, silos: Iterable[str], sites: Mapping[str, str]) -> list[str]:
    """The silos that a truth's site is: the one named for it, else that of its name or those whose names begin so."""
    if site in sites:
        return [silo for silo in silos if silo == sites[site]]
    return [silo for silo in silos if silo == site or silo.startswith(f"{site}_")]


def matched(
    truth: Mapping[Key, Truth], records: Mapping[Key, Sequence[str]], sites: Mapping[str, str]
) -> tuple[dict[Key, Truth], int]:
    """Each record's truth, and how many of the truth's records are not there.

    `records` have their record numbers (`system|value`): a truth may name a record by its hospital's number, and a name
    that two systems of a site have stands for both. Where no site is a silo, ids alone are matched, if they are unique.
    """
    places = _places(records)
    silos = sorted({silo for silo, _ in records})
    is_by_id = not any(silos_of(site, silos, sites) for site, _ in truth)
    if is_by_id:
        ids = [patient_id for _, patient_id in records]
        silos = silos if len(set(ids)) == len(ids) else []
    found: dict[Key, Truth] = {}
    missing = 0
    for (site, patient_id), said in truth.items():
        known = silos if is_by_id else silos_of(site, silos, sites)
        here = {record for silo in known for record in places.get((silo, patient_id), ())}
        found |= dict.fromkeys(here, said)
        missing += not here
    return found, missing


def matched_labels(labels: Labels, records: Iterable[Key]) -> Labels:
    """Labelled pairs of records that are there; by id alone where the labels name no silo that is."""
    known = set(records)
    silos = {silo for silo, _ in known}
    by_id = {patient_id: (silo, patient_id) for silo, patient_id in known}
    is_by_id = len(by_id) == len(known) and not any(key[0] in silos for pair in labels for key in pair)
    found: Labels = {}
    for (left, right), is_same in labels.items():
        keys = [by_id.get(key[1], key) for key in (left, right)] if is_by_id else [left, right]
        if set(keys) <= known:
            found[min(keys), max(keys)] = is_same
    return found


def _places(records: Mapping[Key, Sequence[str]]) -> dict[Key, list[Key]]:
    """The records that a silo knows by a name: the Patient's id, or the value of a record number."""
    found: dict[Key, list[Key]] = {}
    for record, numbers in records.items():
        for name in {record[1], *(number.rpartition("|")[2] for number in numbers)}:
            found.setdefault((record[0], name), []).append(record)
    return found
