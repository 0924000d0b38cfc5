"""What R4 requires of a resource and v2 did not say: marked as absent, or, where R4 has no mark, told.

FHIR R4 section 2.4.0.4 and the data-absent-reason extension: an element that must be there may hold an extension only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from cohortlake.core.fhir.definitions import elements, primitive_types

ABSENT = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
# Of a choice that is required, the type whose absence is marked.
MARKED = ("CodeableConcept", "Reference", "string", "dateTime")


@cache
def _required(kind: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What must be there: a name with the elements of which one will do."""
    found: dict[str, list[str]] = {}
    for element in elements(kind).values():
        if element.minimum:
            found.setdefault(element.choice or element.name, []).append(element.name)
    return tuple((name, tuple(names)) for name, names in found.items())


@cache
def _asks(kind: str) -> bool:
    """Whether R4 requires anything of a type, or of what may stand within it."""
    seen, waiting = {kind}, [kind]
    while waiting:
        one = waiting.pop()
        if _required(one):
            return True
        inner = (
            {element.type for element in elements(one).values()} - primitive_types() - seen - {"Extension", "Resource"}
        )
        seen |= inner
        waiting += inner
    return False


@cache
def _asking(kind: str) -> dict[str, str]:
    """The elements of a type in which something may be required, with their types."""
    known = {name: element.type for name, element in elements(kind).items()}
    return {
        name: inner for name, inner in known.items()
        if inner not in primitive_types() and inner != "Extension" and _asks(inner)
    }  # fmt: skip


def complete(value: dict[str, Any], kind: str, path: str) -> Iterator[str]:
    """Mark in `value`, of the R4 type `kind`, what is required and absent; the paths that are marked."""
    for name, names in _required(kind):
        if any(n in value or f"_{n}" in value for n in names):
            continue
        yield f"{path}.{name}"
        known = elements(kind)
        chosen = min((known[n] for n in names), key=lambda e: MARKED.index(e.type) if e.type in MARKED else 9)
        if chosen.type in primitive_types():
            value[f"_{chosen.name}"] = [ABSENT] if chosen.is_list else ABSENT
        else:
            value[chosen.name] = [ABSENT] if chosen.is_list else ABSENT
    asking = _asking(kind)
    for name, inner in value.items():
        inner_kind = asking.get(name)
        if inner_kind is None or inner in (ABSENT, [ABSENT]):
            continue
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, dict):
                yield from complete(item, inner_kind, f"{path}.{name}")
