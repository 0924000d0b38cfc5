"""Templates of resources, compiled: what a declaration says of an element becomes a function of a place in a document.

A string that begins with `=` is alternatives, the first that has a value: `PATH`, `'constant'` or `$shared`, each with
`| map` (looked up; `| map?` does not count a code that the map lacks), `=> Map` (a reference to the resource that the
map makes there; `entry` for any), `if PREDICATE`. Other scalars are constants. In an object `$when` is a condition and
`$each` repeats it for each place that a path leads to; an object whose expressions all have no value is left out.
`value[x]` chooses its type by what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cohortlake.core.catalog.source import Location
from cohortlake.core.ccda.datatypes import choices, value_of
from cohortlake.core.ccda.declared import Ccda
from cohortlake.core.ccda.inferred import ABSENT, mark
from cohortlake.core.ccda.paths import Path, Reading, Test, compile_path, compile_test
from cohortlake.core.ccda.run import Made, Run, Value
from cohortlake.core.fhir.definitions import Element, elements, primitive_types
from cohortlake.core.readers.ccda import Node

Maker = Callable[[str, Node], Made | None]


@dataclass(frozen=True)
class Scope:
    """Where a template is filled: a place in the document. `make` makes what references point at."""

    run: Run
    node: Node
    reading: Reading
    make: Maker


Make = Callable[[Scope], list[Any]]


def split(text: str, mark: str) -> list[str]:
    """The parts of a text between marks that stand outside quotes and brackets."""
    parts, depth, is_quoted, start = [], 0, False, 0
    for at, character in enumerate(text):
        if character == "'":
            is_quoted = not is_quoted
        elif not is_quoted:
            depth += (character in "[(") - (character in "])")
            if depth == 0 and text.startswith(mark, at):
                parts.append(text[start:at].strip())
                start = at + len(mark)
    return [*parts, text[start:].strip()]


@dataclass(frozen=True)
class Alternative:
    """One way to a value."""

    path: Path | None
    constant: str | None
    code_map: str | None
    target: str | None
    when: Test | None
    is_lenient: bool = False

    def found(self, scope: Scope) -> list[Value]:
        if self.when and not self.when(scope.node, scope.reading):
            return []
        if self.path is None:
            return [self.constant or ""]
        return self.path.select(scope.node, scope.reading, is_made=bool(self.target))

    def values(self, scope: Scope, kind: str) -> Iterator[Any]:
        """The values of a FHIR type that this way leads to."""
        for found in self.found(scope):
            if self.target:
                made = scope.make(self.target, found) if isinstance(found, Node) else None
                if made is not None:
                    reference: dict[str, Any] = {}
                    made.references.append(reference)
                    yield reference
            elif self.code_map:
                value = _mapped(found, self.code_map, kind, scope.run, self.is_lenient)
                if value is not None:
                    yield value
            else:
                value = value_of(found, kind, scope.run)
                if value is not None:
                    yield value


def _mapped(found: Value, name: str, kind: str, run: Run, is_lenient: bool = False) -> Any:
    """What a code, or one of its translations, means by a map; None, and counted, for one that the map lacks."""
    codes = run.declared.maps[name]
    given = [found] if isinstance(found, str) else _codes(found)
    target = next((codes.codes[code] for code in given if code in codes.codes), None)
    if target is None:
        if given and not is_lenient:
            run.codes[name, given[0]] += 1
        target = codes.unmapped if given else None
    if target is None:
        return None
    made = {"system": target.system or codes.target, "code": target.code, "display": target.display}
    coding: dict[str, Any] = {part: value for part, value in made.items() if value}
    if codes.is_inferred:
        coding = {"extension": mark(codes), **coding}
    if kind in ("CodeableConcept", "Coding"):
        return {"coding": [coding]} if kind == "CodeableConcept" else coding
    return value_of(target.code, kind, run)


def _codes(node: Node) -> list[str]:
    given = [child.attributes.get("code", "") for child in (node, *node.elements("translation"))]
    return [code for code in given if code] or [value for value in [node.attributes.get("value", "")] if value]


class Compiler:
    """Compiles the templates of one map; errors name its file and line."""

    def __init__(self, declared: Ccda, name: str) -> None:
        self.declared = declared
        self.name = name

    def test(self, text: str, at: Location) -> Test:
        """A predicate."""
        try:
            return compile_test(text)
        except ValueError as error:
            raise self.declared.fail(self.name, at, str(error)) from error

    def path(self, text: str, at: Location) -> Path:
        """A path."""
        try:
            return compile_path(text)
        except ValueError as error:
            raise self.declared.fail(self.name, at, str(error)) from error

    def alternatives(self, text: str, at: Location) -> list[Alternative]:
        """The ways of an expression, without its `=`."""
        return [way for part in split(text, ",") for way in self._alternative(part, at)]

    def _alternative(self, text: str, at: Location) -> list[Alternative]:
        text, *condition = split(text, " if ")
        text, *targets = split(text, "=>")
        text, *maps = split(text, "|")
        is_lenient = bool(maps) and maps[0].endswith("?")
        maps = [name.removesuffix("?") for name in maps]
        when = self.test(condition[0], at) if condition else None
        for name in maps:
            if name not in self.declared.maps:
                raise self.declared.fail(self.name, at, f"there is no maps/{name}.yaml")
        for name in targets:
            if name != "entry" and name not in self.declared.elements:
                raise self.declared.fail(self.name, at, f"there is no map {name!r} to refer to")
        if text.startswith("$"):
            shared = self.declared.shared.expressions.get(text[1:])
            if shared is None:
                raise self.declared.fail(self.name, at, f"shared.yaml has no expression {text[1:]!r}")
            return [replace(way, when=when) if when else way for way in self.alternatives(shared, at)]
        constant = text[1:-1] if text.startswith("'") and text.endswith("'") else None
        path = self.path(text, at) if constant is None else None
        return [
            Alternative(path, constant, maps[0] if maps else None, targets[0] if targets else None, when, is_lenient)
        ]

    def element(self, template: Any, kind: str, at: Location) -> Make:
        """What a template makes of a place: a list of values of a FHIR type."""
        if isinstance(template, list):
            makes = [self.element(item, kind, (*at, i)) for i, item in enumerate(template)]
            return lambda scope: _distinct(value for make in makes for value in make(scope))
        if isinstance(template, dict):
            return self.object(template, kind, at)
        if isinstance(template, str) and template.startswith("="):
            ways = self.alternatives(template[1:], at)
            return lambda scope: next((values for way in ways if (values := list(way.values(scope, kind)))), [])
        return lambda _: [template]

    def object(self, template: dict[str, Any], kind: str, at: Location) -> Make:
        """What an object's template makes of a place."""
        when = self.test(template["$when"], (*at, "$when")) if "$when" in template else None
        each = self.path(template["$each"], (*at, "$each")) if "$each" in template else None
        fills = [
            self._fill(name, value, kind, (*at, name)) for name, value in template.items() if not name.startswith("$")
        ]
        is_asked = bool(when or each) or not _has_expressions(template)

        def fill(scope: Scope) -> list[Any]:
            if when and not when(scope.node, scope.reading):
                return []
            made: dict[str, Any] = {}
            is_filled = is_asked
            for filled in fills:
                is_filled |= filled(scope, made)
            return [made] if is_filled and made else []

        def repeat(scope: Scope) -> list[Any]:
            places = each.select(scope.node, scope.reading) if each else []
            return [made for place in places if isinstance(place, Node) for made in fill(replace(scope, node=place))]

        return repeat if each else fill

    def _fill(self, name: str, template: Any, kind: str, at: Location) -> Callable[[Scope, dict[str, Any]], bool]:
        """A function that fills in an element of an object and says whether an expression had a value."""
        known = elements(kind)
        if name.endswith("[x]"):
            return self._choice(name[:-3], template, kind, at)
        if name.startswith("_") and name[1:] in known and known[name[1:]].type in primitive_types():
            return _filler(name, self.element(template, "Element", at), False, True, None)
        if name not in known:
            near = ", ".join(sorted(known))
            raise self.declared.fail(self.name, at, f"{kind} has no element {name!r}; it has {near}")
        element = known[name]
        flavor = self._flavor(template, at) if element.minimum else None
        make = self.element(template, element.type, at)
        beside = f"_{name}" if element.type in primitive_types() else name
        return _filler(name, make, element.is_list, _has_expressions(template), flavor, beside)

    def _flavor(self, template: Any, at: Location) -> Callable[[Scope], str | None] | None:
        """Why a required element is absent: the nullFlavor where its value would be."""
        if not (isinstance(template, str) and template.startswith("=")):
            return None
        ways = [way for way in self.alternatives(template[1:], at) if way.path and not way.target]
        reasons = self.declared.maps["null_flavor"].codes

        def flavor(scope: Scope) -> str | None:
            given = (f.attributes.get("nullFlavor") for way in ways for f in way.found(scope) if isinstance(f, Node))
            return next((reasons[code].code for code in given if code in reasons), None)

        return flavor

    def _choice(self, base: str, template: Any, kind: str, at: Location) -> Callable[[Scope, dict[str, Any]], bool]:
        allowed = {name: e for name, e in elements(kind).items() if e.choice == base}
        if not allowed or not (isinstance(template, str) and template.startswith("=")):
            raise self.declared.fail(self.name, at, f"{base}[x] needs to be a choice of {kind}, and one expression")
        ways = self.alternatives(template[1:], at)

        def fill(scope: Scope, made: dict[str, Any]) -> bool:
            for way in ways:
                for found in way.found(scope):
                    chosen = _chosen(found, base, allowed, way, scope)
                    if chosen:
                        made[chosen[0]] = chosen[1]
                        return True
            return False

        return fill


def _chosen(
    found: Value, base: str, allowed: dict[str, Element], way: Alternative, scope: Scope
) -> tuple[str, Any] | None:
    types = choices(found) if isinstance(found, Node) else ("String",)
    if way.code_map:
        value = _mapped(found, way.code_map, "CodeableConcept", scope.run)
        return (f"{base}CodeableConcept", value) if value is not None else None
    for name in (f"{base}{kind}" for kind in types):
        value = value_of(found, allowed[name].type, scope.run) if name in allowed else None
        if value is not None:
            return name, value
    # A value of a type that FHIR has no choice for is kept in words.
    words = f"{base}String"
    value = value_of(found, "string", scope.run) if words in allowed else None
    return (words, value) if value is not None else None


def _filler(
    name: str,
    make: Make,
    is_list: bool,
    is_expression: bool,
    flavor: Callable[[Scope], str | None] | None,
    beside: str = "",
) -> Callable[[Scope, dict[str, Any]], bool]:
    """Fills in an element; why it is absent stands `beside` it, which of a primitive is the name with an underscore."""

    def fill(scope: Scope, made: dict[str, Any]) -> bool:
        values = make(scope)
        if values:
            made[name] = values if is_list else values[0]
            return is_expression
        reason = flavor(scope) if flavor else None
        if reason:
            absent = {"extension": [{"url": ABSENT, "valueCode": reason}]}
            made[beside] = [absent] if is_list else absent
        return False

    return fill


def _distinct(values: Iterator[Any]) -> list[Any]:
    """Values without repeats; references, that are empty until all is made, stay apart."""
    found: list[Any] = []
    for value in values:
        if value == {} or value not in found:
            found.append(value)
    return found


def _has_expressions(template: Any) -> bool:
    if isinstance(template, dict):
        return any(_has_expressions(value) for value in template.values())
    if isinstance(template, list):
        return any(_has_expressions(value) for value in template)
    return isinstance(template, str) and template.startswith("=")
