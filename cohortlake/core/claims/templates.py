"""Templates of FHIR elements, compiled for a layout and checked against R4 as they are.

A leaf is a constant or an expression (`=`). An object whose expressions all give nothing is left out, constants or not,
and so is one whose columns a file does not have. Entries that FHIR numbers (`sequence`) are numbered in order.

    $when: A = x      the object, or `$value`, only where the condition holds
    $needs: value     the object only where it has this element
    $each: lines      the object for each line of the record; `lines COLUMN`: where the column has a value, which is `.`
    $each: COLUMN     the object where the column has a value, which is `.`
    $first: [a, b]    the first of the templates that gives anything
    $by: [careTeam, "=.", attending]   entries of one key are one entry; items point at it as `# careTeam attending`
    $months: {columns: [...], of: [...], year: COLUMN}   a Period: the months of a year whose column has such a value
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cohortlake.core.claims import leaves, makers
from cohortlake.core.claims.declared import Declared, ResourceMap
from cohortlake.core.claims.expressions import WAY, Read, Reader
from cohortlake.core.claims.layout import Layout
from cohortlake.core.claims.makers import Make, Part
from cohortlake.core.claims.run import ALWAYS, CONSTANT, Scope
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import elements, primitive_types

DIRECTIVES = ("$when", "$needs", "$each", "$first", "$by", "$months", "$value")
# What stands for a template none of whose columns a file has.
NEVER = None


@dataclass
class ResourceMaker:
    """A compiled map: its identity, its condition, its elements."""

    declared: ResourceMap
    key: list[Read | None] = field(default_factory=list)
    when: Callable[[Scope], bool] | None = None
    template: Make | None = None

    def is_known(self, parts: list[str]) -> bool:
        """Whether what the key gives names one: its first expression has a value."""
        named = (part for part, given in zip(parts, self.declared.key, strict=True) if str(given).startswith("="))
        return bool(next(named, "constant"))


class Compiler:
    """Compiles the maps of a format for a layout. Raises CatalogError naming file and line."""

    def __init__(self, declared: Declared, layout: Layout) -> None:
        self.declared = declared
        self.reader = Reader(declared, layout)
        self.made: dict[str, ResourceMaker] = {}
        self.where = ""

    def fail(self, reason: str, path: str) -> CatalogError:
        at = tuple(part.split("[")[0] for part in path.split(".")[1:])
        return self.declared.fail(self.where, ("elements", *at), f"{path}: {reason}")

    def resource(self, name: str) -> ResourceMaker:
        """A map and those that it refers to; each is compiled once."""
        if name in self.made:
            return self.made[name]
        given = self.declared.resources[name]
        maker = self.made[name] = ResourceMaker(given)
        before, self.where = self.where, name
        maker.key = [self._key(part, given.resource) for part in given.key]
        maker.when = self._test(given.when, given.resource) if given.when else None
        whole = self.object(given.elements, given.resource, given.resource, is_whole=True)
        maker.template = whole.make if whole else None
        self.where = before
        return maker

    def _key(self, part: Any, path: str) -> Read | None:
        if isinstance(part, str) and part.startswith("="):
            try:
                return self.reader.text(part[1:])
            except ValueError as error:
                raise self.fail(str(error), path) from error
        constant = str(part)
        return lambda scope: constant

    def _test(self, text: str, path: str) -> Callable[[Scope], bool]:
        try:
            return self.reader.test(text)
        except ValueError as error:
            raise self.fail(str(error), path) from error

    def object(self, template: dict[str, Any], kind: str, path: str, *, is_whole: bool = False) -> Part | None:
        """A complex element of an R4 type, or a whole resource; it needs what its expressions need."""
        known = elements(kind)
        choices = Counter(known[name].choice for name in template if name in known)
        fills: list[tuple[makers.Fill, int]] = []
        every: list[Part] = []
        for name, child in template.items():
            if name.startswith("$"):
                continue
            if name not in known:
                raise self.fail(f"{kind} has no element {name!r}; it has {', '.join(sorted(known))}", f"{path}.{name}")
            element = known[name]
            if isinstance(child, list) and not element.is_list:
                raise self.fail("this element does not repeat, but the template has a list", f"{path}.{name}")
            items = child if isinstance(child, list) else [child]
            made = [self.element(item, element.type, f"{path}.{name}") for item in items]
            parts = [part for part in made if part is not NEVER]
            if parts:
                is_numbered = element.type not in primitive_types() and "sequence" in elements(element.type)
                put = makers.fill(
                    element, parts, is_numbered=is_numbered and element.is_list,
                    is_contested=choices[element.choice] > 1,
                )  # fmt: skip
                fills.append((put, makers.needs_of(parts)))
                every += parts
        if _is_constant(template):
            return makers.constant(_value(template, kind))
        if not fills:
            return NEVER
        if _is_constant(_elements(template)):
            return Part(makers.filled(fills, is_whole=True), CONSTANT)
        make = makers.filled(fills, needed=template.get("$needs"), is_whole=is_whole)
        return Part(make, makers.needs_of(every) & ~CONSTANT)

    def element(self, template: Any, kind: str, path: str) -> Part | None:
        """One item of an element; None where the file has none of its columns."""
        if isinstance(template, dict):
            return self._directed(template, kind, path)
        if isinstance(template, str) and template.startswith("="):
            return self._ways(template[1:], kind, path)
        if isinstance(template, list) or kind not in primitive_types():
            raise self.fail(f"a {kind} takes its elements or an expression, not {template!r}", path)
        return makers.constant(template)

    def _directed(self, template: dict[str, Any], kind: str, path: str) -> Part | None:
        for name in template:
            if name.startswith("$") and name not in DIRECTIVES:
                raise self.fail(f"{name} is not known; known are {', '.join(DIRECTIVES)}", path)
        part = self._inner(template, kind, path)
        if part is NEVER:
            return NEVER
        make, needs = part
        if "$by" in template:
            make = self._by(template["$by"], make, path)
        if "$when" in template:
            make = makers.where(self._test(str(template["$when"]), path), make)
        part = Part(make, needs)
        return self._each(str(template["$each"]), part) if "$each" in template else part

    def _inner(self, template: dict[str, Any], kind: str, path: str) -> Part | None:
        if "$value" in template:
            value = self.element(template["$value"], kind, path)
            return _counted(value) if value else NEVER
        if "$first" in template:
            made = [self.element(item, kind, path) for item in template["$first"]]
            return makers.first_of([part for part in made if part])
        if "$months" in template:
            return self._months(template["$months"], path)
        if kind in primitive_types():
            raise self.fail(f"a {kind} takes one value, not an object", path)
        part = self.object(template, kind, path)
        return _counted(part) if part and "$when" in template and _is_constant(_elements(template)) else part

    def _by(self, by: list[Any], make: Make, path: str) -> Make:
        name, *parts = by
        return makers.keyed(str(name), [part for part in (self._key(p, path) for p in parts) if part], make)

    def _each(self, text: str, part: Part) -> Part | None:
        name, _, column = text.partition(" ")
        if name != "lines":
            return self._with_value(text, part)
        inner = self._with_value(column, part) if column else part
        return Part(makers.each_line(inner), ALWAYS) if inner else NEVER

    def _with_value(self, text: str, part: Part) -> Part | None:
        read = self.reader.source(text)
        return Part(makers.with_value(read, part.make), self.reader.needs(text)) if read else NEVER

    def _months(self, given: dict[str, Any], path: str) -> Part | None:
        year = self.reader.source(given["year"])
        columns = [self.reader.source(name) for name in given["columns"]]
        if len(columns) != 12:
            raise self.fail(f"$months takes twelve columns; found {len(columns)}", path)
        if year is None or not any(columns):
            return NEVER
        make = makers.months(columns, year, frozenset(given.get("of", ())), frozenset(given.get("but", ())))
        return Part(make, self.reader.needs(given["year"]))

    def _ways(self, text: str, kind: str, path: str) -> Part | None:
        made = [self._way(part.strip(), kind, path) for part in text.split(", ")]
        return makers.first_of([way for way in made if way])

    def _way(self, text: str, kind: str, path: str) -> Part | None:
        match = WAY.fullmatch(text)
        if not match:
            raise self.fail(f"{text!r} is not an expression", path)
        self._check(match, kind, path)
        read = self.reader.source(match["source"])
        return Part(self._made(match, read, kind), self.reader.needs(match["source"])) if read else NEVER

    def _made(self, match: re.Match[str], read: Read, kind: str) -> Make:
        if match["target"]:
            return makers.reference(self.resource(match["target"]), read)
        if match["entry"]:
            return leaves.pointer((match["entry"],), tuple(match["words"].split()), read)
        if match["system"]:
            argument = self.reader.source(match["argument"]) if match["argument"] else None
            codes = self.declared.shared.systems[match["system"]]
            return leaves.code_of(match["system"], codes, read, argument, kind)
        if match["map"]:
            return leaves.mapped(self.declared.maps[match["map"]], read, kind)
        return leaves.primitive(read, kind, match["source"])

    def _check(self, match: re.Match[str], kind: str, path: str) -> None:
        """What an expression names must be declared, whether a file has its columns or not."""
        target, system, code_map = match["target"], match["system"], match["map"]
        if target and (kind != "Reference" or target not in self.declared.resources):
            raise self.fail(f"{target!r} is no map, or stands where no Reference is", path)
        if system and system not in self.declared.shared.systems:
            known = ", ".join(self.declared.shared.systems)
            raise self.fail(f"{system!r} is not a system; known are {known}", path)
        if code_map and code_map not in self.declared.maps:
            raise self.fail(f"there is no maps/{code_map}.yaml", path)
        if not (target or system or code_map or match["entry"] or kind in primitive_types()):
            raise self.fail(f"a {kind} takes its elements, a map or a system", path)


def _counted(part: Part) -> Part:
    return Part(makers.counted(part.make), ALWAYS if part.needs & CONSTANT else part.needs)


def _value(template: dict[str, Any], kind: str) -> dict[str, Any]:
    """What a template that is constant is."""
    known = elements(kind)
    made = {}
    for name, child in template.items():
        items = child if isinstance(child, list) else [child]
        values = [_value(item, known[name].type) if isinstance(item, dict) else item for item in items]
        made[name] = values if known[name].is_list else values[0]
    return made


def _elements(template: dict[str, Any]) -> dict[str, Any]:
    """A template without its directives."""
    return {name: value for name, value in template.items() if not name.startswith("$")}


def _is_constant(template: Any) -> bool:
    """Whether a template says the same of every record."""
    if isinstance(template, dict):
        return all(not name.startswith("$") and _is_constant(inner) for name, inner in template.items())
    if isinstance(template, list):
        return all(_is_constant(inner) for inner in template)
    return not (isinstance(template, str) and template.startswith("="))
