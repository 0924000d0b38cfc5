"""The recount of the table of people: of each human's records, in plain Python, what the declared rules make."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.catalog.attributes import AGREED, LOWEST, UNKNOWN, Attribute, Resolution
from cohortlake.core.catalog.table import Table
from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.sql_tables import casts, source_of
from cohortlake.core.recount.tally import parquet, tally

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """A value that some records of one human say; `trust` is that of the most trusted of their silos, lower is more."""

    value: Any
    records: Sequence[Record]
    sources: frozenset[str]
    trust: tuple[int, str]
    is_unknown: bool


def recount_people(
    connection: Any, table: Table, declared: Resolution, files: Sequence[Path], patients: Sequence[Path]
) -> Finding:
    """What the records in the files of `patients` make, against the files of the table of people."""
    columns = [*table.columns]
    records = connection.execute(f"FROM {parquet(patients)}").fetch_arrow_table().to_pylist() if patients else []
    by_person: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["person_key"] is not None:
            by_person[record["person_key"]].append(record)
    made = [person(key, of_one, declared) for key, of_one in by_person.items()]
    told = {name: [one[name] for one in made] for name in columns}
    # A table of nulls has no types of its own; each column gets its declared one.
    connection.register("told_people", pa.table(told or {name: pa.nulls(0) for name in columns}))
    must = tally(connection, f"(SELECT {casts(table)} FROM told_people)", columns)
    does = tally(connection, f"(SELECT {casts(table)} FROM {source_of(table, files)})", columns)
    return Finding("gold → gold", f"gold.{table.name}", must.rows, does.rows, must=must, does=does)


def person(key: str, records: Sequence[Record], declared: Resolution) -> dict[str, Any]:
    """One human's row."""
    of = declared.source_of()
    made = {
        "person_key": key,
        "record_count": len(records),
        "silo_count": len({record["silo"] for record in records}),
        "source_count": len({of.get(record["silo"], record["silo"]) for record in records}),
    }
    for name, attribute in declared.attributes.items():
        made |= _decided(name, attribute, _said(records, attribute, declared, of), declared)
    return made


def _said(records: Sequence[Record], attribute: Attribute, declared: Resolution, of: Mapping[str, str]) -> list[Said]:
    first, unknown = attribute.columns[0], {text.lower() for text in attribute.unknown}
    values = sorted({record[first] for record in records if record[first] is not None})
    found = []
    for value in values:
        saying = [record for record in records if record[first] == value]
        trusts = (_trust(record["silo"], declared) for record in saying)
        sources = frozenset(of.get(record["silo"], record["silo"]) for record in saying)
        found.append(Said(value, saying, sources, min(trusts), str(value).lower() in unknown))
    return found


def _trust(silo: str, declared: Resolution) -> tuple[int, str]:
    """Lower is more trusted; silos that are not listed follow, by name."""
    return (declared.trust.index(silo) if silo in declared.trust else len(declared.trust), silo)


def _decided(name: str, attribute: Attribute, said: list[Said], declared: Resolution) -> dict[str, Any]:
    known = [one for one in said if not one.is_unknown]
    left, basis = known or said, LOWEST
    for rule in attribute.rules:
        best = min((RULES[rule](one, known) for one in left), default=None)
        left = [one for one in left if RULES[rule](one, known) == best]
        if len(left) == 1 and basis == LOWEST:
            basis = rule
    if len(known) < 2:
        basis = AGREED if known else UNKNOWN
    chosen = left[0] if left else None
    first, *beside = attribute.columns
    made = {first: chosen.value if chosen else None}
    made |= {column: _beside(chosen, column, declared) for column in beside}
    made |= {f"{name}_count": len(known), f"{name}_basis": basis if said else None}
    return made | {f"has_{name}_conflict": len(known) > 1}


def _beside(chosen: Said | None, column: str, declared: Resolution) -> Any:
    """What the most trusted record says beside the value; of several of one silo the lowest."""
    records = chosen.records if chosen else ()
    told = [(_trust(record["silo"], declared), record[column]) for record in records if record[column] is not None]
    return min(told)[1] if told else None


def _is_coarse(one: Said, known: Sequence[Said]) -> bool:
    """Whether a date is the first of a month, or of a year, of which another is known closer."""
    day = one.value
    if not isinstance(day, datetime.date) or day.day != 1:
        return False
    others = [other.value for other in known if other.value != day and other.value.year == day.year]
    return any(other.month == day.month and other.day != 1 for other in others) or (day.month == 1 and bool(others))


# What a rule likes best is lowest.
RULES: Mapping[str, Callable[[Said, Sequence[Said]], Any]] = {
    "most_precise": _is_coarse,
    "most_sources": lambda one, known: -len(one.sources),
    "most_trusted": lambda one, known: one.trust,
    "any_true": lambda one, known: not one.value,
}
