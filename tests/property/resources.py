"""Resources of a vocabulary, as JSON: elements missing, repeated, nested; never an empty object or list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from cohortlake.core.fhir.definitions import Element, primitive_types
from tests.property.vocabulary import Vocabulary, label

# How many levels of elements within elements a resource has. Each level doubles what a `repeat` is compiled to.
DEPTH = 4
URLS = ("http://example.org/a", "http://example.org/b", "urn:oid:1.2.3")
# Few values of each type, so that comparisons meet equal ones.
TEXTS = ("a", "b", "A", "ab", "Zoë", "O'Brien", "a\\b", "Ünï\u2009code", "人", "\U0001f9ec", "a\nb", "01")
DATES = ("2020", "2020-01", "2020-02", "2020-01-31", "2020-02-01", "2020-02-29", "1999-12-31", "2021")
INSTANTS = (
    "2020-01-31T23:30:00-05:00",
    "2020-02-01T04:30:00Z",
    "2020-02-01T04:30:00.000Z",
    "2020-02-01T04:30:00.500Z",
    "2020-01-01T00:00:00+14:00",
    "2019-12-31T10:00:00.001+00:00",
)
REFERENCES = (
    "Patient/1",
    "Patient/2",
    "Practitioner/a-1.b",
    "http://example.org/fhir/Patient/1",
    "https://example.org/fhir/Patient/2/_history/3",
    "Organization/1/_history/2",
    "#contained",
    "urn:uuid:6f0f2b9e-7c3a-4f62-9b0f-6f3f0a1c2d3e",
    "urn:oid:1.2.3.4",
    "Practitioner?identifier=http://example.org|7",
)
DECIMALS = tuple(map(Decimal, ("0.5", "1.5", "1.50", "-1.5", "2.25", "1.0", "3", "-0.125", "120.4", "98765.4321")))
VALUES: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "integer": (0, 1, 2, 3, -7, 2147483647, -2147483648),
    "positiveInt": (1, 2, 3, 2147483647),
    "unsignedInt": (0, 1, 2, 3),
    "decimal": DECIMALS,
    "date": DATES,
    "dateTime": (*DATES, *INSTANTS),
    "instant": INSTANTS,
    "time": ("00:00:00", "10:30:00", "10:30:00.000", "10:30:00.250", "23:59:59.999"),
    "uri": URLS,
    "url": URLS,
    "canonical": URLS,
    "oid": ("urn:oid:1.2.3", "urn:oid:1.2.4"),
    "uuid": ("urn:uuid:6f0f2b9e-7c3a-4f62-9b0f-6f3f0a1c2d3e",),
    "id": ("1", "2", "a-1.b"),
    "code": ("a", "b", "final"),
    "base64Binary": ("YQ==", "Yg=="),
}


def primitives(element: Element, type_name: str | None = None) -> SearchStrategy[Any]:
    """Values of an element of a primitive type; `type_name` is the type that has it."""
    if type_name == "Reference" and element.name == "reference":
        return st.sampled_from(REFERENCES)
    if type_name == "Extension" and element.name == "url":
        return st.sampled_from(URLS)
    if element.name == "id":
        return st.sampled_from(VALUES["id"])
    if element.codes:
        return st.sampled_from(element.codes[:3])
    return st.sampled_from(VALUES.get(element.type, TEXTS))


@st.composite
def resources(draw: DrawFn, vocabulary: Vocabulary) -> dict[str, Any]:
    """One resource. It may lack an id, as a resource that was not stored yet does."""
    found = _instance(draw, vocabulary, vocabulary.resource, 0)
    return {"resourceType": vocabulary.resource, **found}


def _instance(draw: DrawFn, vocabulary: Vocabulary, type_name: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    chosen: set[str] = set()
    for element in vocabulary.of(type_name):
        # A choice has one value at most, though it may be of several types.
        if label(element) in chosen or draw(st.integers(0, 3)) in _absences(element, depth):
            continue
        count = draw(st.integers(1, 3 if depth < 2 else 2)) if element.is_list else 1
        items = [
            item for item in (_item(draw, vocabulary, element, type_name, depth) for _ in range(count)) if item != {}
        ]
        if items:
            found[element.name] = items if element.is_list else items[0]
            chosen.add(label(element))
            if element.type in primitive_types() and not element.is_list and draw(st.integers(0, 9)) == 0:
                found[f"_{element.name}"] = {
                    "extension": [_instance(draw, vocabulary, "Extension", 3) | {"url": URLS[0]}]
                }
    return found


def _absences(element: Element, depth: int) -> range:
    """Of four, the draws that leave an element out. Extensions nest, and would outgrow the rest."""
    return range(3) if depth and element.type == "Extension" else range(1)


def _item(draw: DrawFn, vocabulary: Vocabulary, element: Element, type_name: str, depth: int) -> Any:
    if element.type in primitive_types():
        return draw(primitives(element, type_name))
    return _instance(draw, vocabulary, element.type, depth + 1) if depth < DEPTH else {}
