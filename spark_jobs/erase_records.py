"""What a record of bronze names: read as `standardise` reads it, by references, resources that it becomes, or columns.

`land` and erasure ask the same reader, so that what was erased is what stays out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa

from cohortlake.core.catalog import Catalog, Feed, Mapping, Silo
from cohortlake.core.convert import Options, dumps, format_named
from cohortlake.core.erasure import Traits, own_name, patients, references, traits
from cohortlake.core.errors import UsageError
from cohortlake.core.readers.csv_text import csv_header
from cohortlake.core.sql import identifier, literal
from spark_jobs.convert_part import record_of
from spark_jobs.join_csv import columns
from spark_jobs.parse_csv import fields

# A reference by a declared map, or of a line of a list, cannot be asked of a row alone.
ASKABLE = re.compile(r"=(?P<sql>(?:[^|]|\|\|)+)")
NOBODY = Traits()
PLACE = re.compile(r"\b_(row|file)\b")


@dataclass(frozen=True)
class Told:
    """A resource that a record tells: its own name, the names in it; what identifies its human, if it is a Patient."""

    own: str | None
    names: frozenset[str]
    traits: Traits = NOBODY

    @property
    def every(self) -> set[str]:
        return {*self.names, *([self.own] if self.own else [])}


def other_patients(told: Iterable[Told], mine: set[str]) -> set[str]:
    """The patients that a record names but `mine`; whom one of these says to be linked to does not count."""
    return {name for one in told if one.own not in mine for name in patients(one.every)} - mine


@dataclass(frozen=True)
class _Columns:
    """How the rows of a tabular feed name things: SQL texts over its columns, of own names and of references."""

    columns: list[str]
    own: list[str]
    names: list[str]


@dataclass
class Reader:
    """Reads a silo's records. It is sent to the tasks of `land`."""

    format: str
    is_converted: bool
    options: Options
    feeds: dict[str, _Columns] = field(default_factory=dict)

    def told(self, feed: str, rows: pa.Table) -> Iterator[list[Told] | None]:
        """For each row of bronze (of one file) the resources that it tells; None for one that cannot be read."""
        if self.format == "csv":
            return self._csv(self.feeds[feed], rows)
        return (self._converted(row) if self.is_converted else _json(row["payload"]) for row in rows.to_pylist())

    @cached_property
    def _format(self) -> Any:
        return format_named(self.format)

    def _converted(self, row: dict[str, Any]) -> list[Told] | None:
        made = self._format.to_fhir(record_of(row), self.options)
        return None if made.error else [_resource(one, dumps(one)) for one in made.resources]

    def _csv(self, feed: _Columns, rows: pa.Table) -> Iterator[list[Told] | None]:
        if not rows.num_rows:
            return
        header = csv_header(str(rows["header"][0].as_py()))
        parsed, wrong = fields(rows["payload"].to_pylist(), header)
        held = {name: parsed[header.index(name)] for name in feed.columns if name in header}
        empty = pa.nulls(rows.num_rows, pa.string())
        connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
        connection.register("source", pa.table({name: held.get(name, empty) for name in feed.columns}))
        lists = (f"list_value({', '.join(texts or ['NULL'])})" for texts in (feed.own, feed.names))
        found = connection.execute(f"SELECT {', '.join(lists)} FROM source").fetchall()  # noqa: S608
        unread = set(wrong)
        for number, (own, names) in enumerate(found):
            if number in unread:
                yield None
                continue
            others = frozenset(name for name in names if name)
            yield [*(Told(name, others) for name in own if name), Told(None, others)]


def _json(payload: str) -> list[Told] | None:
    try:
        return [_resource(json.loads(payload), payload)]
    except ValueError:
        return None


def _resource(resource: Any, text: str) -> Told:
    own = own_name(resource)
    who = traits(resource) if own and own.startswith("Patient/") else NOBODY
    return Told(own, frozenset(references(text)), who)


def reader(catalog: Catalog, silo: Silo) -> Reader:
    """The reader of a silo. Raises UsageError for one whose records are named by their place in a file."""
    made = Reader(silo.format, silo.is_converted, silo.options)
    if silo.format == "csv":
        mappings = list(catalog.mappings[silo.name].values())
        for mapping in mappings:
            if PLACE.search(mapping.id):
                raise UsageError(
                    f"silo {silo.name}: records of {mapping.feed} are named by their place in the file, so none can be "
                    "left out without renaming the others",
                    f"Give them an id of their own in mappings/{mapping.name}.yaml.",
                )
        made.feeds = {name: _columns(silo, name, feed, mappings) for name, feed in silo.feeds.items()}
    return made


def _columns(silo: Silo, name: str, feed: Feed, mappings: list[Mapping]) -> _Columns:
    """How a feed's rows name things.

    A feed that no mapping reads is asked what the mappings of the other feeds ask theirs, as far as it has the columns.
    """
    mine = [mapping for mapping in mappings if mapping.feed == (feed.deletes or name)]
    held = columns(silo.feeds[feed.deletes]) if feed.deletes else columns(feed)
    own = [f"{literal(mapping.resource + '/')} || ({mapping.id})" for mapping in mine]
    asked = {sql for mapping in mine or mappings for sql in _references(mapping.elements)}
    asked |= {
        f"{literal(mapping.resource + '/')} || {identifier(child.column)}"
        for mapping in mappings
        for child in mapping.children.values()
        if child.feed == name and child.key.strip() == mapping.id.strip()
    }
    return _Columns(held, *(_askable(held, texts) for texts in (own, sorted(asked))))


def _references(template: Any) -> Iterator[str]:
    """The SQL of the references in a mapping's template."""
    if isinstance(template, dict):
        for key, value in template.items():
            if key == "reference" and isinstance(value, str) and (sql := ASKABLE.fullmatch(value.strip())):
                yield sql["sql"]
            yield from _references(value)
    elif isinstance(template, list):
        for value in template:
            yield from _references(value)


def _askable(held: Iterable[str], texts: list[str]) -> list[str]:
    """Those texts of SQL that can be asked of rows with these columns."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    named = ", ".join(f"CAST(NULL AS VARCHAR) AS {identifier(name)}" for name in held)
    connection.execute(f"CREATE VIEW source AS SELECT {named}")
    found = []
    for sql in texts:
        try:
            connection.execute(f"SELECT {sql} FROM source")  # noqa: S608
        except duckdb.BinderException:
            continue
        found.append(sql)
    return found
