"""Templates of FHIR elements, compiled to functions and checked against R4 as they are.

A leaf is a constant or an expression (`=`). An object whose expressions all give nothing is left out, constants or not.
Of a choice (`value[x]`) the first that gives anything stands.

    $needs: value        the object only where it has this element
    $when: CLM-5.3 = 8   the object, or `$value`, only where the condition holds
    $each: CAS-2+3       the object once for each (`sources.each`)
    $first: [a, b]       the first of the templates that gives anything
    $join: [a, b]        the texts that there are, with `$with` between them (nothing by default)
    =A | unit?           through a code map; a code that it lacks is counted, and left out because of the `?`
    =#                   the place of the item in its list, from 1
    $refers: Claim       a Reference to what that map makes of the identity in `$key`, in this set or another
    =A | position careTeam.provider   the sequence of the item of the resource's list that refers to A
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cohortlake.core.catalog.source import Location
from cohortlake.core.fhir.definitions import Element, elements, primitive_types
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.x12.declared import X12
from cohortlake.core.x12.loops import CONSTANT
from cohortlake.core.x12.makers import (
    NOTHING,
    NUMBER,
    Found,
    Part,
    Turn,
    all_of,
    any_of,
    bears_money,
    constant,
    counted,
    extreme,
    filled,
    identity,
    joined,
    needs_of,
    only,
    repeated,
    sources_need,
)
from cohortlake.core.x12.run import Run, Scope, resource_id
from cohortlake.core.x12.sources import Each, Source, Test, condition, each, sources
from cohortlake.core.x12.values import TEXTS, coded, money, target

DIRECTIVES = ("$needs", "$when", "$each", "$first", "$join", "$with", "$value", "$refers", "$key")
# Those that make values of what the set says.
MAKING = frozenset(("$each", "$first", "$join", "$value", "$refers"))


@dataclass
class Compiler:
    """Compiles the templates of one map. Raises CatalogError naming file and line."""

    declared: X12
    name: str

    def object(self, template: dict[str, Any], kind: str, at: Location) -> Part:
        """A complex element: `kind` is its R4 type. Its directives are the caller's. It needs what its parts need."""
        known = elements(kind)
        made: list[tuple[Element, Part, frozenset[str]]] = []
        for name, child in template.items():
            if name.startswith("$"):
                continue
            here = (*at, name)
            if name not in known:
                reason = f"{kind} has no element {name!r}; it has {', '.join(sorted(known))}"
                raise self.declared.fail(self.name, here, reason)
            element = known[name]
            if isinstance(child, list) and not element.is_list:
                raise self.declared.fail(self.name, here, "this element does not repeat, but the template has a list")
            items = child if isinstance(child, list) else [child]
            parts = [self.element(item, element.type, here) for item in items]
            allowed = frozenset(element.codes or ()) if element.type == "code" else frozenset[str]()
            made.append((element, parts[0] if len(parts) == 1 else all_of(parts, bears_money(element.type)), allowed))
        return Part(lambda scope: filled(made, scope), needs_of(part for _, part, _ in made))

    def element(self, template: Any, kind: str, at: Location) -> Part:
        """One item of an element."""
        if isinstance(template, dict):
            return self._directed(template, kind, at)
        if isinstance(template, list):
            raise self.declared.fail(self.name, at, "a list within a list")
        if template == "=#":
            return Part(lambda _: ([NUMBER], False), CONSTANT)
        if isinstance(template, str) and template.startswith("="):
            return self._expression(template[1:], kind, at)
        if kind not in primitive_types():
            raise self.declared.fail(self.name, at, f"a {kind} takes its elements or an expression, not {template!r}")
        return constant(template)

    def _directed(self, template: dict[str, Any], kind: str, at: Location) -> Part:
        for name in template:
            if name.startswith("$") and name not in DIRECTIVES:
                raise self.declared.fail(self.name, (*at, name), f"{name} is not known; known are {DIRECTIVES}")
        part = self._inner(template, kind, at)
        if "$when" in template:
            part = only(self.test(str(template["$when"]), (*at, "$when")), part)
        if "$each" in template:
            part = repeated(self._each(str(template["$each"]), (*at, "$each")), part.make)
        return part

    def _inner(self, template: dict[str, Any], kind: str, at: Location) -> Part:
        if "$value" in template:
            return counted(self.element(template["$value"], kind, at))
        if "$first" in template:
            return any_of([self.element(item, kind, at) for item in template["$first"]])
        if "$join" in template:
            return joined([self.element(i, "string", at) for i in template["$join"]], template.get("$with", ""), kind)
        if "$refers" in template:
            return self._refers(str(template["$refers"]), template.get("$key", []), at)
        if kind in primitive_types():
            raise self.declared.fail(self.name, at, f"a {kind} takes one value, not an object")
        made = self.object(template, kind, at)
        make, needed = made.make, template.get("$needs")
        if not _has_expressions(template):
            return made

        def kept(scope: Scope) -> Found:
            values, is_found = make(scope)
            return (values, True) if is_found and (needed is None or needed in values[0]) else NOTHING

        return Part(kept, made.needs - CONSTANT)

    def _refers(self, name: str, key: list[Any], at: Location) -> Part:
        if name not in self.declared.maps:
            raise self.declared.fail(self.name, (*at, "$refers"), f"there is no maps/{name}.yaml")
        kind = self.declared.maps[name].resource
        parts_of_key = [self.element(part, "string", (*at, "$key")) for part in key]
        keys = [[part.make for part in parts_of_key]]

        def make(scope: Scope) -> Found:
            parts = identity(keys, scope)
            return NOTHING if parts is None else ([{"reference": f"{kind}/{resource_id(kind, parts)}"}], True)

        return Part(make, parts_of_key[0].needs)

    def test(self, text: str, at: Location) -> Test:
        """A condition."""
        try:
            return condition(text)
        except ValueError as error:
            raise self.declared.fail(self.name, at, str(error)) from error

    def _each(self, text: str, at: Location) -> Each:
        try:
            return each(text)
        except ValueError as error:
            raise self.declared.fail(self.name, at, str(error)) from error

    def _expression(self, text: str, kind: str, at: Location) -> Part:
        left, *turns = text.split(" | ")
        try:
            found = sources(left.strip())
        except ValueError as error:
            raise self.declared.fail(self.name, at, str(error)) from error
        name, _, argument = turns[0].strip().partition(" ") if turns else ("", "", "")
        if name in ("earliest", "latest"):
            return extreme(found, is_last=name == "latest", turn=self._turn("", "", kind, at))
        turn = self._turn(name, argument, kind, at)

        def make(scope: Scope) -> Found:
            for source in found:
                values = [value for text, place in source.read(scope) for value in turn(text, place, source, scope.run)]
                if values:
                    return values, True
            return NOTHING

        return Part(make, sources_need(found))

    def _turn(self, name: str, argument: str, kind: str, at: Location) -> Turn:
        """What turns a text into the element's type."""
        if name == "position":
            listed, _, element = argument.partition(".")
            return lambda text, place, source, run: [run.position(listed, element, text)]
        if kind == "Reference":
            return lambda text, place, source, run: [{"reference": text}] if source.is_reference else []
        is_strict, name = name.endswith("?"), name.removesuffix("?")
        if name and name not in self.declared.codes and name not in TEXTS:
            known = ", ".join([*TEXTS, *self.declared.codes])
            raise self.declared.fail(self.name, at, f"{name!r} is not a code map or a text; known are {known}")
        if kind in ("CodeableConcept", "Coding"):
            if name not in self.declared.codes:
                raise self.declared.fail(self.name, at, f"a {kind} is made through a code map, or of its elements")
            return _concept(name, kind, is_strict)
        if kind != "Money" and kind not in primitive_types():
            raise self.declared.fail(self.name, at, f"an expression does not make a {kind}")
        return self._primitive(name, kind, is_strict)

    def _primitive(self, name: str, kind: str, is_strict: bool) -> Turn:
        is_mapped, prepare = name in self.declared.codes, TEXTS.get(name, str)

        def turn(text: str, place: str, source: Source, run: Run) -> list[Any]:
            if is_mapped:
                found = target(text, name, run)
                prepared = found.code if found else "" if is_strict else text
            else:
                prepared = prepare(text)
            if not prepared:
                return []
            made = money(prepared, run) if kind == "Money" else convert(prepared, kind, run.clock)
            if made is None:
                run.warn(f"not a {'decimal' if kind == 'Money' else kind}", place)
                return []
            return [made]

        return turn


def _has_expressions(template: Any) -> bool:
    if isinstance(template, dict):
        return any(
            name in MAKING or (not name.startswith("$") and _has_expressions(value)) for name, value in template.items()
        )
    if isinstance(template, list):
        return any(_has_expressions(value) for value in template)
    return isinstance(template, str) and template.startswith("=")


def _concept(name: str, kind: str, is_strict: bool) -> Turn:
    def turn(text: str, place: str, source: Source, run: Run) -> list[Any]:
        coding = coded(text, name, run, is_strict)
        if coding is None:
            return []
        return [coding if kind == "Coding" else {"coding": [coding]}]

    return turn
