"""Who needs which column of gold, and the element of FHIR that it is read from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cohortlake.core.catalog import Catalog
from cohortlake.core.catalog.needs import declared_needs
from cohortlake.core.completeness.lineage import source_of


@dataclass(frozen=True)
class Needed:
    """A column of gold (or an element of FHIR): who cannot do without it, and the highest floor that they ask for."""

    name: str
    floor_percent: float
    by: tuple[str, ...]
    system: str | None = None

    @property
    def said_by(self) -> str:
        """Who needs it, in words."""
        return ", ".join(self.by)


def needed_columns(catalog: Catalog) -> dict[str, Needed]:
    """The columns of gold that something needs, by `table.column`; not those of which another would do as well."""
    needs = ((who, need) for who, need in declared_needs(catalog) if len(need.names) == 1)
    return _merged((need.column, need.floor_percent, who, None) for who, need in needs)


def needed_elements(catalog: Catalog) -> dict[str, Needed]:
    """The elements of FHIR that needed columns are read from, by `ResourceType.path`, as far as that can be told."""
    found = []
    for needed in needed_columns(catalog).values():
        table, _, column = needed.name.partition(".")
        source = source_of(catalog, table, column)
        if source is None or source.root == "value[x]":
            continue  # what type a value has depends on what is observed, so that a delivery may well have none of one
        system = source.system or catalog.tables[table].preferred_system(column)
        name = source.name
        if catalog.tables[table].is_sql and source.root.endswith("[x]"):
            # SQL may take it from any of a choice's types, so that one of them may well be empty.
            name, system = f"{source.resource}.{source.root}", None
        found += [(name, needed.floor_percent, who, system) for who in needed.by]
    return _merged(found)


def _merged(found: Iterable[tuple[str, float, str, str | None]]) -> dict[str, Needed]:
    merged: dict[str, Needed] = {}
    for name, floor, who, system in found:
        before = merged.get(name)
        by = tuple(dict.fromkeys((*(before.by if before else ()), who)))
        merged[name] = Needed(name, max(floor, before.floor_percent if before else 0), by, system)
    return merged
