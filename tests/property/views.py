"""ViewDefinitions over a vocabulary: nested and sibling selects, iterations, unions, where, constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.property.paths import Expression, Focus, Paths, kind
from tests.property.resources import VALUES
from tests.property.vocabulary import Vocabulary

View = dict[str, Any]
CONSTANTS = {
    "valueBoolean": VALUES["boolean"],
    "valueCode": ("a", "b", "O'Brien"),
    "valueDate": ("2020", "2020-01-31"),
    "valueDateTime": ("2020-02", "2020-02-01T04:30:00Z"),
    "valueDecimal": (1.5, 2.25),
    "valueInstant": ("2020-02-01T04:30:00.000Z",),
    "valueInteger": (0, 2),
    "valuePositiveInt": (1, 3),
    "valueString": ("a", "Zoë", "01"),
    "valueTime": ("10:30:00",),
    "valueUri": VALUES["uri"],
}
# What a column of a kind declares: one type, so that the branches of a union agree.
DECLARED = {
    "boolean": "boolean",
    "integer": "integer",
    "decimal": "decimal",
    "string": "string",
    "date": "dateTime",
    "time": "time",
}
# The ways down that lead to more of the same, by the type that they start from.
RECURSIONS = {
    "QuestionnaireResponse": (("item",), ("item", "answer.item")),
    "QuestionnaireResponse.item": (("item",), ("answer.item",), ("answer.item", "item")),
    "Questionnaire": (("item",),),
    "Questionnaire.item": (("item",),),
}


@dataclass(frozen=True)
class Column:
    """What a union asks of each of its branches."""

    name: str
    kind: str
    is_collection: bool
    is_declared: bool


@st.composite
def views(draw: DrawFn, vocabulary: Vocabulary) -> View:
    constants = draw(st.lists(st.sampled_from(sorted(CONSTANTS)), max_size=4, unique=True))
    given = [{"name": f"k{i}", name: draw(st.sampled_from(CONSTANTS[name]))} for i, name in enumerate(constants)]
    written = draw(st.sampled_from(("%k{}", "%k{}", "%`k{}`", "%'k{}'")))
    known = [Expression(written.format(i), name[5].lower() + name[6:]) for i, name in enumerate(constants)]
    return Views(Paths(draw, vocabulary, known)).view(given)


@dataclass
class Views:
    paths: Paths
    numbers: count[int] = field(default_factory=count)

    def some(self, most: int, least: int = 0) -> range:
        return range(self.paths.draw(st.integers(least, most)))

    def view(self, constants: Sequence[View]) -> View:
        root = Focus(self.paths.vocabulary.resource, is_root=True)
        found: View = {"resource": root.type, "select": [self.select(root, 2) for _ in self.some(3, 1)]}
        if self.paths.chance(5) and (column := self.too_many(root)):
            # Alone, for what gives no row, by an iteration over nothing, is not looked at.
            found["select"] = [{"column": [column]}]
        elif self.paths.chance(4):
            found["where"] = [{"path": self.paths.boolean(root, 2).text} for _ in self.some(2, 1)]
        return {**found, "constant": list(constants)} if constants else found

    def select(self, focus: Focus, depth: int) -> View:
        found, item = self.iteration(focus)
        if columns := [self.column(item) for _ in self.some(3)]:
            found["column"] = columns
        if depth and (selects := [self.select(item, depth - 1) for _ in self.some(2)]):
            found["select"] = selects
        if depth and self.paths.chance(4):
            # Left to themselves, one branch's number might be an integer and another's a decimal, which is an error.
            wanted = [replace(self.wanted(item), is_declared=True) for _ in self.some(2, 1)]
            found |= self.union(item, wanted, depth - 1)
        if not found.keys() & {"column", "select", "unionAll"}:
            found["column"] = [self.column(item)]
        return found

    def iteration(self, focus: Focus) -> tuple[View, Focus]:
        """An iteration or none, and the focus inside of it."""
        chosen = self.paths.one_of(("", "", "", "forEach", "forEachOrNull", "forEachOrNull", "repeat"))
        if chosen == "repeat" and (paths := self.recursion(focus)):
            item = "Extension" if paths == ("extension",) else f"{focus.type.partition('.')[0]}.item"
            return {"repeat": list(paths)}, Focus(item, is_repeated=True)
        # Ways to complex types are the interesting ones: there is more below them.
        is_complex = self.paths.chance(2)
        path = self.paths.path(focus, lambda name: not is_complex or kind(name) == "complex", 1) if chosen else None
        if path is None or path.text == "$this":
            return {}, focus
        keyword = "forEachOrNull" if chosen == "forEachOrNull" else "forEach"
        return {keyword: path.text}, Focus(path.type, is_repeated=focus.is_repeated)

    def recursion(self, focus: Focus) -> tuple[str, ...]:
        """The paths of a `repeat`, none where there is nothing to repeat. One within another is rare: it takes long."""
        options = RECURSIONS.get(focus.type, ())
        if "extension" in {element.name for element in self.paths.vocabulary.of(focus.type)}:
            options = (*options, ("extension",))
        return self.paths.one_of(options) if options and (not focus.is_repeated or self.paths.chance(8)) else ()

    def column(self, focus: Focus) -> View:
        if self.paths.chance(8):
            complex_column = self.complex_column(focus)
            if complex_column:
                return complex_column
        return self.filled(self.wanted(focus), focus)

    def too_many(self, focus: Focus) -> View | None:
        """A column of one value, over a path that may have several."""
        path = self.paths.path(focus, lambda name: kind(name) != "complex", 1)
        return {"name": self.name(), "path": path.text} if path and path.is_list else None

    def complex_column(self, focus: Focus) -> View | None:
        path = self.paths.path(focus, lambda name: kind(name) == "complex" and name != focus.type, 1)
        if path is None:
            return None
        found = {"name": self.name(), "path": path.text, "type": path.type}
        return {**found, "collection": True} if path.is_list else found

    def name(self) -> str:
        return f"c{next(self.numbers)}"

    def wanted(self, focus: Focus) -> Column:
        return Column(self.name(), self.paths.scalar(focus), self.paths.chance(5), not self.paths.chance(4))

    def filled(self, wanted: Column, focus: Focus) -> View:
        """A column as it is wanted, over a focus."""
        path = self.paths.path(focus, lambda name: kind(name) == wanted.kind, 2) if not self.paths.chance(3) else None
        if wanted.kind == "string" and self.paths.chance(6):
            path = self.paths.references(focus, 1) or path
        if path is None:
            path = self.paths.value(wanted.kind, focus, 2)
        if not wanted.is_collection:
            path = self.paths.single(path)
        found: View = {"name": wanted.name, "path": path.text}
        if wanted.is_declared:
            found["type"] = DECLARED[wanted.kind]
        return {**found, "collection": True} if wanted.is_collection else found

    def union(self, focus: Focus, wanted: Sequence[Column], depth: int) -> View:
        return {"unionAll": [self.branch(focus, wanted, depth) for _ in self.some(3, 1)]}

    def branch(self, focus: Focus, wanted: Sequence[Column], depth: int) -> View:
        """The same columns, here side by side, there in nested selects or unions."""
        found, item = self.iteration(focus)
        cut = self.paths.draw(st.integers(0, len(wanted))) if depth else len(wanted)
        if cut:
            found["column"] = [self.filled(column, item) for column in wanted[:cut]]
        if wanted[cut:]:
            if self.paths.chance(2):
                return {**found, "select": [self.branch(item, wanted[cut:], depth - 1)]}
            return {**found, **self.union(item, wanted[cut:], depth - 1)}
        return found
