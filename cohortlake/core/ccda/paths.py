"""Paths from an element of a document to others, as declarations write them: a small part of XPath.

`/a/b` starts at the document, `a/b` at the element, `..` goes up, `ancestor::section` to the nearest around; `@x` and
`text()` end a path. Predicates: `[@x='1|2']` (one of these), `[a/b]` (there is one), `[not(a)]`, `[1]`, `[same(a/@x)]`
(the same text there as at the element that the resource is made of), `[free()]` (no resource took it yet); `or` joins.
`(a/b)[1]` is the first of all that a path leads to, `(a/time)[earliest]` the earliest time of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from cohortlake.core.ccda.times import earliest
from cohortlake.core.readers.ccda import Node

# Acts that are facts of their own; reading one is what keeps it from being counted as not mapped.
ACTS = frozenset(("act", "encounter", "organizer", "procedure", "substanceAdministration", "supply"))
STATEMENTS = ACTS | {"observation", "observationMedia", "regionOfInterest"}
Found = Node | str
TOKEN = re.compile(r"\s*(/|\[|\]|\(|\)|=|'[^']*'|@?[A-Za-z_][\w.:-]*|\*|\d+|\.\.|\.)")


@dataclass
class Reading:
    """What is read for a resource: the element that it is made of, and the statements that were read so far."""

    entry: Node
    taken: set[Node] = field(default_factory=set)


Step = Callable[[Iterator[Node], Reading], Iterator[Found]]
Test = Callable[[Node, Reading], bool]


@dataclass(frozen=True)
class Path:
    """A compiled path."""

    text: str
    is_absolute: bool
    steps: tuple[tuple[str, tuple[Test, ...]], ...]
    pick: str = ""

    def select(self, node: Node, reading: Reading, *, is_made: bool = False) -> list[Found]:
        """What the path leads to, in the document's order.

        Statements on the way count as read, and so does what is found unless a resource is made of it (`is_made`).
        """
        if self.is_absolute:
            while node.parent is not None:
                node = node.parent
        found: list[Found] = [node]
        for name, tests in self.steps:
            found = [to for at in found if isinstance(at, Node) for to in _step(at, name, tests, reading)]
            if not found:
                break
        if self.pick:
            found = earliest(found) if self.pick == "earliest" else found[:1]
        for to in found:
            if isinstance(to, Node):
                _take(to.parent if is_made else to, reading)
        return found


def _take(node: Node | None, reading: Reading) -> None:
    """Count as read the statements between an element and the one that the resource is made of."""
    at = node
    while at is not None and at is not reading.entry and at.name != "section":
        if at.name in STATEMENTS:
            reading.taken.add(at)
        at = at.parent


def _step(at: Node, name: str, tests: tuple[Test, ...], reading: Reading) -> list[Found]:
    if name[0] == "@":
        value = at.attributes.get(name[1:])
        return [value] if value is not None else []
    if name == "text()":
        return [at.text()]
    if name == ".":
        found = [at]
    elif name == "..":
        found = [at.parent] if at.parent is not None else []
    elif name.startswith("ancestor::"):
        found = [around for around in _around(at) if around.name == name[10:]][:1]
    elif name == "*":
        found = [child for child in at.children if isinstance(child, Node)]
    else:
        found = at.elements(name)
    for test in tests:
        if isinstance(test, _Position):
            found = found[test.at - 1 : test.at]
        else:
            found = [node for node in found if test(node, reading)]
    return list(found)


def _around(at: Node) -> Iterator[Node]:
    parent = at.parent
    while parent is not None:
        yield parent
        parent = parent.parent


class _Position:
    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self, node: Node, reading: Reading) -> bool:
        return False


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        match = TOKEN.match(self.text, self.at)
        return match[1] if match else ""

    def next(self) -> str:
        match = TOKEN.match(self.text, self.at)
        if not match:
            raise ValueError(f"{self.text!r}: {self.text[self.at :]!r} is not understood")
        self.at = match.end()
        return match[1]

    def expect(self, token: str) -> None:
        found = self.peek()
        if found != token:
            raise ValueError(f"{self.text!r}: expected {token!r}, found {found or 'the end'!r}")
        self.next()

    def path(self) -> Path:
        start = self.at
        if self.peek() == "(":
            self.expect("(")
            inner = self.path()
            self.expect(")")
            self.expect("[")
            pick = self.next()
            if pick not in ("1", "earliest"):
                raise ValueError(f"{self.text!r}: expected '1' or 'earliest', found {pick!r}")
            self.expect("]")
            return replace(inner, pick=pick)
        is_absolute = self.peek() == "/"
        if is_absolute:
            self.next()
        steps = []
        while self.peek() and self.peek() not in "[]()=" and self.peek()[0] not in "/'0123456789":
            name = self.next()
            if name == "text" and self.peek() == "(":
                self.next()
                self.expect(")")
                name = "text()"
            tests = []
            while self.peek() == "[":
                self.next()
                tests.append(self.test())
                self.expect("]")
            steps.append((name, tuple(tests)))
            if self.peek() != "/":
                break
            self.next()
        if not steps and not is_absolute:
            raise ValueError(f"{self.text!r}: expected a path at {self.text[start:]!r}")
        return Path(self.text[start : self.at].strip(), is_absolute, tuple(steps))

    def test(self) -> Test:
        """One condition, or several joined by `or`."""
        tests = [self.condition()]
        while self.peek() == "or":
            self.next()
            tests.append(self.condition())
        if len(tests) == 1:
            return tests[0]
        return lambda node, reading: any(test(node, reading) for test in tests)

    def condition(self) -> Test:
        if self.peek().isdigit():
            return _Position(int(self.next()))
        if self.peek() in ("not", "same", "free") and self.text[self.at :].lstrip()[len(self.peek()) :][:1] == "(":
            return self.function(self.next())
        path = self.path()
        if self.peek() != "=":
            return lambda node, reading: bool(_look(path, node, reading))
        self.next()
        literal = self.next()
        if literal[0] != "'":
            raise ValueError(f"{self.text!r}: expected a text in quotes, found {literal!r}")
        wanted = frozenset(literal[1:-1].split("|"))
        return lambda node, reading: any(value in wanted for value in _look(path, node, reading))

    def function(self, name: str) -> Test:
        self.expect("(")
        if name == "free":
            self.expect(")")
            return lambda node, reading: node not in reading.taken
        if name == "not":
            inner = self.test()
            self.expect(")")
            return lambda node, reading: not inner(node, reading)
        path = self.path()
        self.expect(")")
        return lambda node, reading: _look(path, node, reading) == _look(path, reading.entry, reading)


def _look(path: Path, node: Node, reading: Reading) -> list[Found]:
    """What a path leads to, with nothing counted as read."""
    return path.select(node, Reading(reading.entry, set()) if path.steps else reading)


def compile_path(text: str) -> Path:
    """Raises ValueError, saying what is wrong, for what is no path."""
    parser = _Parser(text)
    path = parser.path()
    if parser.text[parser.at :].strip():
        raise ValueError(f"{text!r}: {parser.text[parser.at :]!r} is not understood")
    return path


def compile_test(text: str) -> Test:
    """A predicate without its brackets. Raises ValueError for what is none."""
    parser = _Parser(text)
    test = parser.test()
    if parser.text[parser.at :].strip():
        raise ValueError(f"{text!r}: {parser.text[parser.at :]!r} is not understood")
    return test
