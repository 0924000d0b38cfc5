"""Templates of FHIR elements, compiled to functions and checked against R4 as they are.

A leaf is a constant or an expression (`=`). An object whose expressions all give nothing is left out, constants or not.
Of a choice (`value[x]`) the first that gives anything stands.

    $needs: value         the object only where it has this element
    $when: OBX-2 = NM     the object, or `$value`, only where the condition holds
    $each: OBX-5 or NTE   the object once for each repetition of a field, or for each such segment of the group
    $first: [a, b]        the first of the templates that gives anything
    $join: [a, b]         the texts that there are, with `$with` between them (a blank by default), encoded where the
                          element is base64Binary; with `$sorted: true` in alphabetical order
    $coding: [.1, .2, .3, .7]   a Coding of code, display, system name and version (`codes.coding`)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from cohortlake.core.catalog.hl7v2 import Hl7v2
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import Element, elements, primitive_types
from cohortlake.core.hl7v2 import codes
from cohortlake.core.hl7v2.datatypes import Datatype
from cohortlake.core.hl7v2.expressions import SEGMENTS, Source, condition, sources
from cohortlake.core.hl7v2.makers import (
    NOTHING,
    TEXTS,
    Found,
    Make,
    all_of,
    counted,
    first_of,
    joined,
    looked_up,
    primitive,
    set_bound,
)
from cohortlake.core.hl7v2.run import Scope
from cohortlake.core.readers.hl7v2 import Value

DIRECTIVES = ("$needs", "$when", "$each", "$first", "$join", "$with", "$sorted", "$coding", "$value")


@dataclass
class Compiler:
    """Compiles the templates of one map. Raises CatalogError naming the map.

    `fields` are the fields that they read; of the segments in `own` only those of the map's own group.
    """

    declared: Hl7v2
    where: str
    datatypes: dict[str, Datatype]
    fields: set[tuple[str, int]] = field(default_factory=set)
    own: set[str] = field(default_factory=set)

    def fail(self, path: str, problem: str) -> CatalogError:
        return CatalogError(f"{self.declared.folder}/{self.where}:1: {path}: {problem}")

    def object(self, template: dict[str, Any], kind: str, path: str) -> Make:
        """A complex element: `kind` is its R4 type. Its directives are the caller's."""
        known = elements(kind)
        made: list[tuple[Element, Make, frozenset[str]]] = []
        for name, child in template.items():
            if name.startswith("$"):
                continue
            bare = name.removeprefix("_")
            if bare not in known or (bare != name and known[bare].type not in primitive_types()):
                raise self.fail(f"{path}.{name}", f"{kind} has no such element; it has {', '.join(sorted(known))}")
            element = known[bare] if bare == name else known[bare]._replace(name=name, type="Element", codes=None)
            if isinstance(child, list) and not element.is_list:
                raise self.fail(f"{path}.{name}", "this element does not repeat, but the template has a list")
            items = child if isinstance(child, list) else [child]
            parts = [self.element(item, element.type, f"{path}.{name}") for item in items]
            make_one = parts[0] if len(parts) == 1 else all_of(parts)
            allowed = frozenset(element.codes or ()) if element.type == "code" else frozenset()
            made.append((element, make_one, allowed))

        def make(scope: Scope) -> Found:
            result: dict[str, Any] = {}
            is_found = False
            chosen: set[str] = set()
            for element, part, allowed in made:
                if element.choice in chosen:
                    continue
                name, is_list = element.name, element.is_list
                values, counts = part(scope)
                if not values:
                    continue
                is_found = is_found or counts
                if element.choice:
                    chosen.add(element.choice)
                if len(values) > 1 and not is_list:
                    scope.run.unmapped[f"{path}.{name}: further repetitions"] += len(values) - 1
                if allowed and not allowed.issuperset(values):
                    set_bound(result, name, values, is_list, allowed)
                else:
                    result[name] = values if is_list else values[0]
            return ([result], is_found) if result else NOTHING

        return make

    def element(self, template: Any, kind: str, path: str) -> Make:
        """One item of an element."""
        if isinstance(template, dict):
            return self._directed(template, kind, path)
        if isinstance(template, list):
            raise self.fail(path, "a list within a list")
        if isinstance(template, str) and template.startswith("="):
            return self._expression(template[1:], kind, path)
        if kind not in primitive_types():
            raise self.fail(path, f"a {kind} takes its elements or an expression, not {template!r}")
        constant: Found = ([template], False)
        return lambda scope: constant

    def _directed(self, template: dict[str, Any], kind: str, path: str) -> Make:
        for name in template:
            if name.startswith("$") and name not in DIRECTIVES:
                raise self.fail(path, f"{name} is not known; known are {', '.join(DIRECTIVES)}")
        make = self._inner(template, kind, path)
        if "$when" in template:
            make = self._when(str(template["$when"]), make, path)
        if "$each" in template:
            make = self._each(str(template["$each"]), make, path)
        return make

    def _inner(self, template: dict[str, Any], kind: str, path: str) -> Make:
        if "$value" in template:
            return counted(self.element(template["$value"], kind, path))
        if "$first" in template:
            return first_of([self.element(item, kind, path) for item in template["$first"]])
        if "$join" in template:
            parts = [self.element(item, "string", path) for item in template["$join"]]
            return joined(parts, str(template.get("$with", " ")), kind, is_sorted=bool(template.get("$sorted")))
        if "$coding" in template:
            return self._coding([self._sources(text, path) for text in template["$coding"]], path)
        if kind in primitive_types():
            raise self.fail(path, f"a {kind} takes one value, not an object")
        make = self.object(template, kind, path)
        if _is_constant(template):
            return make

        needed = template.get("$needs")

        def kept(scope: Scope) -> Found:
            values, is_found = make(scope)
            return (values, True) if is_found and (needed is None or needed in values[0]) else NOTHING

        return kept

    def _when(self, text: str, make: Make, path: str) -> Make:
        try:
            test, fields = condition(text)
        except ValueError as error:
            raise self.fail(path, str(error)) from error
        self.fields |= fields
        return lambda scope: make(scope) if test(scope) else NOTHING

    def _each(self, text: str, make: Make, path: str) -> Make:
        segments = SEGMENTS.fullmatch(text)
        if segments:
            name, is_within = segments["segment"], bool(segments["within"])
            if not is_within:
                self.own.add(name)

            def scopes(scope: Scope) -> list[Scope]:
                found = scope.segments_within(name) if is_within else scope.node.segments.get(name, ())
                return [replace(scope, segment=segment) for segment in found]
        else:
            source = self._sources(text, path)[0]

            def scopes(scope: Scope) -> list[Scope]:
                return [replace(scope, value=value, place=source.place) for value in source.read(scope)]

        def each(scope: Scope) -> Found:
            found = [value for inner in scopes(scope) for value in make(inner)[0]]
            return found, bool(found)

        return each

    def _sources(self, text: Any, path: str) -> list[Source]:
        if not isinstance(text, str):
            raise self.fail(path, f"{text!r} is not a source; quote it, YAML takes .10 for a number")
        try:
            found = sources(text)
        except ValueError as error:
            raise self.fail(path, str(error)) from error
        for source in found:
            self.fields |= source.fields
        return found

    def _coding(self, parts: list[list[Source]], path: str) -> Make:
        if len(parts) != 4:
            raise self.fail(path, "$coding takes the places of code, display, system and version")

        def text(part: list[Source], scope: Scope) -> str:
            values = next((found for source in part if (found := source.read(scope))), [])
            return codes.text_of(values[0]) if values else ""

        def make(scope: Scope) -> Found:
            code, display, system, version = (text(part, scope) for part in parts)
            made = codes.coding(code, display, system, version, scope)
            return ([made], True) if made else NOTHING

        return make

    def _expression(self, text: str, kind: str, path: str) -> Make:
        left, _, right = text.partition(" | ")
        found = self._sources(left.strip(), path)
        name, _, table = right.strip().partition(" ")
        turn = self._turn(name, table or None, kind, path)

        def make(scope: Scope) -> Found:
            for source in found:
                values = [
                    made
                    for value in source.read(scope)
                    for made in turn(value, scope, source.place or scope.place)
                    if made is not None
                ]
                if values:
                    return values, True
            return NOTHING

        return make

    def _turn(self, name: str, table: str | None, kind: str, path: str) -> Callable[[Value, Scope, str], list[Any]]:
        """What turns a value into the element's type."""
        if kind == "Reference" and not name:
            return lambda value, scope, place: [{"reference": value[0][0]}]
        if name in self.datatypes:
            datatype = self.datatypes[name]
            made = "Reference" if datatype.declared.key else datatype.declared.fhir
            if made != kind:
                raise self.fail(path, f"{name} makes a {made}; a {kind} is expected here")
            return lambda value, scope, place: datatype.make(
                replace(scope, value=value, table=table or scope.table, place=place)
            )
        if kind not in primitive_types():
            raise self.fail(path, f"{name or 'nothing'!r} does not make a {kind}; see datatypes/")
        return primitive(self._text(name, path), kind)

    def _text(self, name: str, path: str) -> Callable[[Value, Scope], str | None]:
        if not name:
            return lambda value, scope: codes.text_of(value)
        if name in self.declared.tables:
            return lambda value, scope: looked_up(codes.text_of(value), name, scope)
        if name in TEXTS:
            return TEXTS[name]
        known = ", ".join([*TEXTS, *self.datatypes, *self.declared.tables])
        raise self.fail(path, f"{name!r} is not a table, a datatype or a text; known are {known}")


def _is_constant(template: Any) -> bool:
    """Whether a template says the same of every message."""
    if isinstance(template, dict):
        return all(not name.startswith("$") and _is_constant(inner) for name, inner in template.items())
    if isinstance(template, list):
        return all(_is_constant(inner) for inner in template)
    return not (isinstance(template, str) and template.startswith("="))
