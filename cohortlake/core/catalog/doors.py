"""One hospital's facts that come by two doors: which resources of two silos are one fact, and which of them stands."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration
from cohortlake.core.fhir.definitions import resource_types

Paths = Annotated[list[str], Field(min_length=1)]


class SameFact(Declaration):
    """What tells that two resources of a type are one fact.

    `key` and `compare` are FHIRPaths of one value each. Resources whose `key` agrees are one fact; where `compare`
    differs, the two doors conflict. A reference in `key` is that of the resource which it is matched with.
    """

    key: Paths
    compare: list[str] = []


class SameFacts(Declaration):
    """The other silo that tells the same facts; `prefers` names the one whose resource stands in gold."""

    other: Annotated[str, Field(description="the other silo")]
    prefers: str
    types: Annotated[dict[str, SameFact], Field(min_length=1)]

    @model_validator(mode="after")
    def _types_are_known(self) -> SameFacts:
        for name in self.types:
            if name not in resource_types():
                raise ValueError(f"types.{name} is no R4 resource type")
        return self

    def views(self) -> dict[str, dict[str, Any]]:
        """For each type the ViewDefinition that gives `resource_key`, `key0`, ... and `compare0`, ..."""
        found = {}
        for name, fact in self.types.items():
            columns = [{"name": "resource_key", "path": "getResourceKey()"}]
            for kind, paths in (("key", fact.key), ("compare", fact.compare)):
                columns += [{"name": f"{kind}{number}", "path": path} for number, path in enumerate(paths)]
            about = {"resourceType": "ViewDefinition", "resource": name, "status": "active"}
            found[name] = {**about, "select": [{"column": columns}]}
        return found
