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


def complete(value: dict[str, Any], kind: str, path: str) -> Iterator[str]:
    """Mark in `value`, of the R4 type `kind`, what is required and absent; the paths that are marked."""
    known = elements(kind)
    for name, names in _required(kind):
        if any(n in value or f"_{n}" in value for n in names):
            continue
        yield f"{path}.{name}"
        chosen = min((known[n] for n in names), key=lambda e: MARKED.index(e.type) if e.type in MARKED else 9)
        if chosen.type in primitive_types():
            value[f"_{chosen.name}"] = [ABSENT] if chosen.is_list else ABSENT
        else:
            value[chosen.name] = [ABSENT] if chosen.is_list else ABSENT
    for name, inner in value.items():
        if name not in known or known[name].type in primitive_types() or not _asks(known[name].type):
            continue
        if inner in (ABSENT, [ABSENT]):
            continue
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, dict) and known[name].type != "Extension":
                yield from complete(item, known[name].type, f"{path}.{name}")
