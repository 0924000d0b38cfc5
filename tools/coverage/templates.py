"""The templates of a format, as the leaves of FHIR resources: an element, and the source field that fills it.

Mechanically from the declarations in `catalog/`, as the converters load them, so that the page says what they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path as Folder
from typing import Any

from cohortlake.core.catalog import Catalog
from cohortlake.core.catalog.hl7v2 import load_hl7v2
from cohortlake.core.ccda.declared import load_ccda
from cohortlake.core.claims.declared import load_claims
from cohortlake.core.x12.declared import load_x12
from tools.coverage.columns import Kept, Path

# Directives whose value is a template of the element itself.
INNER = ("$value", "$first", "$join")


@dataclass(frozen=True)
class Leaf:
    """An element that a template fills: from `source`, or with a constant, always or under a condition (`when`).

    `map` names the template where a format has several that make the resource.
    """

    path: Path
    source: str
    is_constant: bool
    when: str = ""
    map: str = ""

    @property
    def shown(self) -> str:
        """As the page tells it."""
        told = f"{self.source} if {self.when}" if self.when else self.source
        return f"{self.map}: {told}" if self.map else told

    def fills(self, column: Path) -> bool:
        """Whether the leaf gives what a column asks for, or a value that holds it."""
        pairs = zip(self.path, column, strict=False)
        if not all(_is_same(own, asked) for own, asked in pairs):
            return False
        return len(self.path) <= len(column) if self.is_constant is False else len(self.path) >= len(column)


def _is_same(own: str, asked: str) -> bool:
    # `value[x]` is a choice whose type the value decides.
    if own.endswith("[x]"):
        return asked.startswith(own[:-3]) and asked[len(own) - 3 : len(own) - 2].isupper()
    return own == asked


@dataclass(frozen=True)
class Template:
    """A map of a format: the resource type that it makes, and its leaves."""

    name: str
    resource: str
    leaves: tuple[Leaf, ...]

    def can_be(self, kept: Kept) -> bool:
        """Whether a resource that the map makes may be one that a view keeps."""
        found = [leaf for leaf in self.leaves if leaf.fills(kept.path)]
        return any(not leaf.is_constant or leaf.source in kept.codes for leaf in found)


def templates(catalog: Catalog, name: str, formats: Folder) -> list[Template]:
    """The maps of a format, or of a tabular silo, by its name in the page (`hl7v2`, `csv: site_b_csv`)."""
    folder = formats / name
    if name == "ccda":
        ccda = load_ccda(folder)
        shared = ccda.shared.expressions
        maps = [
            (each.name, each.resource, _with_shared(each.elements, each.include, ccda.shared.elements))
            for each in ccda.elements.values()
        ]
    elif name == "hl7v2":
        shared = {}
        maps = [(each.name, each.resource, each.elements) for each in load_hl7v2(folder).segments.values()]
    elif name == "x12":
        shared = {}
        maps = [(each.name, each.resource, each.elements) for each in load_x12(folder).maps.values()]
    elif name.startswith("csv: "):
        shared = {}
        mappings = catalog.mappings[name.removeprefix("csv: ")]
        maps = [(each.name, each.resource, each.elements) for each in mappings.values()]
    else:
        shared = {}
        maps = [(each.name, each.resource, each.elements) for each in load_claims(name, folder).resources.values()]
    return [Template(own, resource, tuple(_leaves(elements, (), _Around(shared)))) for own, resource, elements in maps]


def _with_shared(own: dict[str, Any], groups: list[str], shared: dict[str, dict[str, Any]]) -> dict[str, Any]:
    included = {name: template for group in groups for name, template in shared[group].items()}
    return {name: template for name, template in (included | own).items() if template is not None}


@dataclass(frozen=True)
class _Around:
    """What stands around a template: expressions that are called by name, what an object is repeated for, for which
    `.` stands, and the condition that it is under."""

    shared: dict[str, str]
    each: str = ""
    when: str = ""


def _leaves(template: Any, path: Path, around: _Around) -> Iterator[Leaf]:
    """The leaves of a template."""
    if isinstance(template, list):
        for item in template:
            yield from _leaves(item, path, around)
    elif isinstance(template, dict):
        inside = replace(
            around,
            each=str(template.get("$each", "")) or around.each,
            when=str(template.get("$when", template.get("$each", ""))) or around.when,
        )
        if path and path[-1] == "extension" and isinstance(template.get("url"), str):
            path = (*path[:-1], f"extension({template['url']})")
        for name, inner in template.items():
            if name == "$coding":
                yield Leaf(path, ", ".join(map(str, inner)), is_constant=False)
            elif name in INNER:
                yield from _leaves(inner, path, inside)
            elif not name.startswith(("$", "_")):
                yield from _leaves(inner, (*path, name), inside)
    elif isinstance(template, str) and template.startswith("="):
        yield Leaf(path, _shown(template[1:], around), is_constant=False)
    elif template is not None:
        yield Leaf(path, str(template), is_constant=True, when=around.when)


def _shown(text: str, around: _Around) -> str:
    """An expression as the page shows it: what it is called for in full, on one line."""
    text = re.sub(r"\$(\w+)", lambda found: around.shared.get(found[1], found[0]), text)
    if around.each and text.lstrip().startswith("."):
        text = around.each + text.lstrip()[1:]
    return " ".join(text.split())
