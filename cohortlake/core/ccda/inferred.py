"""Codings that a map infers from another fact (an encounter's class from its type): marked as such, and giving way.

The mark is the extension that concept maps use too (docs/terminology.md): the map's name as a URN, with its version.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from cohortlake.core.terminology.translate import EXTENSION

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


class Weight(IntEnum):
    """How much a value of an element says; of two tellings of one fact the heavier stands."""

    ABSENT = 0
    INFERRED = 1
    SAID = 2


def weight(value: Any) -> Weight:
    """Whether a value is there, was inferred, or only says why it is absent."""
    urls = [each.get("url") for each in value.get("extension", ())] if isinstance(value, dict) else []
    if urls == [ABSENT] and len(value) == 1:
        return Weight.ABSENT
    return Weight.INFERRED if EXTENSION in urls else Weight.SAID
