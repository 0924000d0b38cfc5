"""What an example's resources and views speak of: a resource type, and a few elements of each type below it.

R4 is too wide for a random path to meet a random element. So both sides draw from one small part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from cohortlake.core.fhir.definitions import Element, elements, primitive_types

RESOURCES = (
    "Patient",
    "Observation",
    "QuestionnaireResponse",
    "Encounter",
    "Claim",
    "Condition",
    "MedicationRequest",
    "Questionnaire",
)
# Without these, most instances of the type would say nothing that a view asks for.
ESSENTIAL = {
    "Reference": ("reference",),
    "Extension": ("url", "value", "extension"),
    "Quantity": ("value",),
    "Period": ("start", "end"),
    "Questionnaire": ("item",),
    "Questionnaire.item": ("item",),
    "QuestionnaireResponse": ("item",),
    "QuestionnaireResponse.item": ("answer", "item"),
    "QuestionnaireResponse.item.answer": ("item", "value"),
}
# The types that specialise another, which FHIRPath's ofType() takes as well. Of a choice that has both, a view takes
# the values of the exact type only: docs/views.md says so, and no resource here has both.
BASES = {
    **dict.fromkeys(("code", "id", "markdown"), "string"),
    **dict.fromkeys(("canonical", "oid", "url", "uuid"), "uri"),
    **dict.fromkeys(("positiveInt", "unsignedInt"), "integer"),
    **dict.fromkeys(("Age", "Count", "Distance", "Duration"), "Quantity"),
}
# The typed rows keep contained resources and narratives as text, out of reach of paths.
UNTYPED = frozenset(("Resource", "Narrative", "xhtml"))
DEPTH = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Vocabulary:
    """The elements that occur, by type."""

    resource: str
    elements: Mapping[str, tuple[Element, ...]]

    def of(self, type_name: str) -> tuple[Element, ...]:
        return self.elements.get(type_name, ())


def label(element: Element) -> str:
    """What a path calls an element: a choice has one name for all of its types."""
    return element.choice or element.name


@st.composite
def vocabularies(draw: DrawFn) -> Vocabulary:
    resource = draw(st.sampled_from(RESOURCES))
    found: dict[str, tuple[Element, ...]] = {}
    waiting = [(resource, 0)]
    while waiting:
        type_name, depth = waiting.pop(0)
        if type_name in found:
            continue
        found[type_name] = tuple(_chosen(draw, type_name, depth))
        waiting += [(e.type, depth + 1) for e in found[type_name] if e.type not in primitive_types()]
    return Vocabulary(resource, found)


def _chosen(draw: DrawFn, type_name: str, depth: int) -> Iterable[Element]:
    groups: dict[str, list[Element]] = {}
    for element in elements(type_name).values():
        is_leaf = element.type in primitive_types()
        if element.type not in UNTYPED and (is_leaf or depth < DEPTH or label(element) in ESSENTIAL.get(type_name, ())):
            groups.setdefault(label(element), []).append(element)
    essential = [name for name in ESSENTIAL.get(type_name, ()) if name in groups]
    rich = [name for name, group in groups.items() if group[0].is_list or group[0].choice] if depth < DEPTH else []
    names = dict.fromkeys(["id"] * (depth == 0) + essential)
    names |= dict.fromkeys(_some(draw, rich, 1, 3) if depth == 0 else _some(draw, rich, 0, 1))
    names |= dict.fromkeys(_some(draw, list(groups), 2, 4 if depth == 0 else 3))
    for name in names:
        group = groups[name]
        yield from group if len(group) == 1 else _unlike(_some(draw, group, 1, 3))


def _unlike(choice: list[Element]) -> Iterable[Element]:
    """Types of a choice without those that specialise another of them."""
    types = {element.type for element in choice}
    return (element for element in choice if BASES.get(element.type) not in types)


def _some(draw: DrawFn, options: list[T], least: int, most: int) -> list[T]:
    if not options:
        return []
    least = min(least, len(options))
    return draw(st.lists(st.sampled_from(options), min_size=least, max_size=most, unique=True))
