"""Compiled datatype maps, and the identity of what is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cohortlake.core.catalog.hl7v2 import DatatypeMap
from cohortlake.core.hl7v2.makers import Make
from cohortlake.core.hl7v2.run import Scope, resource_id


@dataclass
class Datatype:
    """A compiled datatype map; `make` gives FHIR values, or references to the resource that it puts beside."""

    declared: DatatypeMap
    template: Make | None = None
    keys: list[list[Make]] = field(default_factory=list)
    display: Make | None = None

    def make(self, scope: Scope) -> list[Any]:
        """The value as FHIR."""
        if self.template is None:
            return []
        values, is_found = self.template(scope)
        if not is_found:
            return []
        if not self.declared.key:
            return values
        parts = identity(self.keys, scope)
        if parts is None:
            return []
        kind = self.declared.fhir
        name = resource_id(kind, parts)
        scope.run.put({"resourceType": kind, "id": name, "meta": scope.run.passing, **values[0]})
        display = self.display(scope)[0] if self.display else []
        return [{"reference": f"{kind}/{name}", **({"display": display[0]} if display else {})}]


def identity(keys: list[list[Make]], scope: Scope) -> list[str] | None:
    """The parts of the first key whose first part has a value."""
    for key in keys:
        first = key[0](scope)[0]
        if first:
            rest = [part(scope)[0] for part in key[1:]]
            return [str(values[0]) if values else "" for values in (first, *rest)]
    return None
