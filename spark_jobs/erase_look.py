"""Looking for a person: in silver and bronze of each silo, by reference; then in all that was made of them, by key."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.catalog import Catalog
from cohortlake.core.erasure import Search, Traits, erasure_id, traits
from cohortlake.core.errors import CatalogError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.persons.ids import Key
from cohortlake.core.releases import FACTS
from spark_jobs.delta_history import Gone, tables
from spark_jobs.erase_find import Found, Rows, by_rows, in_bronze, in_silver, patients_traits, sourced, with_keys
from spark_jobs.erase_plan import Plan
from spark_jobs.erase_prove import is_opaque, texts
from spark_jobs.erase_records import reader
from spark_jobs.link_tables import read_members
from spark_jobs.pseudonyms import pseudonym_of, vault_secret

Tell = Callable[[str], None]
# The columns that name a record in the small tables: silo, resource type (or the column that holds it), id.
NAMED_BY = {
    "phi/persons/members": [("silo", "Patient", "patient_id")],
    "phi/persons/pairs": [("left_silo", "Patient", "left_id"), ("right_silo", "Patient", "right_id")],
    "phi/persons/decisions": [("left_silo", "Patient", "left_id"), ("right_silo", "Patient", "right_id")],
    "phi/same_facts": [("silo", "resource_type", "id"), ("stands_silo", "resource_type", "stands_id")],
    "phi/tombstones": [("silo", "resource_type", "id")],
    "phi/quarantine/records": [("silo", "resource_type", "resource_id")],
}


def make_plan(
    lake: Lake, catalog: Catalog, records: Sequence[Key], *, reason: str, by: str, at: str,
    known: Plan | None = None, tell: Tell = lambda what: None,
) -> Plan:  # fmt: skip
    """Look for the records (silo, Patient id) and all that is theirs, with what an earlier plan `known` found already.

    Raises UsageError where the lake holds nothing of them, or another's Patient refers to them; CatalogError for a silo
    that the catalog lacks.
    """
    if unknown := sorted({silo for silo, _ in records} - set(catalog.silos)):
        raise CatalogError(f"the catalog has no silo {', '.join(unknown)}", "Name the one that filled the lake.")
    shown = ["/".join(key) for key in records]
    erasure = known.erasure if known else erasure_id(vault_secret(lake), shown, at)
    plan = Plan(erasure, at, reason, by, [list(key) for key in records], {}, known.traits if known else Traits())
    looking = _Looking(lake, catalog, plan, known, tell)
    looking.through_records()
    looking.through_other_tables()
    looking.through_files()
    if not plan.tables and not known:
        raise UsageError(
            f"the lake holds nothing of {', '.join(shown)}",
            "Name a person's id, or a record as SILO/ID; `cohortlake person explain` shows both.",
        )
    if plan.search.holds(f"{reason} {by}"):
        raise UsageError("the reason names the person", "Give the request's number: the record of the erasure is kept.")
    return plan


class _Looking:
    """Fills a plan."""

    def __init__(self, lake: Lake, catalog: Catalog, plan: Plan, known: Plan | None, tell: Tell) -> None:
        self._lake, self._catalog, self._plan, self._tell = lake, catalog, plan, tell
        self._mine: dict[str, set[str]] = defaultdict(set)
        for silo, patient in plan.records:
            self._mine[silo].add(f"Patient/{patient}")
        before = known.names if known else {}
        self._names = {silo: {*patients, *before.get(silo, [])} for silo, patients in self._mine.items()}
        self._beyond: dict[str, set[str]] = defaultdict(set)
        self._places: dict[str, set[tuple[str, int]]] = defaultdict(set)
        silver = lake.root / "phi/silver"
        self._silver = [path for path in tables(silver) if path.parent == silver]
        self._has_patients = lake.silver("Patient") in self._silver

    def through_records(self) -> None:
        """Silver, bronze, silver again: what refers to what refers to the patients is found then, and no further."""
        self._own_traits()
        for silo, names in self._names.items():
            for table in self._silver:
                self._tell(f"{silo}: {table.name}")
                found = in_silver(table, silo, self._mine[silo], self._mine[silo])
                names |= found.own
                self._places[silo] |= found.places
            self._bronze(silo, names)
        of_others = set()
        for silo, names in self._names.items():
            for table in self._silver:
                self._tell(f"{silo}: {table.name}")
                found = in_silver(table, silo, names, self._mine[silo])
                of_others |= {f"{silo}/{other}" for other in found.of_others}
                self._beyond[silo] |= found.beyond
                self._note(table, found)
        if of_others:
            raise UsageError(
                f"{', '.join(sorted(of_others))}: another person's Patient refers to the one to be erased",
                "Name it too if they are one person, or have the source take the reference back.",
            )
        self._plan.names = {silo: sorted(names | self._beyond[silo]) for silo, names in self._names.items()}
        self._plan.keys = sorted(self._keys())
        self._leave_out_shared_traits()
        for silo in self._names:
            for table in self._silver:
                self._note(table, Found(sourced(table, silo, self._plan.search)))

    def _bronze(self, silo: str, names: set[str]) -> None:
        self._tell(f"{silo}: bronze")
        table, declared = self._lake.bronze(silo), self._catalog.silos[silo]
        if table not in tables(self._lake.root / "phi/bronze"):
            return
        bundles = {name for name, feed in declared.feeds.items() if feed.deletes == "bundles"}
        search, mine = Search(self._plan.traits), self._mine[silo]
        read = reader(self._catalog, declared)
        found = in_bronze(table, read, names, mine, bundles, search, self._places[silo])
        names |= found.own
        self._beyond[silo] |= found.beyond
        self._plan.traits |= found.traits
        self._places[silo] |= found.places
        self._note(table, found)

    def _note(self, table: Path, found: Found) -> None:
        self._plan.several += found.several
        if not found.gone:
            return
        gone = self._plan.tables.setdefault(str(table.relative_to(self._lake.root)), Gone())
        for file, rows in found.gone.rows.items():
            gone.rows[file] = sorted({*gone.rows.get(file, []), *rows})
        for file, changes in found.gone.changed.items():
            staying = {row: values for row, values in changes.items() if row not in gone.rows.get(file, ())}
            if staying:
                gone.changed[file] = {**gone.changed.get(file, {}), **staying}
        if not gone:
            del self._plan.tables[str(table.relative_to(self._lake.root))]

    def _is_mine(self, silo: str, patient: str | None) -> bool:
        return f"Patient/{patient}" in self._mine.get(silo, ())

    def _own_traits(self) -> None:
        if self._has_patients:
            for silo, patient in patients_traits(self._lake.silver("Patient")):
                if self._is_mine(silo, patient.get("id")):
                    self._plan.traits |= traits(patient)

    def _leave_out_shared_traits(self) -> None:
        """What another Patient has too cannot prove anything."""
        plan, theirs = self._plan, Traits()
        if self._has_patients:
            for silo, patient in patients_traits(self._lake.silver("Patient")):
                if not self._is_mine(silo, patient.get("id")):
                    found = traits(patient)
                    theirs |= Traits(found.values & plan.traits.values, found.people & plan.traits.people)
        plan.traits -= theirs
        plan.shared = len(theirs)

    def through_other_tables(self) -> None:
        """Persons, pairs of doors, tombstones and quarantine by silo and id; gold and releases by pseudonym."""
        names = {silo: set(found) for silo, found in self._plan.names.items()}
        search, keys = self._plan.search, with_keys(self._plan.keys)
        # A person's row is made of all its records, so it goes with any of them; the next run makes it of what is left.
        made = [table.name for table in self._catalog.tables.values() if table.resolve]
        whole = {str(self._lake.gold(name).relative_to(self._lake.root)) for name in made}
        persons = with_keys({*self._plan.keys, *self._persons()})
        for table in tables(self._lake.root):
            name = str(table.relative_to(self._lake.root))
            self._tell(name)
            if name in whole:
                gone = by_rows(table, persons)
            elif name.startswith("research/"):
                gone = by_rows(table, keys)
            elif name == "phi/quarantine/records":
                gone = by_rows(table, lambda rows: _held_of(rows, names, self._places, search))
            elif name in NAMED_BY:
                gone = by_rows(table, _naming(NAMED_BY[name], names))
            else:
                continue
            if gone:
                self._plan.tables[name] = gone

    def _persons(self) -> set[str]:
        """The ids of all persons that a record to be erased was ever of."""
        mine = {(silo, patient) for silo, patient in self._plan.records}
        return {row.person_id for row in read_members(self._lake) if row.key in mine}

    def _keys(self) -> set[str]:
        secret = vault_secret(self._lake)
        named = ((silo, name.partition("/")) for silo, names in self._plan.names.items() for name in names)
        return {pseudonym_of(secret, silo, kind, key) for silo, (kind, _, key) in named}

    def through_files(self) -> None:
        """Releases, and copies of whole files in quarantine."""
        search, keys, root = self._plan.search, with_keys(self._plan.keys), self._lake.root
        for path in sorted(root.glob(f"research/releases/*/*/{FACTS}")):
            held = (pq.read_table(file) for file in sorted(path.parent.glob("*.parquet")))
            if any(any(keys(rows)) for rows in held):
                self._plan.releases.append(str(path.parent.relative_to(root)))
        for path in sorted(self._lake.quarantined_files.glob("*")):
            if is_opaque(path) or any(search.holds(text) for text in texts(path)):
                self._plan.copies.append(path.name)


def _naming(columns: Iterable[tuple[str, str, str]], names: dict[str, set[str]]) -> Rows:
    """Whether a row names an erased record in its columns."""

    def is_gone(rows: pa.Table) -> list[bool]:
        return [
            any(f"{row.get(kind, kind)}/{row[key]}" in names.get(row[silo], ()) for silo, kind, key in columns)
            for row in rows.to_pylist()
        ]

    return is_gone


def _held_of(
    rows: pa.Table, names: dict[str, set[str]], places: dict[str, set[tuple[str, int]]], search: Search
) -> list[bool]:
    """Rows of quarantine, of the silos in question, that are of an erased record by name or place, or hold a trait."""
    named = _naming(NAMED_BY["phi/quarantine/records"], names)(rows)
    found = []
    for is_named, row in zip(named, rows.to_pylist(), strict=True):
        is_there = (row["file_hash"], row["offset"]) in places.get(row["silo"], ())
        plain = {**row, "payload": (row["payload"] or b"").decode("latin-1")}
        said = json.dumps(plain, default=str, ensure_ascii=False)
        found.append(is_named or is_there or (row["silo"] in names and search.holds(said)))
    return found


def go_on(lake: Lake, catalog: Catalog, noted: Plan, tell: Tell) -> Plan:
    """The plan that was noted, with what is found since: what it did not see, and what its own work left."""
    records = [(silo, patient) for silo, patient in noted.records]
    said = {"reason": noted.reason, "by": noted.by, "at": noted.at}
    plan = make_plan(lake, catalog, records, **said, known=noted, tell=tell)
    for name, gone in noted.tables.items():
        new = plan.tables.setdefault(name, Gone())
        new.rows = {**new.rows, **gone.rows}
        new.changed = {**new.changed, **gone.changed}
    plan.releases = sorted({*noted.releases, *plan.releases})
    plan.copies = sorted({*noted.copies, *plan.copies})
    plan.several, plan.shared = max(noted.several, plan.several), max(noted.shared, plan.shared)
    return plan
