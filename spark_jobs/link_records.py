"""Silver's Patients as demographics, without a JVM."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cohortlake.core.fhir.render import resources
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.persons.declared import PersonModel
from cohortlake.core.persons.demographics import SCHEMA, from_patient
from cohortlake.core.persons.ids import Key
from cohortlake.core.sql import literal
from spark_jobs import delta
from spark_jobs.fhir_types import PARTITION
from spark_jobs.link_persons import Pair

# Of a Patient, what tells persons apart.
ELEMENTS = ("id", "identifier", "name", "telecom", "gender", "birthDate", "address", "link")
REST = "_rest"
Keys = tuple[Key, Key]
BATCH = 20_000


def patients(lake: Lake, keys: list[Key] | None = None) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The live Patients as (silo, FHIR JSON), some at a time; of `keys`, those."""
    table = lake.silver("Patient")
    if not delta.exists(table):
        return
    connection = delta_connection()
    scan = f"delta_scan({literal(table)})"
    columns = connection.sql(f"FROM {scan}").columns
    chosen = ", ".join(f'"{name}"' for name in (PARTITION, *ELEMENTS, REST) if name in columns)
    wanted = " OR ".join(f"({PARTITION} = {literal(silo)} AND id = {literal(id_)})" for silo, id_ in keys or ())
    where = f" WHERE {wanted or 'false'}" if keys is not None else ""
    for batch in connection.sql(f"SELECT {chosen} FROM {scan}{where}").arrow(BATCH):  # noqa: S608
        rows = pa.Table.from_batches([batch])
        elements = [name for name in rows.column_names if name in ELEMENTS]
        rest = rows[REST].combine_chunks() if REST in rows.column_names else None
        texts = resources("Patient", rows.select(elements), rest).to_pylist()
        yield [(silo, json.loads(text)) for silo, text in zip(rows[PARTITION].to_pylist(), texts, strict=True)]


def demographics(
    lake: Lake,
    model: PersonModel,
    keys: list[Key] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> pa.Table:
    """The live Patients' demographics (SCHEMA) by silo and id; of `keys`, those. `progress` hears how many are read."""
    batches = []
    done = 0
    for batch in patients(lake, keys):
        batches.append(pa.Table.from_pylist([from_patient(silo, one, model) for silo, one in batch], schema=SCHEMA))
        done += len(batch)
        progress(done)
    rows = pa.concat_tables(batches) if batches else SCHEMA.empty_table()
    return rows.sort_by([("silo", "ascending"), ("patient_id", "ascending")])


def record_keys(rows: pa.Table) -> list[Key]:
    """The records' keys; a record's number is its place."""
    return list(zip(rows["silo"].to_pylist(), rows["patient_id"].to_pylist(), strict=True))


@dataclass(frozen=True)
class Told:
    """The pairs of records of which sources say that they are, or are not, one person's."""

    same: list[Pair]
    different: list[Pair]

    def apart(self, decided: Collection[Pair]) -> list[Pair]:
        """Those that are different, but for what humans decided to be the same."""
        return [pair for pair in self.different if pair not in decided]


def told(lake: Lake, rows: pa.Table) -> Told:
    """What sources say of the records of `rows` (demographics.SCHEMA).

    A silo says it of its own (`Patient.link`, a Linkage); of two silos that are `doors` of one hospital, its protocol
    does. A link of a Patient is there only as long as it holds, so it outweighs an older Linkage that ended.
    """
    keys = record_keys(rows)
    links = [
        (keys[number], (keys[number][0], patient_id))
        for number, ids in enumerate(rows["links"].to_pylist())
        for patient_id in ids
    ]
    linked, parted = linkages(lake)
    same = _numbered(keys, [*links, *doors(lake), *linked])
    return Told(same, [pair for pair in _numbered(keys, parted) if pair not in set(same)])


def _numbered(keys: Sequence[Key], pairs: Iterable[Keys]) -> list[Pair]:
    """Pairs of records that live, by number, each once."""
    numbers = {key: number for number, key in enumerate(keys)}
    known = [(numbers[left], numbers[right]) for left, right in pairs if {left, right} <= numbers.keys()]
    return sorted({(min(pair), max(pair)) for pair in known if pair[0] != pair[1]})


def linkages(lake: Lake) -> tuple[list[Keys], list[Keys]]:
    """The Patients that a Linkage joins (HL7 v2's A24), and those of which one says that it holds no more (A37)."""
    table = lake.silver("Linkage")
    said: tuple[list[Keys], list[Keys]] = ([], [])
    if not delta.exists(table):
        return said
    of = f"list_transform(item, one -> one.resource.reference) FROM delta_scan({literal(table)})"
    for silo, is_active, references in delta_connection().sql(f"SELECT {PARTITION}, active, {of}").fetchall():
        named = (reference.split("/") for reference in references or () if reference)
        keys: list[Key] = [(silo, parts[-1]) for parts in named if parts[-2:-1] == ["Patient"]]
        said[is_active is False].extend((keys[0], other) for other in keys[1:])
    return said


def doors(lake: Lake) -> list[Keys]:
    """The Patients that two doors of one hospital tell (spark_jobs.match)."""
    columns = ["silo", "id", "stands_silo", "stands_id"]
    found = delta.rows(lake.same_facts, columns, [("resource_type", "=", "Patient")])
    rows = [] if found is None else found.to_pylist()
    return [((row["silo"], row["id"]), (row["stands_silo"], row["stands_id"])) for row in rows]
