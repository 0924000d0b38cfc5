"""How C-CDA is read by templates of the mapping language (docs/mappings.md): paths, CDA's datatypes, references.

    code/@code        a path from the element at hand; its elements become FHIR's datatypes (`datatypes`)
    'text'            a constant
    $name             an expression of shared.yaml
    =A => Map         a reference to the resource that the map makes there; `entry` for any
    value[x]          the type is chosen by what is found
    $each: PATH       each element that a path leads to
    $when: PREDICATE  without its brackets

A required element that says why it is absent (nullFlavor) holds that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cohortlake.core.ccda.datatypes import choices, value_of
from cohortlake.core.ccda.declared import Ccda
from cohortlake.core.ccda.paths import Path, Reading, compile_path, compile_test
from cohortlake.core.ccda.run import Made, Run, Value
from cohortlake.core.language.parts import ALWAYS, Bits, Each, Test
from cohortlake.core.language.source import Leaf, Source, Turn
from cohortlake.core.readers.ccda import Node

Maker = Callable[[str, Node], Made | None]


@dataclass(frozen=True)
class Scope:
    """Where a template is filled: a place in the document. `make` makes what references point at."""

    run: Run
    node: Node
    reading: Reading
    make: Maker
    held: int

    def at(self, node: Node) -> Scope:
        """The same at another place."""
        return replace(self, node=node, held=self.run.held(node))


class DocumentSource(Source):
    """Reads for the templates of one map."""

    name = "ccda"
    tells_absence = True

    def __init__(self, declared: Ccda, bits: Bits) -> None:
        self.declared, self.bits = declared, bits
        self.directives = {}
        self.expressions = declared.shared.expressions
        self.reasons = declared.maps["null_flavor"].codes

    def leaf(self, text: str, *, for_target: bool = False) -> Leaf:
        """What a path leads to, or a constant. Raises ValueError."""
        if len(text) > 1 and text[0] == text[-1] == "'":
            constant = [(text[1:-1], "")]
            return Leaf(lambda scope: constant)
        path = compile_path(text)
        return Leaf(
            lambda scope: [(found, "") for found in path.select(scope.node, scope.reading, is_made=for_target)],
            self._needs(path),
        )

    def _needs(self, path: Path) -> int:
        is_anywhere = path.first in (".", "..", "*", "text()") or path.first.startswith("ancestor::")
        return ALWAYS if is_anywhere else self.bits[path.first]

    def test(self, text: str) -> Test:
        """A predicate. Raises ValueError."""
        test = compile_test(text)
        return lambda scope: test(scope.node, scope.reading)

    def each(self, text: str) -> Each:
        """The elements that a path leads to. Raises ValueError."""
        path = compile_path(text)

        def scopes(scope: Scope) -> list[Scope]:
            places = path.select(scope.node, scope.reading)
            return [scope.at(place) for place in places if isinstance(place, Node)]

        return Each(scopes, self._needs(path))

    def refer(self, name: str) -> Turn:
        """References to what a map makes of an element, which stand empty until all is made."""
        if name != "entry" and name not in self.declared.resources:
            raise ValueError(f"there is no map {name!r} to refer to")

        def turn(value: Value, place: str, scope: Scope) -> list[Any]:
            made = scope.make(name, value) if isinstance(value, Node) else None
            if made is None:
                return []
            reference: dict[str, Any] = {}
            made.references.append(reference)
            return [reference]

        return turn

    def turn(self, name: str, argument: str, kind: str) -> Turn | None:
        """By CDA's datatypes."""
        if name:
            return None

        def turn(value: Value, place: str, scope: Scope) -> list[Any]:
            made = value_of(value, kind, scope.run)
            return [made] if made is not None else []

        return turn

    def types_of(self, value: Value) -> Sequence[str]:
        """The types of a choice that a value may become, the best first."""
        return choices(value) if isinstance(value, Node) else ("String",)

    def absence(self, value: Value) -> str | None:
        """Why a value is absent, as data-absent-reason has it."""
        flavor = value.attributes.get("nullFlavor") if isinstance(value, Node) else None
        return self.reasons[flavor].code if flavor in self.reasons else None

    def codes_of(self, value: Value) -> Sequence[str]:
        """The code of an element and those of its translations, else its value."""
        if isinstance(value, str):
            return [value]
        given = [child.attributes.get("code", "") for child in (value, *value.elements("translation"))]
        return [code for code in given if code] or [text for text in [value.attributes.get("value", "")] if text]

    def convert(self, text: str, kind: str, scope: Scope) -> Any:
        """A value of a text; None for what is not of the type."""
        return value_of(text, kind, scope.run)
