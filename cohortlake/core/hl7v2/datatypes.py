"""Compiled datatype maps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cohortlake.core.hl7v2.declared import DatatypeMap
from cohortlake.core.hl7v2.run import IDS, Scope
from cohortlake.core.language.identity import identity, resource_id
from cohortlake.core.language.parts import Part


@dataclass
class Datatype:
    """A compiled datatype map; `make` gives FHIR values, or references to the resource that it puts beside."""

    declared: DatatypeMap
    template: Part | None = None
    keys: list[list[Part | None]] = field(default_factory=list)
    display: Part | None = None

    def make(self, scope: Scope) -> list[Any]:
        """The value as FHIR."""
        if self.template is None:
            return []
        values, is_found = self.template.make(scope)
        if not is_found:
            return []
        if not self.declared.key:
            return values
        parts = identity(self.keys, scope)
        if parts is None:
            return []
        kind = self.declared.fhir
        name = resource_id(IDS, kind, parts)
        scope.run.put({"resourceType": kind, "id": name, "meta": scope.run.passing, **values[0]})
        display = self.display.make(scope)[0] if self.display else []
        return [{"reference": f"{kind}/{name}", **({"display": display[0]} if display else {})}]
