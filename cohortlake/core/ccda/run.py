"""What one document's conversion gathers, and what is made of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cohortlake.core.ccda.narrative import by_id
from cohortlake.core.convert import Options, Problem
from cohortlake.core.hl7v2.primitives import Clock
from cohortlake.core.language import run as language
from cohortlake.core.language.identity import namespace
from cohortlake.core.language.parts import ALWAYS, CONSTANT, Bits
from cohortlake.core.readers.ccda import Node

if TYPE_CHECKING:
    from cohortlake.core.ccda.declared import Ccda

URN = "urn:cohortlake:ccda"
IDS = namespace(URN)
Value = Node | str


@dataclass(eq=False)
class Made:
    """A resource to be: what it is made of and what it is known by. References to it stand empty until all are made."""

    name: str
    kind: str
    node: Node
    key: str
    resource: dict[str, Any] | None = None
    references: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Run(language.Run):
    """The state of one conversion."""

    declared: Ccda
    root: Node
    options: Options
    bits: Bits = field(default_factory=Bits)
    made: dict[tuple[str, Node], Made] = field(default_factory=dict)
    taken: set[Node] = field(default_factory=set)

    @cached_property
    def narrative(self) -> dict[str, Node]:
        return by_id(self.root)

    @cached_property
    def clock(self) -> Clock:
        """The zone of times that carry none: that of the document's own time, else the silo's."""
        at = self.root.first("effectiveTime")
        return Clock(at.attributes.get("value", "") if at is not None else "", self.options.zone)

    @cached_property
    def patient_key(self) -> str:
        """What facts that have no id of their own are told apart by."""
        role = next((r for target in self.root.elements("recordTarget") for r in target.elements("patientRole")), None)
        return (business_id(role) or content(role)) if role is not None else ""

    def warn(self, reason: str, place: Node | str) -> None:
        """A problem that keeps nothing from landing; one of a kind is told once, with its first place."""
        told = place if isinstance(place, str) else f"<{place.name}> line {place.line}"
        self.problems.setdefault((reason, ""), Problem(reason, told, "warning"))

    def held(self, node: Node) -> int:
        """The bits of what an element has: its children and attributes by name, and those that are always set."""
        found = ALWAYS | CONSTANT
        for name in node.named:
            found |= self.bits.get(name, 0)
        for name in node.attributes:
            found |= self.bits.get(f"@{name}", 0)
        return found


def business_id(node: Node) -> str:
    """The first id of an element that says something, as `root^extension`; empty where it has none."""
    for given in node.elements("id"):
        root, extension = given.attributes.get("root", "").strip(), given.attributes.get("extension", "").strip()
        if extension or (root and "nullFlavor" not in given.attributes):
            return f"{root.lower()}^{extension}"
    return ""


def content(node: Node) -> str:
    """A hash of what an element says, whatever its blanks, its comments, and the ids of its narrative."""
    digest = hashlib.sha256()
    _digest(node, digest.update)
    return digest.hexdigest()


def _digest(node: Node, update: Any) -> None:
    shown = sorted(item for item in node.attributes.items() if not item[1].startswith("#"))
    update(f"<{node.name} {shown}".encode())
    for child in node.children:
        if isinstance(child, Node):
            _digest(child, update)
        elif child.strip():
            update(" ".join(child.split()).encode())
    update(b">")
