"""Which elements of a resource type silver types as columns, and the tree of types that follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cohortlake.core.catalog.source import Declaration
from cohortlake.core.fhir.definitions import elements, primitive_types


class ResourceColumns(Declaration):
    """`elements` are FHIR paths below the resource type. A data type brings its usual children with it; an inline type
    (`component`) brings those that are named."""

    name: str
    elements: list[str]


CONCEPT, REFERENCE, IDENTIFIER = ("coding", "text"), ("reference", "type", "identifier", "display"), ("system", "value")

# A data type's usual children. Left out: `id` and `extension`, which would multiply the width of every table and which
# a declaration names where they carry meaning; what is left out stays in bronze and is counted.
USUAL: dict[str, tuple[str, ...]] = {
    "Address": ("use", "type", "text", "line", "city", "district", "state", "postalCode", "country", "period"),
    "Age": ("value", "unit", "system", "code"),
    "Annotation": ("authorString", "time", "text"),
    "Attachment": ("contentType", "data", "url", "title", "creation"),
    "CodeableConcept": CONCEPT,
    "Coding": ("system", "version", "code", "display"),
    "ContactPoint": ("system", "value", "use", "rank"),
    "Dosage": ("sequence", "text", "asNeededBoolean", "route"),
    "Duration": ("value", "unit", "system", "code"),
    "Extension": ("url", "valueString", "valueCode", "valueCoding", "valueBoolean", "valueInteger", "valueDecimal"),
    "HumanName": ("use", "text", "family", "given", "prefix", "suffix", "period"),
    "Identifier": ("use", "type", "system", "value"),
    "Meta": ("versionId", "lastUpdated", "source", "profile", "tag"),
    "Money": ("value", "currency"),
    "Narrative": ("status", "div"),
    "Period": ("start", "end"),
    "Quantity": ("value", "comparator", "unit", "system", "code"),
    "Range": ("low", "high"),
    "Ratio": ("numerator", "denominator"),
    "Reference": REFERENCE,
    "Timing": ("code",),
}


@dataclass
class Node:
    """An element in the tree: `type` is its FHIR type; a primitive has no children."""

    name: str
    type: str
    is_list: bool
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def is_primitive(self) -> bool:
        return self.type in primitive_types()


def _add(parent: Node, path: tuple[str, ...]) -> None:
    name, rest = path[0], path[1:]
    known = elements(parent.type)
    if name not in known:
        near = ", ".join(sorted(known))
        raise ValueError(f"{parent.type} has no element {name!r}; it has {near}")
    element = known[name]
    node = parent.children.get(name)
    if node is None:
        node = Node(name, element.type, element.is_list)
        parent.children[name] = node
        if not node.is_primitive:
            for usual in USUAL.get(node.type, ()):
                within = IDENTIFIER if (node.type, usual) == ("Reference", "identifier") else None
                if within:
                    inner = elements("Reference")["identifier"]
                    node.children[usual] = Node(usual, inner.type, inner.is_list)
                    for leaf in within:
                        node.children[usual].children[leaf] = Node(leaf, elements("Identifier")[leaf].type, False)
                else:
                    _add(node, (usual,))
    if rest:
        _add(node, rest)


def resource_tree(resource_type: str, paths: Iterable[str]) -> Node:
    """The typed tree of a resource: `id`, `meta` and the declared paths, children in R4's own order.

    Raises ValueError for a path that R4 does not define, or that names an element whose own elements must be named.
    """
    root = Node(resource_type, resource_type, False)
    for path in ("id", "meta", *paths):
        _add(root, tuple(path.split(".")))
    _filled(root)
    return _ordered(root)


def _filled(node: Node, at: tuple[str, ...] = ()) -> None:
    for child in node.children.values():
        path = (*at, child.name)
        if not child.children and child.type not in primitive_types():
            own = ", ".join(name for name in elements(child.type) if name not in ("id", *UNTYPED))
            raise ValueError(f"{'.'.join(path)} has elements of its own: name those that are wanted of {own}")
        _filled(child, path)


# What a whole tree leaves out, for width: what may hang on any element, and what is a resource or a page of its own.
UNTYPED = frozenset({"extension", "modifierExtension", "contained"})
# The language that the record is written in, not one that a person speaks.
UNTYPED_AT_ROOT = frozenset({"implicitRules", "language"})
UNTYPED_TYPES = frozenset({"Extension", "Resource", "Narrative", "ElementDefinition"})
# Of a choice of any type, those that carry clinical values.
OPEN_CHOICE = 20
CLINICAL = frozenset(
    {"Attachment", "CodeableConcept", "Coding", "Identifier", "Period", "Quantity", "Range", "Ratio", "Reference"}
)
# How often an element may stand within itself (`Questionnaire.item.item`).
RECURSION = 2


def whole_tree(resource_type: str) -> Node:
    """The typed tree of a resource type that no declaration narrows: every element of R4 but extensions.

    An element of a data type brings the usual children; one within itself is typed twice, and what is deeper, as all
    that is not typed, stays beside the row as JSON.
    """
    root = Node(resource_type, resource_type, False)
    _fill(root, ())
    return root


def _fill(node: Node, above: tuple[str, ...]) -> None:
    known = elements(node.type)
    choices = Counter(element.choice for element in known.values() if element.choice)
    for element in known.values():
        is_open = element.choice is not None and choices[element.choice] >= OPEN_CHOICE
        if element.name in UNTYPED or element.type in UNTYPED_TYPES or (element.name in UNTYPED_AT_ROOT and not above):
            continue
        if element.type in primitive_types() or element.type in USUAL:
            if not is_open or element.type in primitive_types() or element.type in CLINICAL:
                _add(node, (element.name,))
        elif not is_open and above.count(element.type) < RECURSION:
            child = Node(element.name, element.type, element.is_list)
            _fill(child, (*above, element.type))
            if child.children:
                node.children[element.name] = child


def _ordered(node: Node) -> Node:
    if node.children:
        order = list(elements(node.type))
        node.children = {name: _ordered(node.children[name]) for name in sorted(node.children, key=order.index)}
    return node


def leaves(node: Node, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every primitive in the tree with its path."""
    for child in node.children.values():
        if child.children:
            yield from leaves(child, (*at, child.name))
        else:
            yield (*at, child.name), child
