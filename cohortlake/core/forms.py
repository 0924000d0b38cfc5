"""What R4 says of a record's form, beyond its dates and codes: derived for what silver types, and told by name.

A fault of a part is no fault of the record: these checks warn, but where a choice at the root is made twice, so that
the record says two things.
"""

from __future__ import annotations

from collections.abc import Iterator

from cohortlake.core.catalog.resource import Node, leaves
from cohortlake.core.catalog.silo import Severity
from cohortlake.core.fhir.definitions import elements
from cohortlake.core.rules import (
    FHIR_FORMS,
    FHIR_LEAST,
    Check,
    HasRequired,
    NoEmptyList,
    OneType,
    Refers,
    ValuesWellFormed,
)

DATATYPES = "https://hl7.org/fhir/R4/datatypes.html"
LITERAL = "https://hl7.org/fhir/R4/references.html#literal"
CHOICE = "https://hl7.org/fhir/R4/formats.html#choice"
JSON = "https://hl7.org/fhir/R4/json.html"


def _nodes(node: Node, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node, tuple[str, ...]]]:
    """Every typed element with children: its path, its node, and the types that it may refer to."""
    known = elements(node.type)
    for child in node.children.values():
        if child.children:
            yield (*at, child.name), child, known[child.name].targets or ()
            if child.type != "Reference":
                yield from _nodes(child, (*at, child.name))


def choices(node: Node) -> dict[str, tuple[str, ...]]:
    """A node's choices of which some type is typed: name -> the elements that are typed."""
    found: dict[str, tuple[str, ...]] = {}
    for element in elements(node.type).values():
        if element.choice and element.name in node.children:
            found[element.choice] = (*found.get(element.choice, ()), element.name)
    return found


def _required(node: Node) -> tuple[str, ...]:
    """The elements that R4 requires in an element; a choice only where all its types are typed here."""
    found: dict[str, bool] = {}
    for element in elements(node.type).values():
        if element.minimum:
            name = f"{element.choice}[x]" if element.choice else element.name
            found[name] = found.get(name, True) and element.name in node.children
    return tuple(name for name, is_typed in found.items() if is_typed)


def form_checks(tree: Node) -> Iterator[Check]:
    """The checks of a resource type's form."""
    table, page = tree.name, f"https://hl7.org/fhir/R4/{tree.name.lower()}.html"
    # The record's own id has a check of its own.
    typed = {leaf.type for path, leaf in leaves(tree) if path != ("id",)}
    for kind in sorted(typed & (FHIR_FORMS.keys() | FHIR_LEAST.keys())):
        name, source = f"{table} {kind} values are well-formed", f"{DATATYPES}#{kind}"
        yield Check(table, name, "conformance", "warn", ValuesWellFormed(kind), kind, source)
    yield Check(table, f"{table} has no empty list", "conformance", "warn", NoEmptyList(), "lists", JSON)
    yield from _choice_checks(tree, (), table)
    for at, node, targets in _nodes(tree):
        path = ".".join(at)
        name = f"{table}.{path}"
        if node.type == "Reference":
            yield Check(table, f"{name} is a FHIR reference", "conformance", "warn", Refers(targets), path, LITERAL)
            continue
        if required := _required(node):
            said = f"{name} has its required elements"
            yield Check(table, said, "completeness", "warn", HasRequired(required), path, page)
        yield from _choice_checks(node, at, table)


def _choice_checks(node: Node, at: tuple[str, ...], table: str) -> Iterator[Check]:
    severity: Severity = "warn" if at else "quarantine"
    for choice, names in choices(node).items():
        if len(names) > 1:
            path = ".".join((*at, f"{choice}[x]"))
            yield Check(table, f"{table}.{path} has one type", "conformance", severity, OneType(), path, CHOICE)
