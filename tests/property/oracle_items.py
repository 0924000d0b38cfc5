"""The items that FHIRPath's collections hold in the oracle, and fhirpathpy's model of R4 by which they are found.

An item is a ResourceNode (data of a resource or a typed literal; `path` is its FHIR type) or a plain value that an
operator or a function gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fhirpathpy.engine.evaluators import member_invocation
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.engine.util import get_data
from fhirpathpy.models import models

from tests.property.oracle_values import RefusedError, Typed

R4 = models["r4"]
Items = list[Any]
Context = dict[str, Any]


def typed(items: Items) -> list[Typed]:
    """Values with their FHIR types; what was computed has none."""
    return [Typed(get_data(item), getattr(item, "path", None)) for item in items]


def ancestry(fhir_type: str | None) -> Iterator[str]:
    """A type and those that it specialises."""
    while fhir_type is not None:
        yield fhir_type
        fhir_type = R4["type2Parent"].get(fhir_type)


@cache
def element_names() -> Mapping[str, set[str]]:
    """The names of each type's elements in the library's model, choices (`value`) as they are called in paths."""
    found: dict[str, set[str]] = {}
    spelled_out = {f"{choice}{fhir_type}" for choice, types in R4["choiceTypePaths"].items() for fhir_type in types}
    for path in {*R4["path2Type"], *R4["choiceTypePaths"], *R4["pathsDefinedElsewhere"]} - spelled_out:
        # An inline type stands in the model only as the first part of its elements' paths.
        while "." in path:
            path, _, name = path.rpartition(".")
            found.setdefault(path, set()).add(name)
    return found


def members(context: Context, parents: Items, name: str) -> Items:
    """An element of each parent. A name that the type does not have is refused: the library calls it empty, and takes
    `valueQuantity` for an element."""
    for parent in parents:
        if name not in element_names().get(getattr(parent, "path", None), ()):
            raise RefusedError(f"{getattr(parent, 'path', type(parent).__name__)} has no element {name}")
    return [item for parent in parents for item in _members(context, parent, name)]


def _members(context: Context, parent: ResourceNode, name: str) -> Items:
    """JSON keeps a primitive's extensions beside it (`_birthDate`): the library takes them for more items, where here
    they go with the item that they are of."""
    plain = {key: value for key, value in parent.data.items() if not key.startswith("_")}
    step = {"type": "MemberInvocation", "children": [{"type": "Identifier", "text": name}]}
    found: Items = member_invocation(context, [ResourceNode(plain, parent.path)], step)
    names = [name, *(f"{name}{fhir_type}" for fhir_type in R4["choiceTypePaths"].get(f"{parent.path}.{name}", ()))]
    beside = next((parent.data[f"_{each}"] for each in names if f"_{each}" in parent.data), [])
    for item, extended in zip(found, beside if isinstance(beside, list) else [beside], strict=False):
        item._data = extended
    return found
