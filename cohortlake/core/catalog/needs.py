"""Every need that a catalog declares, and whether what is needed, or has a floor, is there at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cohortlake.core.catalog.completeness import Need
from cohortlake.core.errors import CatalogError

if TYPE_CHECKING:
    from cohortlake.core.catalog import Catalog, Node


def declared_needs(catalog: Catalog) -> Iterator[tuple[str, Need]]:
    """Every need with who has it: `cohort (outcome)`, `cohort.feature`, `table.column`."""
    for _, who, need in _needs(catalog):
        yield who, need


def _needs(catalog: Catalog) -> Iterator[tuple[Path, str, Need]]:
    for cohort in catalog.cohorts.values():
        path = catalog.folder / "cohorts" / cohort.name / "cohort.yaml"
        yield from ((path, f"{cohort.name} (criteria)", need) for need in cohort.criteria_needs)
        yield from ((path, f"{cohort.name} (outcome)", need) for need in cohort.outcome_needs)
        for name, feature in cohort.features.items():
            yield from ((path, f"{cohort.name}.{name}", need) for need in feature.needs)
    for table in catalog.tables.values():
        path = catalog.folder / "tables" / table.name / "table.yaml"
        for name, column in table.columns.items():
            yield from ((path, f"{table.name}.{name}", need) for need in column.needs)


def check_needs(catalog: Catalog) -> None:
    """Raises CatalogError for a need of a column that no table has, or of a table that does not say its rows' silo.

    And for an element with a floor or a gap that silver does not type.
    """
    for path, who, need in _needs(catalog):
        table = catalog.tables.get(need.table)
        if table is None:
            raise CatalogError(
                f"{path}:1: {who} needs {need.column}, but there is no table {need.table}",
                f"Tables are {', '.join(catalog.tables)}.",
            )
        if unknown := [name for name in need.names if name not in table.columns]:
            raise CatalogError(
                f"{path}:1: {who} needs {need.table}.{unknown[0]}, which {need.table} does not have",
                f"Its columns are {', '.join(table.columns)}.",
            )
        if "silo" not in table.columns:
            raise CatalogError(f"{path}:1: {who} needs {need.column}, but {need.table} has no column `silo`")
    for silo in catalog.silos.values():
        for name in silo.completeness:
            _check_element(catalog, catalog.folder / "silos" / silo.name / "silo.yaml", name)


def _check_element(catalog: Catalog, path: Path, name: str) -> None:
    resource, _, element = name.partition(".")
    try:
        node: Node | None = catalog.resources[resource]
    except KeyError:
        raise CatalogError(
            f"{path}:1: completeness: {resource!r} is not an R4 resource type", "Write ResourceType.element."
        ) from None
    if element.endswith("[x]"):
        stem = element.removesuffix("[x]")
        is_there = node is not None and any(
            child.startswith(stem) and child[len(stem) :][:1].isupper() for child in node.children
        )
    else:
        for part in element.split("."):
            node = node.children.get(part) if node else None
        is_there = node is not None
    if not is_there:
        raise CatalogError(
            f"{path}:1: completeness: silver does not type {name}",
            f"Add it to catalog/resources/{resource}.yaml, or mend the path.",
        )
