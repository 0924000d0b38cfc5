"""How C-CDA becomes FHIR, as `catalog/formats/ccda` declares it; docs/ccda.md tells it by example.

Source: C-CDA on FHIR implementation guide (C-CDA to FHIR mappings), http://hl7.org/fhir/us/ccda.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cohortlake.core.catalog.source import Declaration, load
from cohortlake.core.language import declared as language

FOLDER = language.FORMATS / "ccda"


class ElementMap(language.ResourceMap):
    """A resource made of an element of a document.

    Every statement with one of `templates`, and every element named `of`, makes one where the predicate `when` holds;
    a map with neither is made only where another refers to it. `needs` is what an element must have to be known by:
    without it there is no resource. `key` replaces the element's id as the resource's identity. `is_leftover` maps take
    what no other resource read.
    """

    templates: list[str] = []
    of: str | None = None
    needs: str | None = None
    key: str | None = None
    is_leftover: bool = False


class Shared(language.Shared):
    """`wrappers` are templates that only hold others, with the reason why nothing is made of them."""

    wrappers: dict[str, str]


class Oids(Declaration):
    """Code systems and namespaces of identifiers, from OID to FHIR URI."""

    oids: dict[str, str]


@dataclass(frozen=True)
class Ccda(language.Declared[ElementMap, Shared]):
    """The declarations by name."""

    oids: dict[str, str]


@cache
def load_ccda(folder: Path = FOLDER) -> Ccda:
    """Read the declarations. Raises CatalogError naming file, line and what is expected."""
    declared = language.read_declared(folder, ElementMap, Shared)
    return Ccda(**vars(declared), oids=load(folder / "oids.yaml", Oids).oids)
