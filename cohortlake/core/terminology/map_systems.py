"""Which code system a map reads: what its declaration names as its source."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from cohortlake.core.catalog import Catalog
from cohortlake.core.language.declared import FORMATS

UNITS = "http://unitsofmeasure.org"


def map_systems(catalog: Catalog, silo: str, names: Iterable[str]) -> dict[str, str | None]:
    """The code system (a URI) of each map of a silo, by name; None where none is declared.

    A map is the silo's own, one of its format, a concept map (`name version`), or the list of units.
    """
    return {name: _system(catalog, silo, name) for name in names}


def _system(catalog: Catalog, silo: str, name: str) -> str | None:
    if name == "unit":
        return UNITS
    own = catalog.maps.get(silo, {}).get(name)
    if own is not None:
        return own.source
    concept_map = catalog.concept_maps.get(name.rpartition(" ")[0])
    if concept_map is not None:
        sources = sorted({group.source for group in concept_map.groups})
        return sources[0] if len(sources) == 1 else None
    path = FORMATS / catalog.silos[silo].format / f"maps/{name}.yaml"
    source = yaml.safe_load(path.read_text(encoding="utf-8")).get("source") if path.exists() else None
    return source if isinstance(source, str) else None
