"""Rows of two engines compared: as a multiset, for the specification leaves their order open."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
# FHIRPath asks for eight places of a decimal; a quotient has more.
TOLERANCE = Decimal("1e-8")


def differences(expected: Iterable[Row], found: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """The rows that are missing and those that are too many. Rows that are the same have their columns in one order."""
    missing, surplus = list(expected), []
    for row in found:
        place = next((index for index, other in enumerate(missing) if _is_same_row(other, row)), None)
        if place is None:
            surplus.append(row)
        else:
            del missing[place]
    return missing, surplus


def _is_same_row(expected: Row, found: Row) -> bool:
    return list(expected) == list(found) and all(map(is_same, expected.values(), found.values()))


def is_same(expected: Any, found: Any) -> bool:
    """Whether a value of FHIR's JSON and one of a table are the same.

    A complex value is a struct of some of its elements, the others left out, or its JSON as text.
    """
    match expected, found:
        case Mapping(), str():
            return bool(json.loads(found, parse_float=Decimal) == expected)
        case (Mapping() | None, Mapping()):
            return all(is_same((expected or {}).get(name), value) for name, value in found.items())
        case list(), list():
            return len(expected) == len(found) and all(map(is_same, expected, found))
        case (bool(), _) | (_, bool()):
            return expected is found
        case (int() | Decimal(), int() | Decimal()):
            return abs(Decimal(expected) - Decimal(found)) < TOLERANCE
    return bool(expected == found)
