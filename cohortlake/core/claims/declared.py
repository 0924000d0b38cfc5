"""How delimited claims become FHIR, as `catalog/formats/<format>` declares it; docs/claims.md tells it by example.

Sources: CARIN Consumer Directed Payer Data Exchange (Blue Button) implementation guide, http://hl7.org/fhir/us/carin-bb;
CMS Chronic Conditions Warehouse record layouts and the variables of https://bluebutton.cms.gov/resources/variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cohortlake.core.catalog.mapping import CodeMap
from cohortlake.core.catalog.source import Declaration, Location, line_of, load, read_yaml
from cohortlake.core.claims.expand import expand, names_of
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import resource_types

FOLDER = Path(__file__).parent.parent.parent.parent / "catalog/formats"


class Kind(Declaration):
    """A kind of file, known by its header.

    A file is of the kind of whose `known_by` columns it has most, and at least their `share`. Lines that agree
    in the columns of `key` are one record (without a key each line is one): the first is the id, the others tell its
    versions apart. The id and the `required` columns must be there, and must have a value in each record. `line`
    numbers the lines of a record. `aliases` are other names of columns, `left_out` those that are not carried (a `*`
    stands for anything), and why. `makes` names the maps of what a record is.
    """

    name: str
    known_by: Annotated[list[str], Field(min_length=1)]
    share: float = 0.5
    key: list[str] = []
    required: list[str]
    line: str | None = None
    aliases: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    makes: list[str]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be there, with a value in each record."""
        return (*self.key[:1], *self.required)


class ResourceMap(Declaration):
    """A resource made of a record, or of a value in it where another map refers to it (`=> Map`).

    `key` is its identity, from which its id is derived: without a value in its first expression there is no resource.
    `when` is a condition, `needs` the element without which there is none either. A `stub` is told in passing.
    `include` names groups of shared elements that the map's own add to, replace or (null) leave out.
    """

    name: str
    resource: str
    key: list[Any]
    when: str | None = None
    needs: str | None = None
    stub: bool = False
    include: list[str] = []
    elements: dict[str, Any] = {}


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


class Codes(Declaration):
    """Codes of a system: those that match `pattern`, where the argument of `@` is one of `when`.

    Leading zeros fill a code up to `width`; `dot` is how many characters stand before the full stop that files leave
    out (`dot_after` says so for some first letters). A `local` system is the sender's own.
    """

    uri: str
    pattern: str = ".+"
    when: list[str] = []
    width: int = 0
    dot: int = 0
    dot_after: dict[str, int] = {}

    def matches(self, code: str) -> bool:
        """Whether a code is written as those of the system are."""
        return _pattern(self.pattern).fullmatch(code) is not None


class Shared(Declaration):
    """What maps share: `names` of URIs, `series` of words in columns' names, `templates` (`$use`), `elements`.

    `systems` are the code systems that `@` names, of which the first whose pattern matches is meant. `missing` are
    texts that mean no value, by column; `updated` is the expression of `meta.lastUpdated`.
    """

    names: dict[str, str] = {}
    series: dict[str, list[str]] = {}
    templates: dict[str, Any] = {}
    elements: dict[str, dict[str, Any]] = {}
    systems: dict[str, list[Codes]] = {}
    missing: dict[str, list[str]] = {}
    updated: str | None = None


@dataclass(frozen=True)
class Declared:
    """A format's declarations by name; `lines` are those of each map's file, for errors."""

    name: str
    folder: Path
    kinds: dict[str, Kind]
    resources: dict[str, ResourceMap]
    maps: dict[str, CodeMap]
    shared: Shared
    lines: dict[str, tuple[Path, dict[Location, int]]] = field(default_factory=dict)

    def fail(self, name: str, at: Location, reason: str) -> CatalogError:
        """The error of a place in a map's file, with its line."""
        path, lines = self.lines.get(name, (self.folder / f"{name}.yaml", {}))
        hint = "Mend the declaration; docs/claims.md tells the format."
        return CatalogError(f"{path}:{line_of(lines, at)}: {reason}", hint)


@cache
def load_claims(name: str, folder: Path | None = None) -> Declared:
    """Read the declarations of a format. Raises CatalogError naming file, line and what is expected."""
    folder = folder or FOLDER / name
    shared = load(folder / "shared.yaml", Shared)
    kinds = {path.stem: load(path, Kind, name=path.stem) for path in sorted(folder.glob("kinds/*.yaml"))}
    maps = {path.stem: load(path, CodeMap, name=path.stem) for path in sorted(folder.glob("maps/*.yaml"))}
    paths = sorted(folder.glob("resources/*.yaml"))
    lines = {path.stem: (path, read_yaml(path)[1]) for path in paths}
    declared = Declared(name, folder, _spread(kinds, shared), {}, maps, shared, lines)
    for path in paths:
        declared.resources[path.stem] = _whole(load(path, ResourceMap, name=path.stem), declared)
    for kind in kinds.values():
        for made in kind.makes:
            if made not in declared.resources:
                known = ", ".join(declared.resources)
                raise CatalogError(f"{folder}/kinds/{kind.name}.yaml:1: there is no map {made!r}; there are {known}")
    return declared


def _spread(kinds: dict[str, Kind], shared: Shared) -> dict[str, Kind]:
    """Kinds whose aliases of columns in series are told one by one."""
    spread = {}
    for name, kind in kinds.items():
        aliases: dict[str, list[str]] = {}
        for column, others in kind.aliases.items():
            columns = names_of(column, shared.series)
            for other in others:
                for one, another in zip(columns, names_of(other, shared.series), strict=True):
                    aliases.setdefault(one, []).append(another)
        spread[name] = kind.model_copy(update={"aliases": aliases})
    return spread


def _whole(given: ResourceMap, declared: Declared) -> ResourceMap:
    """A map with what it includes, its templates filled in."""
    shared = declared.shared
    if given.resource not in resource_types():
        raise declared.fail(given.name, ("resource",), f"{given.resource!r} is not an R4 resource type")
    elements: dict[str, Any] = {}
    for group in given.include:
        if group not in shared.elements:
            known = ", ".join(shared.elements)
            raise declared.fail(given.name, ("include",), f"shared.yaml has no elements {group!r}; it has {known}")
        elements = _added(elements, shared.elements[group])
    elements = _added(elements, given.elements)
    try:
        filled = expand(elements, shared.names, shared.series, shared.templates)
    except ValueError as error:
        raise declared.fail(given.name, ("elements",), str(error)) from error
    return given.model_copy(update={"elements": filled})


def _added(known: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Elements with others: lists are joined, else the others replace; null leaves out."""
    result = dict(known)
    for name, template in more.items():
        if template is None:
            result.pop(name, None)
        elif isinstance(template, list) and isinstance(result.get(name), list):
            result[name] = [*result[name], *template]
        else:
            result[name] = template
    return result
