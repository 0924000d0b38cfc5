"""The FHIR R4 type system: every resource type and data type, with its elements.

Source: HL7 FHIR R4 (4.0.1) StructureDefinitions, reduced by `tools/fhir_r4.py` to `r4.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple


class Element(NamedTuple):
    """One element of a type.

    `name` is the JSON name, choice types spelled out (`valueQuantity`). `type` is a FHIR type code (`string`,
    `Quantity`), or the path of an inline type (`Observation.component`). `minimum` is 0 or 1; where `choice` is set
    (`value`), it holds for the choice as a whole. `codes` are those of a required binding, `targets` the resource
    types that a Reference may point at.
    """

    name: str
    type: str
    is_list: bool
    minimum: int
    codes: tuple[str, ...] | None
    targets: tuple[str, ...] | None
    choice: str | None


@cache
def _model() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("r4.json").read_text(encoding="utf-8")
    model: dict[str, Any] = json.loads(text)
    return model


@cache
def elements(type_name: str) -> Mapping[str, Element]:
    """The elements of a resource type, a data type or an inline type, by JSON name.

    Raises KeyError for a name that R4 does not define.
    """
    rows = _model()["types"][type_name]
    built = (Element(n, t, m, lo, c and tuple(c), r and tuple(r), ch) for n, t, m, lo, c, r, ch in rows)
    return {element.name: element for element in built}


@cache
def resource_types() -> frozenset[str]:
    """The names of R4's concrete resource types."""
    return frozenset(_model()["resources"])


@cache
def primitive_types() -> frozenset[str]:
    """The names of R4's primitive types (`string`, `dateTime`, `decimal`, ...)."""
    return frozenset(_model()["primitives"])
