"""Templates of FHIR elements, compiled to functions and checked against R4 as they are.

A leaf is a constant or an expression (`=`): ways to a value with commas between them, of which the first that gives
anything stands. A way is a leaf of the format and what is made of it:

    =LEAF                 converted to the element's type
    =LEAF | name words    through a code map (`codes`: `| map`, `| map only`, `| map quietly`), or the format's own turn
    =LEAF => Map          a reference to the resource that the map makes of the value
    =LEAF | entry careTeam words   the sequence of that entry of the record (`$by`)
    =$name                an expression that maps of the format share
    =LEAF if CONDITION    only where it holds
    ='text'               a constant that counts as said
    =#                    the place of the item in its list, from 1

An object whose expressions all give nothing is left out, constants or not. Of a choice (`value[x]`) the first that
gives anything stands. An element that takes one value has the first; others are counted as not mapped. Entries that
FHIR wants numbered (`sequence`) have their own numbers where all have one, and are numbered in order else.

    $needs: value         the object only where it has this element
    $when: CONDITION      the object, or `$value`, only where it holds; constants that it chose count as said
    $each: PLACES         the object once for each (the format says what can be gone through)
    $first: [a, b]        the first of the templates that gives anything
    $by: [careTeam, "=.", attending]   entries of one key are one entry, to which `| entry` points
    $value: TEMPLATE      a template where an object stands, for the directives beside it
    $join: [a, b]         the texts that there are, with `$with` between them (a blank by default), encoded where the
                          element is base64Binary; with `$sorted: true` in alphabetical order
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from cohortlake.core.catalog.mapping import CodeMap
from cohortlake.core.catalog.source import Location
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import Element, elements, primitive_types
from cohortlake.core.language import codes, parts
from cohortlake.core.language.parts import CONSTANT, NOTHING, NUMBER, Filled, Found, Make, Part, Test
from cohortlake.core.language.source import Leaf, Source, Turn

DIRECTIVES = ("$needs", "$when", "$each", "$first", "$join", "$with", "$sorted", "$by", "$value")
# Those that make values of what the record says.
MAKING = frozenset(("$each", "$first", "$join", "$value"))
# The types of FHIR that a text of a record may become by itself.
FROM_TEXT = frozenset(("Money",))
Fail = Callable[[Location, str], CatalogError]


S = TypeVar("S", bound=Source)


class Way(NamedTuple):
    """One way to a value: a leaf (None where this kind of file has none), its turn or target, a condition."""

    leaf: Leaf | None
    name: str
    argument: str
    target: str
    test: Test | None


class Compiler(Generic[S]):
    """Compiles the templates of one map, of this name. Raises CatalogError naming file and line.

    A part is None where this kind of file has nothing that it reads.
    """

    def __init__(self, name: str, source: S, maps: Mapping[str, CodeMap], fail: Fail) -> None:
        self.name, self.source, self.maps, self.fail = name, source, maps, fail

    def object(self, template: dict[str, Any], kind: str, at: Location) -> Part | None:
        """A complex element: `kind` is its R4 type. Its directives are the caller's. It needs what its parts need."""
        known = elements(kind)
        fills: list[Filled] = []
        for name, child in template.items():
            if name.startswith("$"):
                continue
            here = (*at, name)
            if name.endswith("[x]"):
                fills.append(Filled(*self._choice(name[:-3], child, kind, here), frozenset(), False, ""))
                continue
            bare = name.removeprefix("_")
            if bare not in known or (bare != name and known[bare].type not in primitive_types()):
                raise self.fail(here, f"{kind} has no element {name!r}; it has {', '.join(sorted(known))}")
            element = known[bare] if bare == name else known[bare]._replace(name=name, type="Element", codes=None)
            if isinstance(child, list) and not element.is_list:
                raise self.fail(here, "this element does not repeat, but the template has a list")
            items = child if isinstance(child, list) else [child]
            made = [part for item in items if (part := self.element(item, element.type, here)) is not None]
            if made:
                is_numbered = element.is_list and _has_sequence(element.type) and not any(map(_numbers_itself, items))
                is_apart = is_numbered or _bears_money(element.type)
                part = made[0] if len(made) == 1 else parts.all_of(made, is_apart=is_apart)
                allowed = frozenset(element.codes or ()) if element.type == "code" else frozenset[str]()
                path = ".".join((self.name, *map(str, here[1:])))
                absence = self._absence(child, here) if element.minimum else None
                fills.append(Filled(element, part, allowed, is_numbered, path, absence))
        return Part(parts.filled(fills), parts.needs_of(each.part for each in fills)) if fills else None

    def element(self, template: Any, kind: str, at: Location) -> Part | None:
        """One item of an element."""
        if isinstance(template, dict):
            return self._directed(template, kind, at)
        if isinstance(template, list):
            raise self.fail(at, "a list within a list")
        if template == "=#":
            return Part(lambda _: ([NUMBER], False), CONSTANT)
        if isinstance(template, str) and template.startswith("="):
            return self._expression(template[1:], kind, at)
        if kind not in primitive_types():
            raise self.fail(at, f"a {kind} takes its elements or an expression, not {template!r}")
        if not _is_of(template, kind):
            raise self.fail(at, f"{template!r} is no {kind}")
        return parts.constant(template)

    def test(self, text: str, at: Location) -> Test:
        """A condition."""
        test: Test = self.reads(self.source.test, text, at)
        return test

    def reads(self, read: Callable[[str], Any], text: Any, at: Location) -> Any:
        """What the source makes of a text; what it does not understand is an error of the declaration."""
        if not isinstance(text, str):
            raise self.fail(at, f"{text!r} is not a text; quote it, YAML takes .10 for a number")
        try:
            return read(text)
        except ValueError as error:
            raise self.fail(at, str(error)) from error

    def _directed(self, template: dict[str, Any], kind: str, at: Location) -> Part | None:
        for name in template:
            if name.startswith("$") and name not in DIRECTIVES and name not in self.source.directives:
                known = ", ".join((*DIRECTIVES, *self.source.directives))
                raise self.fail((*at, name), f"{name} is not known; known are {known}")
        part = self._inner(template, kind, at)
        if part is not None and "$by" in template:
            part = self._by(template["$by"], part, (*at, "$by"))
        if part is not None and "$when" in template:
            test = self.test(str(template["$when"]), (*at, "$when"))
            is_made = _says(template) or any(name in template for name in self.source.directives)
            part = parts.only(test, part if is_made else parts.counted(part))
        if part is None or "$each" not in template:
            return part
        each = self.reads(self.source.each, template["$each"], (*at, "$each"))
        return parts.repeated(each, part) if each is not None else None

    def _inner(self, template: dict[str, Any], kind: str, at: Location) -> Part | None:
        if "$value" in template:
            value = self.element(template["$value"], kind, at)
            return parts.counted(value) if value is not None else None
        if "$first" in template:
            return self._first([self.element(item, kind, at) for item in template["$first"]])
        if "$join" in template:
            texts = [self.element(item, "string", at) for item in template["$join"]]
            there = [part for part in texts if part is not None]
            between, is_sorted = str(template.get("$with", " ")), bool(template.get("$sorted"))
            return parts.joined(there, between, kind, self.source.convert, is_sorted=is_sorted) if there else None
        for name, make in self.source.directives.items():
            if name in template:
                return make(self, template, kind, at)
        if kind in primitive_types():
            raise self.fail(at, f"a {kind} takes one value, not an object")
        part = self.object(template, kind, at)
        return parts.needed(part, template.get("$needs")) if part is not None and _says(template) else part

    def _by(self, by: list[Any], part: Part, at: Location) -> Part:
        name, *key = (self.element(each, "string", at) for each in by)
        if name is None or name.needs != CONSTANT:
            raise self.fail(at, "$by takes the name of the entries first")
        return parts.keyed([name, *(each for each in key if each is not None)], part)

    def _first(self, made: list[Part | None]) -> Part | None:
        there = [part for part in made if part is not None]
        return parts.first_of(there) if there else None

    def _expression(self, text: str, kind: str, at: Location) -> Part | None:
        return self._first([self._made(way, kind, at) for way in self._ways(text, at)])

    def _ways(self, text: str, at: Location) -> Iterator[Way]:
        """The ways of an expression, those of the expressions that it names among them."""
        for given in split(text, ","):
            left, *conditions = split(given, " if ")
            left, *targets = split(left, " => ")
            left, *turns = split(left, " | ")
            if len(turns) + len(targets) > 1 or len(conditions) > 1:
                raise self.fail(at, f"{given!r}: a way has one turn or target, and one condition")
            test = self.test(conditions[0], at) if conditions else None
            if left.startswith("$"):
                if left[1:] not in self.source.expressions:
                    raise self.fail(at, f"there is no expression {left!r}")
                ways = self._ways(self.source.expressions[left[1:]], at)
                yield from (way._replace(test=test or way.test) for way in ways)
                continue
            leaf = self.reads(partial(self.source.leaf, for_target=bool(targets)), left, at)
            name, argument = _words(turns)
            yield Way(leaf, name, argument, targets[0] if targets else "", test)

    def _made(self, way: Way, kind: str, at: Location) -> Part | None:
        leaf = way.leaf
        turn = self._turn(way, kind, at)
        if leaf is None:
            return None
        part = Part(_one(leaf, turn) if leaf.one else _all(leaf, turn), leaf.needs)
        return parts.only(way.test, part) if way.test else part

    def _choice(self, base: str, template: Any, kind: str, at: Location) -> tuple[Element, Part]:
        """An element whose type is chosen by what is found (`value[x]`), its name and its value in one."""
        allowed = {name: element for name, element in elements(kind).items() if element.choice == base}
        if not allowed or not (isinstance(template, str) and template.startswith("=")):
            raise self.fail(at, f"{base}[x] needs to be a choice of {kind}, and one expression")
        ways = [way for way in self._ways(template[1:], at) if way.leaf is not None]
        turns = [
            {
                name: self._turn(way, element.type, at)
                for name, element in allowed.items()
                if not way.name or element.type == "CodeableConcept"
            }
            for way in ways
        ]

        def make(scope: Any) -> Found:
            for way, made_by in zip(ways, turns, strict=True):
                if way.leaf is None or (way.test and not way.test(scope)):
                    continue
                for value, place in way.leaf.read(scope):
                    # A value of a type that FHIR has no choice for is kept in words.
                    kinds = ["CodeableConcept"] if way.name else [*self.source.types_of(value), "String"]
                    for name in (f"{base}{each}" for each in kinds):
                        made = made_by[name](value, place, scope) if name in made_by else []
                        if made:
                            return [parts.Chosen(name, made[0])], True
            return NOTHING

        return next(iter(allowed.values())), Part(
            make, parts.needs_of(Part(make, way.leaf.needs) for way in ways if way.leaf)
        )

    def _absence(self, template: Any, at: Location) -> Callable[[Any], str | None] | None:
        """Why a required element is absent: what is said where its value would be."""
        if not (self.source.tells_absence and isinstance(template, str) and template.startswith("=")):
            return None
        ways = [way for way in self._ways(template[1:], at) if way.leaf is not None and not way.target]

        def absence(scope: Any) -> str | None:
            for way in ways:
                if way.leaf is None or (way.test and not way.test(scope)):
                    continue
                for value, _ in way.leaf.read(scope):
                    reason = self.source.absence(value)
                    if reason:
                        return reason
            return None

        return absence

    def _turn(self, way: Way, kind: str, at: Location) -> Turn:
        """What turns a value into the element's type."""
        name, argument = way.name, way.argument
        if way.target:
            if kind != "Reference":
                raise self.fail(at, f"=> {way.target} makes a Reference; a {kind} is expected here")
            refer: Turn = self.reads(self.source.refer, way.target, at)
            return refer
        if kind == "Reference" and not name and way.leaf is not None and way.leaf.is_reference:
            return _refer
        if name == "entry":
            return _pointer(argument.split(), self.source)
        if name in self.maps:
            if argument not in codes.MODES:
                raise self.fail(at, f"| {name} {argument}: after a map stands nothing, `only` or `quietly`")
            if kind not in codes.CODED and kind not in primitive_types():
                raise self.fail(at, f"a code map does not make a {kind}")
            return codes.through(self.maps[name], argument, kind, self.source)
        turn = self.reads(lambda text: self.source.turn(text, argument, kind), name, at)
        if turn is not None:
            made: Turn = turn
            return made
        if not name:
            raise self.fail(at, f"a {kind} takes its elements, a map or a turn")
        raise self.fail(at, f"there is no map or turn {name!r} that makes a {kind}; maps are {', '.join(self.maps)}")


def _words(turns: list[str]) -> tuple[str, str]:
    name, _, argument = turns[0].partition(" ") if turns else ("", "", "")
    return name, argument.strip()


def _all(leaf: Leaf, turn: Turn) -> Make:
    read = leaf.read

    def make(scope: Any) -> Found:
        values = [made for value, place in read(scope) for made in turn(value, place, scope)]
        return (values, True) if values else NOTHING

    return make


def _one(leaf: Leaf, turn: Turn) -> Make:
    read, place = leaf.one or str, leaf.place

    def make(scope: Any) -> Found:
        text = read(scope)
        if not text:
            return NOTHING
        values = turn(text, place, scope)
        return (values, True) if values else NOTHING

    return make


def _pointer(words: list[str], source: Source) -> Turn:
    """The sequence of an entry."""
    name, *rest = words

    def turn(value: Any, place: str, scope: Any) -> list[Any]:
        sequence = scope.run.numbers.get((name, *source.codes_of(value)[:1], *rest))
        return [sequence] if sequence is not None else []

    return turn


def split(text: str, mark: str) -> list[str]:
    """The parts of a text between marks that stand outside quotes and brackets."""
    found, depth, is_quoted, start = [], 0, False, 0
    for at, character in enumerate(text):
        if character == "'":
            is_quoted = not is_quoted
        elif not is_quoted:
            depth += (character in "[(") - (character in "])")
            if depth == 0 and text.startswith(mark, at):
                found.append(text[start:at].strip())
                start = at + len(mark)
    return [*found, text[start:].strip()]


def _refer(value: Any, place: str, scope: Any) -> list[Any]:
    return [{"reference": value}]


def _says(template: dict[str, Any]) -> bool:
    """Whether an object says something of the record, its own conditions aside; one of constants is the same always."""
    return any(name in MAKING or (not name.startswith("$") and _varies(value)) for name, value in template.items())


def _varies(template: Any) -> bool:
    if isinstance(template, dict):
        return any(name.startswith("$") or _varies(value) for name, value in template.items())
    if isinstance(template, list):
        return any(_varies(value) for value in template)
    return isinstance(template, str) and template.startswith("=")


def _has_sequence(kind: str) -> bool:
    """Whether FHIR wants entries of a type numbered."""
    return kind not in primitive_types() and "sequence" in elements(kind) and bool(elements(kind)["sequence"].minimum)


def _numbers_itself(template: Any) -> bool:
    return isinstance(template, dict) and template.get("sequence") == "=#"


def _bears_money(kind: str) -> bool:
    """Whether entries of a type are amounts; an extension is told apart by its url."""
    if kind == "Extension" or kind in primitive_types():
        return False
    return any(element.type == "Money" for element in elements(kind).values())


def _is_of(value: Any, kind: str) -> bool:
    """Whether a constant is of a primitive type."""
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "unsignedInt", "positiveInt"):
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "decimal":
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return isinstance(value, str)
