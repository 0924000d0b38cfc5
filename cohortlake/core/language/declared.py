"""What every format declares for the mapping language, in a folder of its own under `catalog/formats`.

resources/Patient.yaml   a template: what makes a resource of a type
maps/gender.yaml         a concept map
shared.yaml              what the templates of the format share

What else a format declares (kinds of files, messages, transaction sets) is its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from cohortlake.core.catalog.mapping import CodeMap
from cohortlake.core.catalog.source import Declaration, Location, line_of, load, read_yaml
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.language.expand import expand

# Each format has its folder here.
FORMATS = Path(__file__).parent.parent.parent.parent / "catalog/formats"


class ResourceMap(Declaration):
    """A resource made by a template, where the condition `when` holds.

    `include` names groups of shared elements that the map's own add to (lists), replace or (null) leave out.
    """

    name: str
    resource: str
    when: str | None = None
    include: list[str] = []
    elements: dict[str, Any] = {}


class Shared(Declaration):
    """What the templates of a format share.

    `expressions` are named as `$name`, `elements` by `include`, `templates` by `$use`; `names` of URIs stand in braces,
    `series` are words in the names of columns.
    """

    expressions: dict[str, str] = {}
    elements: dict[str, dict[str, Any]] = {}
    templates: dict[str, Any] = {}
    names: dict[str, str] = {}
    series: dict[str, list[str]] = {}


AnyDeclaration = TypeVar("AnyDeclaration", bound=Declaration)
AnyMap = TypeVar("AnyMap", bound=ResourceMap)
AnyShared = TypeVar("AnyShared", bound=Shared)


@dataclass(frozen=True)
class Declared(Generic[AnyMap, AnyShared]):
    """A format's declarations by name."""

    folder: Path
    resources: dict[str, AnyMap]
    maps: dict[str, CodeMap]
    shared: AnyShared

    def fail(self, name: str, at: Location, reason: str, folder: str = "resources") -> CatalogError:
        """The error of a place in a map's file, or in that of `folder`, with its line."""
        return declaration_error(self.folder / folder / f"{name}.yaml", at, reason)

    def check_made(self, made: Iterable[str], path: Path) -> None:
        """Raise CatalogError where the file `path` names a map that there is not."""
        for name in made:
            if name not in self.resources:
                known = ", ".join(self.resources)
                raise declaration_error(path, (), f"there is no resources/{name}.yaml; there are {known}")


def declaration_error(path: Path, at: Location, reason: str) -> CatalogError:
    """The error of a place in a declaration of a format."""
    lines = read_yaml(path)[1] if path.exists() else {}
    hint = "Mend the declaration; docs/mappings.md teaches the language, and a page of each format what it adds."
    return CatalogError(f"{path}:{line_of(lines, at)}: {reason}", hint)


def read_all(folder: Path, model: type[AnyDeclaration]) -> dict[str, AnyDeclaration]:
    """The declarations in a folder by the names of their files. Raises CatalogError."""
    return {path.stem: load(path, model, name=path.stem) for path in sorted(folder.glob("*.yaml"))}


def read_declared(folder: Path, model: type[AnyMap], shared_model: type[AnyShared]) -> Declared[AnyMap, AnyShared]:
    """What a format's folder declares; templates are whole: with what they include, short forms written out.

    Raises CatalogError naming file, line and what is expected.
    """
    path = folder / "shared.yaml"
    shared = load(path, shared_model) if path.exists() else shared_model()
    given = read_all(folder / "resources", model)
    declared = Declared(folder, given, read_all(folder / "maps", CodeMap), shared)
    whole = {name: one.model_copy(update={"elements": _whole(one, declared)}) for name, one in given.items()}
    return Declared(folder, whole, declared.maps, shared)


def _whole(given: ResourceMap, declared: Declared[Any, Any]) -> dict[str, Any]:
    shared = declared.shared
    if given.resource not in resource_types():
        raise declared.fail(given.name, ("resource",), f"{given.resource!r} is not an R4 resource type")
    elements: dict[str, Any] = {}
    for group in given.include:
        if group not in shared.elements:
            known = ", ".join(shared.elements)
            raise declared.fail(given.name, ("include",), f"shared.yaml has no elements {group!r}; it has {known}")
        elements = _added(elements, shared.elements[group])
    try:
        whole: dict[str, Any] = expand(_added(elements, given.elements), shared)
    except ValueError as error:
        raise declared.fail(given.name, ("elements",), str(error)) from error
    return whole


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
