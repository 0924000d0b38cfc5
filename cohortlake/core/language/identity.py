"""What a resource is known by: parts of which its id is derived, the same everywhere and always."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import Any

from cohortlake.core.language.parts import Part


def namespace(urn: str) -> uuid.UUID:
    """The namespace of a format's ids. Changing it changes every id."""
    return uuid.uuid5(uuid.NAMESPACE_URL, urn)


def resource_id(ids: uuid.UUID, kind: str, parts: list[str]) -> str:
    """The id of the resource of a type with an identity."""
    return _id(ids, "\x1f".join([kind, *parts]))


@lru_cache(maxsize=65536)
def _id(ids: uuid.UUID, name: str) -> str:
    """(Patients, coverages and providers are referred to by many claims.)"""
    return str(uuid.uuid5(ids, name))


def identity(keys: list[list[Part | None]], scope: Any) -> list[str] | None:
    """The parts of the first key whose first part has a value; None where none has."""
    for key in keys:
        values = [part.make(scope)[0] if part is not None else [] for part in key[:1]]
        if values[0]:
            values += [part.make(scope)[0] if part is not None else [] for part in key[1:]]
            return [str(found[0]) if found else "" for found in values]
    return None
