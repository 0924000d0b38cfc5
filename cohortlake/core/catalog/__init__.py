"""The catalog: every declaration of a project, read and checked once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cohortlake.core.catalog.cohort import Cohort
from cohortlake.core.catalog.mapping import CodeMap, Mapping
from cohortlake.core.catalog.needs import check_needs
from cohortlake.core.catalog.resource import Node, ResourceColumns, resource_tree, whole_tree
from cohortlake.core.catalog.silo import Feed, Silo
from cohortlake.core.catalog.source import load
from cohortlake.core.catalog.table import Table
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.terminology.concept_maps import ConceptMap, check_maps, load_concept_maps
from cohortlake.core.terminology.translate import Translator
from cohortlake.core.terminology.units import Spellings, Units, load_units

__all__ = ["Catalog", "CodeMap", "Cohort", "Feed", "Mapping", "Node", "Silo", "Table", "load_catalog"]

PROJECT_CATALOG = Path(__file__).parent.parent.parent.parent / "catalog"


class Trees(dict[str, Node]):
    """The typed trees of resource types. One that is not declared is typed whole, once it is asked for."""

    def __missing__(self, resource_type: str) -> Node:
        """Raises KeyError for what is no R4 resource type."""
        if resource_type not in resource_types():
            raise KeyError(resource_type)
        self[resource_type] = whole_tree(resource_type)
        return self[resource_type]


@dataclass(frozen=True)
class Catalog:
    """Declarations by name. `mappings` and `maps` are by silo, then by name.

    `resources` are the typed trees of the types that are declared in `resources/` or that a silo delivers.
    """

    folder: Path
    silos: dict[str, Silo]
    mappings: dict[str, dict[str, Mapping]]
    maps: dict[str, dict[str, CodeMap]]
    resources: Trees
    tables: dict[str, Table]
    cohorts: dict[str, Cohort]
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    units: Units = field(default_factory=lambda: Units({}, {}, Spellings()))
    concept_maps: dict[str, ConceptMap] = field(default_factory=dict)

    def translator(self, silo: str) -> Translator:
        """The maps that a silo names."""
        return Translator(tuple(self.concept_maps[name] for name in self.silos[silo].concept_maps))


def _each(folder: Path, pattern: str) -> dict[str, Path]:
    """Declarations by name: a folder's for `*/x.yaml`, a file's stem for `*.yaml`; `_` hides one."""
    found = sorted(folder.glob(pattern))
    named = {(path.parent.name if "/" in pattern else path.stem): path for path in found}
    return {name: path for name, path in named.items() if not name.startswith("_")}


def _resource(path: Path) -> Node:
    declared = load(path, ResourceColumns, name=path.stem)
    if declared.name not in resource_types():
        raise CatalogError(f"{path}:1: {declared.name!r} is not an R4 resource type")
    try:
        return resource_tree(declared.name, declared.elements)
    except ValueError as error:
        raise CatalogError(f"{path}:1: {error}") from error


def _typed(path: Path, resource_type: str, resources: Trees) -> None:
    """See to it that a type that a silo delivers has a tree. Raises CatalogError where R4 has no such type."""
    if resource_type not in resource_types():
        near = difflib.get_close_matches(resource_type, resource_types(), 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "See https://hl7.org/fhir/R4/resourcelist.html."
        raise CatalogError(f"{path}:1: {resource_type!r} is not an R4 resource type", hint)
    resources[resource_type]


def _check_mapping(path: Path, mapping: Mapping, silo: Silo) -> None:
    for feed in (mapping.feed, *(child.feed for child in mapping.children.values())):
        if feed not in silo.feeds:
            raise CatalogError(f"{path}:1: feed {feed!r} is not one of {silo.name}'s: {', '.join(silo.feeds)}")


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read a catalog folder (the project's own by default). Raises CatalogError for what is wrong in it."""
    folder = folder or PROJECT_CATALOG
    if not folder.is_dir():
        raise CatalogError(f"{folder}: there is no catalog folder here", "Name one with --catalog.")
    resources = Trees({name: _resource(path) for name, path in _each(folder / "resources", "*.yaml").items()})
    silos: dict[str, Silo] = {}
    mappings: dict[str, dict[str, Mapping]] = {}
    maps: dict[str, dict[str, CodeMap]] = {}
    for name, path in _each(folder / "silos", "*/silo.yaml").items():
        silo = load(path, Silo, name=name)
        for feed in silo.feeds.values():
            if feed.resource:
                _typed(path, feed.resource, resources)
        silos[name] = silo
        found = {n: load(p, Mapping, name=n) for n, p in _each(path.parent / "mappings", "*.yaml").items()}
        for mapping_name, mapping in found.items():
            place = path.parent / "mappings" / f"{mapping_name}.yaml"
            _typed(place, mapping.resource, resources)
            _check_mapping(place, mapping, silo)
        mappings[name] = found
        maps[name] = {n: load(p, CodeMap, name=n) for n, p in _each(path.parent / "maps", "*.yaml").items()}
    for name, silo in silos.items():
        if silo.same_facts and not {silo.same_facts.other, silo.same_facts.prefers} <= {*silos}:
            raise CatalogError(
                f"{folder / 'silos' / name / 'silo.yaml'}:1: same_facts names a silo that does not exist",
                f"Silos are {', '.join(silos)}.",
            )
    concept_maps = load_concept_maps(folder / "conceptmaps")
    for name, silo in silos.items():
        check_maps(folder / "silos" / name / "silo.yaml", silo.concept_maps, concept_maps)
    tables = {n: load(p, Table, name=n) for n, p in _each(folder / "tables", "*/table.yaml").items()}
    views = {name: _read_view(folder / "tables" / name / "view.json") for name, t in tables.items() if t.is_view}
    cohorts = {n: load(p, Cohort, name=n) for n, p in _each(folder / "cohorts", "*/cohort.yaml").items()}
    units = load_units(folder / "units")
    catalog = Catalog(folder, silos, mappings, maps, resources, tables, cohorts, views, units, concept_maps)
    check_needs(catalog)
    return catalog


def _read_view(path: Path) -> dict[str, Any]:
    reader: Callable[[str], dict[str, Any]] = json.loads
    try:
        return reader(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CatalogError(f"{path}: there is no such file", "Or set `from: sql` in table.yaml.") from error
    except json.JSONDecodeError as error:
        raise CatalogError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
