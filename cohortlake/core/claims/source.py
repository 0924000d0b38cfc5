"""How delimited claims are read by templates of the mapping language (docs/mappings.md), for the columns of one file.

COLUMN            the column of the row at hand; COLUMN & COLUMN both, one after the other, where both have a value
.                 the value at hand (of `$each`, or that a reference was made for)
'text'            a constant
=A | year         the year of a date
=A | system name COLUMN   a code of a system (see shared.yaml), chosen by the column's value where it is given
$each: lines      each line of the record; `lines COLUMN`: where the column has a value, which is `.`
$each: COLUMN     where the column has a value, which is `.`
$months: {columns: [...], of: [...], year: COLUMN}   a Period: the months of a year whose column has such a value
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cohortlake.core.catalog.source import Location
from cohortlake.core.claims.declared import Claims, RowMap
from cohortlake.core.claims.layout import Layout, plain
from cohortlake.core.claims.run import IDS, Scope, bit, coded
from cohortlake.core.claims.values import converter, day
from cohortlake.core.fhir.definitions import primitive_types
from cohortlake.core.language.compiler import Compiler
from cohortlake.core.language.identity import resource_id
from cohortlake.core.language.parts import ALWAYS, NOTHING, Each, Found, Part, Test
from cohortlake.core.language.source import Leaf, Source, Turn, text_leaf

CONDITION = re.compile(r"(?P<no>not )?(?P<source>.+?)(?: (?P<op>=|!=|is not|is) (?P<right>.+))?")
Read = Callable[[Scope], str]
CODED = ("CodeableConcept", "Coding", "Identifier", "uri")


@dataclass
class ResourceMaker:
    """A compiled map: its identity, its condition, its elements."""

    declared: RowMap
    key: list[Part | None] = field(default_factory=list)
    when: Test | None = None
    template: Part | None = None

    def make(self, scope: Scope) -> str | None:
        """Make the resource in a scope; its reference, or None where there is nothing to make."""
        given, template = self.declared, self.template
        parts = [str(found[0]) if part and (found := part.make(scope)[0]) else "" for part in self.key]
        if template is None or not self._is_known(parts) or not (self.when is None or self.when(scope)):
            return None
        name = resource_id(IDS, given.resource, parts)
        with scope.run.codes.within((given.resource, name)):
            values, is_found = template.make(scope)
        if not values or not is_found or (given.needs and given.needs not in values[0]):
            return None
        scope.run.put(given.resource, name, values[0], is_passing=given.stub)
        return f"{given.resource}/{name}"

    def _is_known(self, parts: list[str]) -> bool:
        """Whether what the key gives names one: its first expression has a value."""
        named = (part for part, given in zip(parts, self.declared.key, strict=True) if str(given).startswith("="))
        return bool(next(named, "constant"))


class RowSource(Source):
    """Reads for the maps of a format, for one layout of columns.

    `named` are the columns that the maps name, `taken` those of the layout that they read, both as they are compared.
    """

    def __init__(self, declared: Claims, layout: Layout) -> None:
        self.name, self.declared, self.layout = declared.name, declared, layout
        self.named: set[str] = set()
        self.taken: set[str] = set()
        self.made: dict[str, ResourceMaker] = {}
        self.directives = {"$months": self._months}

    def resource(self, name: str) -> ResourceMaker:
        """A map and those that it refers to; each is compiled once. Raises CatalogError."""
        if name in self.made:
            return self.made[name]
        given = self.declared.resources[name]
        maker = self.made[name] = ResourceMaker(given)
        compiler = Compiler(given.resource, self, self.declared.maps, partial(self.declared.fail, name))
        maker.key = [compiler.element(_text(part), "string", ("key",)) for part in given.key]
        maker.when = compiler.test(given.when, ("when",)) if given.when else None
        maker.template = compiler.object(given.elements, given.resource, ("elements",))
        return maker

    def updated(self) -> Read | None:
        """What `meta.lastUpdated` is made of, the first that has a value."""
        reads = [self._read(text) for text in (self.declared.shared.updated or "").split(", ") if text]
        found = [read for read in reads if read is not None]
        return (lambda scope: next((text for read in found if (text := read(scope))), "")) if found else None

    def leaf(self, text: str, *, for_target: bool = False) -> Leaf | None:
        """Cells of the row at hand, the value at hand, constants; None where the file has no such column."""
        read = self._read(text)
        return text_leaf(read, self._needs(text), text) if read is not None else None

    def column(self, name: str) -> Read | None:
        """A column's value; None where the file has no such column."""
        self.named.update(plain(other) for other in self.layout.names(name))
        place = self.layout.place(name)
        if place is None:
            return None
        self.taken.add(plain(self.layout.columns[place]))
        return lambda scope: scope.row[place]

    def _part(self, text: str) -> Read | None:
        if text == ".":
            return lambda scope: scope.value
        if len(text) > 1 and text[0] == text[-1] == "'":
            constant = text[1:-1]
            return lambda scope: constant
        return self.column(text)

    def _read(self, text: str) -> Read | None:
        """One part, or several one after the other; nothing where one has no value."""
        parts = [self._part(part.strip()) for part in text.split(" & ")]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        if len(found) == 1:
            return found[0]

        def read(scope: Scope) -> str:
            values = [part(scope) for part in found]
            return "".join(values) if all(values) else ""

        return read

    def _needs(self, text: str) -> int:
        """The cells of which one at least must have a value for a source to have one (`Cells.held`)."""
        names = [part.strip() for part in text.split(" & ")]
        places = [self.layout.place(name) for name in names if name != "." and name[:1] != "'"]
        return sum(bit(place) for place in {*places} if place is not None) or ALWAYS

    def test(self, text: str) -> Test:
        """`A`, `not A`, `A = x y`, `A != x y`, `A is B`, `A is not B`; all of those between semicolons."""
        tests = [self._condition(part.strip()) for part in text.split(";")]
        return tests[0] if len(tests) == 1 else lambda scope: all(test(scope) for test in tests)

    def _condition(self, text: str) -> Test:
        match = CONDITION.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not a condition")
        read = self._read(match["source"]) or _empty
        is_no = bool(match["no"])
        if match["op"] is None:
            return lambda scope: bool(read(scope)) is not is_no
        is_other = match["op"] in ("!=", "is not")
        if match["op"] in ("is", "is not"):
            right = self._read(match["right"]) or _empty
            return lambda scope: (read(scope) == right(scope)) is not is_other
        values = frozenset(match["right"].split())
        return lambda scope: (read(scope) in values) is not is_other

    def each(self, text: str) -> Each | None:
        """The lines of the record, or the row where a column has a value."""
        name, _, column = text.partition(" ")
        if name != "lines":
            return self._with_value(text)
        if not column:
            return Each(_lines, ALWAYS)
        inner = self._with_value(column)
        if inner is None:
            return None
        scopes, needs = inner

        def with_value(scope: Scope) -> Iterable[Scope]:
            return [found for line in _lines(scope) if line.held & needs for found in scopes(line)]

        return Each(with_value, ALWAYS)

    def _with_value(self, text: str) -> Each | None:
        read = self._read(text)
        if read is None:
            return None

        def scopes(scope: Scope) -> list[Scope]:
            value = read(scope)
            return [Scope(scope.run, scope.row, scope.rows, value)] if value else []

        return Each(scopes, self._needs(text))

    def refer(self, name: str) -> Turn:
        """References to what a map makes of a value, which is made once a row."""
        if name not in self.declared.resources:
            raise ValueError(f"there is no map {name!r} to refer to")
        target = self.resource(name)

        def turn(value: str, place: str, scope: Scope) -> list[Any]:
            known, key = scope.run.references, (id(target), id(scope.row), value)
            if key not in known:
                known[key] = target.make(Scope(scope.run, scope.row, scope.rows, value))
            made = known[key]
            return [{"reference": made}] if made else []

        return turn

    def turn(self, name: str, argument: str, kind: str) -> Turn | None:
        """A code of a system, the year of a date, or a primitive of the text."""
        if name == "system":
            return self._system(argument, kind)
        if kind not in primitive_types() or name not in ("", "year"):
            return None
        convert = converter(kind)

        def turn(text: str, place: str, scope: Scope) -> list[Any]:
            value = convert((day(text) or "")[:4] if name else text)
            if value is None:
                if text.strip("0") and not name:
                    scope.run.warn(f"not a {kind}", place)
                return []
            return [value]

        return turn

    def _system(self, argument: str, kind: str) -> Turn:
        """A code with its system: a Coding, a CodeableConcept, an Identifier; a uri is the system alone."""
        name, _, column = argument.partition(" ")
        systems = self.declared.shared.systems
        if name not in systems:
            raise ValueError(f"{name!r} is not a system; known are {', '.join(systems)}")
        if kind not in CODED:
            raise ValueError(f"| system {name} does not make a {kind}")
        codes, chosen = systems[name], (self._read(column) if column else None) or _empty

        def turn(text: str, place: str, scope: Scope) -> list[Any]:
            code = " ".join(text.split())
            if not code:
                return []
            system, full = coded(code, chosen(scope), name, codes, scope.run)
            if kind in ("uri", "Identifier"):
                return [system if kind == "uri" else {"system": system, "value": full}]
            coding = {"system": system, "code": full}
            return [{"coding": [coding]} if kind == "CodeableConcept" else coding]

        return turn

    def codes_of(self, value: str) -> Sequence[str]:
        """The text itself."""
        return [value]

    def convert(self, text: str, kind: str, scope: Any) -> Any:
        """A primitive of a text; None for what is not of the type."""
        return converter(kind)(text)

    def _months(self, compiler: Compiler[Any], template: dict[str, Any], kind: str, at: Location) -> Part | None:
        """The period from the first to the last month whose value is one `of` some, or any `but` some."""
        given = template["$months"]
        year = self._read(given["year"])
        columns = [self._read(name) for name in given["columns"]]
        if len(columns) != 12:
            raise compiler.fail(at, f"$months takes twelve columns; found {len(columns)}")
        if year is None or not any(columns):
            return None
        of, but = frozenset(given.get("of", ())), frozenset(given.get("but", ()))

        def make(scope: Scope) -> Found:
            values = [column(scope) if column else "" for column in columns]
            covered = [n for n, v in enumerate(values, 1) if v and (v in of if of else v not in but)]
            text = year(scope)
            if not covered or not (text.isascii() and text.isdigit() and len(text) == 4 and text > "0000"):
                return NOTHING
            first, last = covered[0], covered[-1]
            end = monthrange(int(text), last)[1]
            return [{"start": f"{text}-{first:02}-01", "end": f"{text}-{last:02}-{end:02}"}], True

        return Part(make, self._needs(given["year"]))


def _lines(scope: Scope) -> list[Scope]:
    return [Scope(scope.run, row, scope.rows, scope.value) for row in scope.rows]


def _empty(_: Scope) -> str:
    return ""


def _text(part: Any) -> str:
    return part if isinstance(part, str) else str(part)
