"""How C-CDA becomes FHIR, as `catalog/formats/ccda` declares it; docs/ccda.md tells it by example.

Source: C-CDA on FHIR implementation guide (C-CDA to FHIR mappings), http://hl7.org/fhir/us/ccda.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cohortlake.core.catalog.mapping import CodeMap
from cohortlake.core.catalog.source import Declaration, Location, line_of, load, read_yaml
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import resource_types

FOLDER = Path(__file__).parent.parent.parent.parent / "catalog/formats/ccda"


class ElementMap(Declaration):
    """A resource made of an element of a document.

    Every statement with one of `templates`, and every element named `of`, makes one where the predicate `when` holds;
    a map with neither is made only where another refers to it. `needs` is what an element must have to be known by:
    without it there is no resource. `key` replaces the element's id as the resource's identity. `is_leftover` maps take
    what no other resource read. `include` names groups of shared elements that the map's own add to, replace or (null)
    leave out.
    """

    name: str
    resource: str
    templates: list[str] = []
    of: str | None = None
    when: str | None = None
    needs: str | None = None
    key: str | None = None
    is_leftover: bool = False
    include: list[str] = []
    elements: dict[str, Any] = {}


class Shared(Declaration):
    """What maps share: `expressions` are named as `$name`, `elements` by `include`.

    `wrappers` are templates that only hold others, with the reason why nothing is made of them.
    """

    expressions: dict[str, str]
    elements: dict[str, dict[str, Any]]
    wrappers: dict[str, str]


class Oids(Declaration):
    """Code systems and namespaces of identifiers, from OID to FHIR URI."""

    oids: dict[str, str]


@dataclass(frozen=True)
class Ccda:
    """The declarations by name; `lines` are the lines of each map's file, for errors."""

    folder: Path
    elements: dict[str, ElementMap]
    shared: Shared
    maps: dict[str, CodeMap]
    oids: dict[str, str]
    lines: dict[str, tuple[Path, dict[Location, int]]] = field(default_factory=dict)

    def fail(self, name: str, at: Location, reason: str) -> CatalogError:
        """The error of a place in a map's file, with its line."""
        path, lines = self.lines[name]
        return CatalogError(
            f"{path}:{line_of(lines, at)}: {reason}", "Mend the declaration; docs/ccda.md tells the format."
        )


@cache
def load_ccda(folder: Path = FOLDER) -> Ccda:
    """Read the declarations. Raises CatalogError naming file, line and what is expected."""
    paths = sorted(folder.glob("header/*.yaml")) + sorted(folder.glob("entries/*.yaml"))
    elements = {path.stem: load(path, ElementMap, name=path.stem) for path in paths}
    shared = load(folder / "shared.yaml", Shared)
    maps = {path.stem: load(path, CodeMap, name=path.stem) for path in sorted(folder.glob("maps/*.yaml"))}
    lines = {path.stem: (path, read_yaml(path)[1]) for path in paths}
    declared = Ccda(folder, elements, shared, maps, load(folder / "oids.yaml", Oids).oids, lines)
    for name, element in elements.items():
        if element.resource not in resource_types():
            raise declared.fail(name, ("resource",), f"{element.resource!r} is not an R4 resource type")
        for group in element.include:
            if group not in shared.elements:
                known = ", ".join(shared.elements)
                raise declared.fail(name, ("include",), f"shared.yaml has no elements {group!r}; it has {known}")
    return declared
