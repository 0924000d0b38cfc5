"""What an erasure is to take out, worked out before anything is touched, and kept so that a killed one can go on."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.catalog import Catalog
from cohortlake.core.erasure import Search, Traits, erasure_id, traits
from cohortlake.core.errors import CatalogError, UsageError
from cohortlake.core.history import commits
from cohortlake.core.lake import Lake
from cohortlake.core.persons.ids import Key
from cohortlake.core.releases import FACTS
from spark_jobs import delta
from spark_jobs.delta_history import Gone, tables
from spark_jobs.erase_find import Found, Rows, by_rows, in_bronze, in_silver, patients_traits, sourced, with_keys
from spark_jobs.erase_prove import texts
from spark_jobs.erase_records import reader
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


@dataclass
class Plan:
    """An erasure: whose, why, and what goes where. `names` (`Type/id`) and `places` (file hash, offset) are by silo.

    `several` counts rows that name other people too, `shared` the traits that others have and the proof leaves out.
    """

    erasure: str
    at: str
    reason: str
    by: str
    records: list[list[str]]
    names: dict[str, list[str]]
    traits: Traits
    shared: int = 0
    several: int = 0
    tables: dict[str, Gone] = field(default_factory=dict)
    releases: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    @property
    def search(self) -> Search:
        """What the proof looks for."""
        return Search(self.traits, {name for names in self.names.values() for name in names})

    def counts(self, lake: Lake) -> list[tuple[str, int, int, int]]:
        """A table, its rows that go, the data files that hold them, the versions of the table."""
        return [
            (name, sum(map(len, [*gone.rows.values(), *gone.changed.values()])), len(gone.files), versions)
            for name, gone in sorted(self.tables.items())
            for versions in [len(commits(lake.root / name))]
        ]


def write_journal(lake: Lake, plan: Plan) -> None:
    content = asdict(plan)
    content["traits"] = {name: sorted(map(list, value) if name == "people" else value) for name, value in (
        ("values", plan.traits.values), ("people", plan.traits.people))}  # fmt: skip
    delta.write_json(lake.erasing, content)
    os.chmod(lake.erasing, 0o600)


def read_journal(lake: Lake) -> Plan | None:
    """The erasure that is under way, if there is one."""
    if not lake.erasing.exists():
        return None
    content = json.loads(lake.erasing.read_text(encoding="utf-8"))
    who, gone = content.pop("traits"), content.pop("tables")
    read = {name: Gone(one["rows"], _by_row(one["changed"])) for name, one in gone.items()}
    people = frozenset(tuple(one) for one in who["people"])
    return Plan(**content, traits=Traits(frozenset(who["values"]), people), tables=read)


def _by_row(files: dict[str, dict[str, Any]]) -> dict[str, dict[int, Any]]:
    """As it was before JSON made texts of the row numbers."""
    return {file: {int(row): values for row, values in rows.items()} for file, rows in files.items()}


def make_plan(
    lake: Lake, catalog: Catalog, records: Sequence[Key], *, reason: str, by: str, at: str,
    known: Plan | None = None, tell: Tell = lambda what: None,
) -> Plan:  # fmt: skip
    """Look for the records (silo, Patient id) and all that is theirs, with what an earlier plan `known` found already.

    Raises UsageError where the lake holds nothing of them, or another's Patient refers to them; CatalogError for a silo
    that the catalog lacks.
    """
    mine: dict[str, set[str]] = defaultdict(set)
    for silo, patient in records:
        mine[silo].add(f"Patient/{patient}")
    if unknown := sorted(set(mine) - set(catalog.silos)):
        raise CatalogError(f"the catalog has no silo {', '.join(unknown)}", "Name the one that filled the lake.")
    secret = vault_secret(lake)
    plan = Plan(
        known.erasure if known else erasure_id(secret, ["/".join(key) for key in records], at), at, reason, by,
        [list(key) for key in records], {}, known.traits if known else Traits(),
    )  # fmt: skip
    names = {silo: {*patients, *(known.names.get(silo, []) if known else [])} for silo, patients in mine.items()}
    _traits_of(lake, plan, mine)
    silver = [path for path in tables(lake.root / "phi/silver") if path.parent == lake.root / "phi/silver"]
    # What refers to what refers to the patients is found in the second pass, and nothing beyond.
    for silo in names:
        for table in silver:
            tell(f"{silo}: {table.name}")
            names[silo] |= in_silver(table, silo, mine[silo], mine[silo]).own
    places: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for silo in names:
        tell(f"{silo}: bronze")
        bundles = {name for name, feed in catalog.silos[silo].feeds.items() if feed.deletes == "bundles"}
        if lake.bronze(silo) in tables(lake.root / "phi/bronze"):
            read, search = reader(catalog, catalog.silos[silo]), Search(plan.traits)
            found = in_bronze(lake.bronze(silo), read, names[silo], mine[silo], bundles, search)
            names[silo] |= found.own
            plan.traits |= found.traits
            _note(plan, lake, lake.bronze(silo), found)
            places[silo] |= found.places
    of_others = set()
    for silo in names:
        for table in silver:
            tell(f"{silo}: {table.name}")
            found = in_silver(table, silo, names[silo], mine[silo])
            of_others |= {f"{silo}/{other}" for other in found.of_others}
            _note(plan, lake, table, found)
    if of_others:
        raise UsageError(
            f"{', '.join(sorted(of_others))}: another person's Patient refers to the one to be erased",
            "Name it too if they are one person, or have the source take the reference back.",
        )
    plan.names = {silo: sorted(found) for silo, found in names.items()}
    plan.shared = _without_shared(lake, plan, mine)
    for silo in names:
        for table in silver:
            _note(plan, lake, table, Found(sourced(table, silo, plan.search)))
    tell("other tables")
    _other_tables(lake, plan, secret, places)
    if not plan.tables and not known:
        raise UsageError(
            f"the lake holds nothing of {', '.join('/'.join(key) for key in records)}",
            "Name a person's id, or a record as SILO/ID; `cohortlake person explain` shows both.",
        )
    if plan.search.holds(f"{reason} {by}"):
        raise UsageError("the reason names the person", "Give the request's number: the record of the erasure is kept.")
    return plan


def _note(plan: Plan, lake: Lake, table: Path, found: Found) -> None:
    plan.several += found.several
    if found.gone:
        gone = plan.tables.setdefault(str(table.relative_to(lake.root)), Gone())
        for file, changes in found.gone.changed.items():
            kept = set(gone.rows.get(file, ()))
            new = {row: values for row, values in changes.items() if row not in kept}
            gone.changed |= {file: {**gone.changed.get(file, {}), **new}} if new else {}
        for file, rows in found.gone.rows.items():
            gone.rows[file] = sorted({*gone.rows.get(file, []), *rows})


def _traits_of(lake: Lake, plan: Plan, mine: dict[str, set[str]]) -> None:
    if lake.silver("Patient") in tables(lake.root / "phi/silver"):
        for silo, patient in patients_traits(lake.silver("Patient")):
            if f"Patient/{patient.get('id')}" in mine.get(silo, ()):
                plan.traits |= traits(patient)


def _without_shared(lake: Lake, plan: Plan, mine: dict[str, set[str]]) -> int:
    """Leave the traits out that another Patient has too; gives their number."""
    theirs = Traits()
    if lake.silver("Patient") in tables(lake.root / "phi/silver"):
        for silo, patient in patients_traits(lake.silver("Patient")):
            if f"Patient/{patient.get('id')}" not in mine.get(silo, ()):
                found = traits(patient)
                theirs |= Traits(found.values & plan.traits.values, found.people & plan.traits.people)
    plan.traits -= theirs
    return len(theirs)


def _other_tables(lake: Lake, plan: Plan, secret: str, places: dict[str, set[tuple[str, int]]]) -> None:
    keys = {pseudonym_of(secret, silo, *name.split("/", 1)) for silo, names in plan.names.items() for name in names}
    search, names = plan.search, {silo: set(found) for silo, found in plan.names.items()}
    for table in tables(lake.root):
        name = str(table.relative_to(lake.root))
        if name.startswith("research/"):
            gone = by_rows(table, with_keys(keys))
        elif name == "phi/quarantine/records":
            gone = by_rows(table, lambda rows: _held_of(rows, names, places, search))
        elif name in NAMED_BY:
            gone = by_rows(table, _naming(NAMED_BY[name], names))
        else:
            continue
        if gone:
            plan.tables[name] = gone
    for path in sorted(lake.root.glob(f"research/releases/*/*/{FACTS}")):
        held = [pq.read_table(file) for file in sorted(path.parent.glob("*.parquet"))]
        if any(any(with_keys(keys)(rows)) for rows in held):
            plan.releases.append(str(path.parent.relative_to(lake.root)))
    for path in sorted(lake.quarantined_files.glob("*")):
        if any(search.holds(text) for text in texts(path)):
            plan.copies.append(path.name)


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
    """Rows of quarantine that are of an erased record, by name or place, or hold a trait."""
    named = _naming(NAMED_BY["phi/quarantine/records"], names)(rows)
    found = []
    for is_named, row in zip(named, rows.to_pylist(), strict=True):
        is_there = (row["file_hash"], row["offset"]) in places.get(row["silo"], ())
        text = json.dumps(
            {**row, "payload": (row["payload"] or b"").decode("latin-1")}, default=str, ensure_ascii=False
        )
        found.append(is_named or is_there or search.holds(text))
    return found


def waiting(lake: Lake) -> Iterable[Path]:
    """What runs left to be gone on with, which the next run makes anew: staged batches, cohorts' rows."""
    yield from sorted((lake.root / "phi/staging").glob("*"))
    for path in sorted((lake.root / "research/staging").glob("*")):
        yield from (
            [path] if path.name == "gold" else sorted(file for file in path.glob("*") if file.name != "_release.json")
        )


def go_on(lake: Lake, catalog: Catalog, noted: Plan, tell: Tell) -> Plan:
    """The plan that was noted, with what is left to be found since: of rows that came by, or that it did not see."""
    records = [(silo, patient) for silo, patient in noted.records]
    plan = make_plan(
        lake, catalog, records, reason=noted.reason, by=noted.by, at=noted.at, known=noted, tell=tell
    )  # fmt: skip
    for name, gone in noted.tables.items():
        new = plan.tables.setdefault(name, Gone())
        new.rows = {**new.rows, **gone.rows}
        new.changed = {**new.changed, **gone.changed}
    plan.releases = sorted({*noted.releases, *plan.releases})
    plan.copies = sorted({*noted.copies, *plan.copies})
    plan.several, plan.shared = max(noted.several, plan.several), max(noted.shared, plan.shared)
    return plan
