"""Stable ids: which person a record belonged to, since when and until when; an id outlives the growth of the data.

The partition is made anew from all records on each run, so it never depends on their order of arrival; only the names
of its parts do. Rules: a person keeps its id while any of its records stay together; if two persons turn out to be one
the older id survives; if one turns out to be two, the larger part keeps it, then the older; no id is ever given twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

# A record of a silo: (silo, Patient.id).
Key = tuple[str, str]
Ended = Literal["merged", "split", "deleted"]


@dataclass(frozen=True, slots=True)
class Membership:
    """That a record was a person's from `since` until `until` (UTC, ISO 8601; None: it still is).

    It ended because the person `merged` into another, because the record was `split` off to another, or because the
    silo `deleted` the record. `moved_to` is the person that has the record next.
    """

    person_id: str
    silo: str
    patient_id: str
    since: str
    until: str | None = None
    ended: Ended | None = None
    moved_to: str | None = None

    @property
    def key(self) -> Key:
        return (self.silo, self.patient_id)


def merged_into(history: Iterable[Membership]) -> dict[str, str]:
    """The persons that are no more, and the one that each became part of."""
    return {row.person_id: row.moved_to for row in history if row.ended == "merged" and row.moved_to}


def assign(
    history: Sequence[Membership],
    persons: Iterable[Sequence[Key]],
    *,
    at: str,
    mint: Callable[[Key, int], str],
) -> list[Membership]:
    """The history with a partition of all live records added at time `at`.

    `persons` hold each live record once. `mint(record, n)` gives the id of a new person whose first record that is; n
    counts up until the id was never given. A partition that is the same leaves the history as it was.
    """
    members = sorted(sorted(person) for person in persons)
    place = {record: number for number, person in enumerate(members) for record in person}
    live = {row.key: row for row in history if row.until is None}
    born: dict[str, tuple[str, str]] = {}
    for row in history:
        born[row.person_id] = min(born.get(row.person_id, (row.since, row.person_id)), (row.since, row.person_id))
    heirs = _heirs(_known(history, live), place, members)
    alive = {row.person_id for row in live.values()}
    ids: dict[int, str] = {}
    for person_id, number in sorted(heirs.items(), key=lambda item: (item[0] not in alive, born[item[0]])):
        ids.setdefault(number, person_id)
    used = set(born)
    for number, person in enumerate(members):
        if number not in ids:
            ids[number] = _minted(person[0], mint, used)
    survivors = set(ids.values())
    made: list[Membership] = []
    kept: set[Key] = set()
    for row in history:
        if row.until is not None:
            made.append(row)
        elif row.key not in place:
            made.append(replace(row, until=at, ended="deleted"))
        elif (person_id := ids[place[row.key]]) == row.person_id:
            made.append(row)
            kept.add(row.key)
        else:
            is_merged = row.person_id not in survivors and heirs[row.person_id] == place[row.key]
            made.append(replace(row, until=at, ended="merged" if is_merged else "split", moved_to=person_id))
    made += [Membership(ids[place[key]], *key, since=at) for key in sorted(place) if key not in kept]
    return made


def _known(history: Sequence[Membership], live: dict[Key, Membership]) -> list[Membership]:
    """Each record's last membership, that of a deleted one too, unless its person has become part of another."""
    last = {row.key: row for row in history if row.ended == "deleted"} | live
    gone = merged_into(history)
    return [row for row in last.values() if row.person_id not in gone]


def _heirs(known: Iterable[Membership], place: dict[Key, int], members: list[list[Key]]) -> dict[str, int]:
    """The part that each person's id would go to: where most of its records are, then the oldest, then the first."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    oldest: dict[tuple[str, int], str] = {}
    for row in known:
        if (number := place.get(row.key)) is not None:
            counts[row.person_id][number] += 1
            oldest[row.person_id, number] = min(oldest.get((row.person_id, number), row.since), row.since)
    return {
        person_id: min(found, key=lambda number: (-found[number], oldest[person_id, number], members[number]))
        for person_id, found in counts.items()
    }


def _minted(record: Key, mint: Callable[[Key, int], str], used: set[str]) -> str:
    number = 0
    while (made := mint(record, number)) in used:
        number += 1
    used.add(made)
    return made
