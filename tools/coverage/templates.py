"""The templates of a format, as the leaves of FHIR resources: an element, and the source field that fills it.

Mechanically from the declarations in `catalog/`, as the converters load them, so that the page says what they do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as Folder
from typing import Any

from cohortlake.core.catalog import Catalog
from cohortlake.core.ccda.declared import load_ccda
from cohortlake.core.claims.declared import load_claims
from cohortlake.core.hl7v2.declared import load_hl7v2
from cohortlake.core.x12.declared import load_x12
from tools.coverage.columns import Kept, Path

LOADERS: dict[str, Callable[..., Any]] = {"ccda": load_ccda, "hl7v2": load_hl7v2, "x12": load_x12}
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
    if name.startswith("csv: "):
        shared, mappings = {}, catalog.mappings[name.removeprefix("csv: ")]
        maps = [(each.name, each.resource, each.elements) for each in mappings.values()]
    else:
        declared = LOADERS.get(name, partial(load_claims, name))(folder=formats / name)
        shared = declared.shared.expressions
        maps = [(each.name, each.resource, each.elements) for each in declared.resources.values()]
    return [Template(own, resource, tuple(_leaves(elements, (), _Around(shared)))) for own, resource, elements in maps]


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
