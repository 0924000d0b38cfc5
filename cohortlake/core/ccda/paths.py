"""Paths from an element of a document to others, as declarations write them: a small part of XPath.

`/a/b` starts at the document, `a/b` at the element, `..` goes up, `ancestor::section` to the nearest around; `@x` and
`text()` end a path. Predicates: `[@x='1|2']` (one of these), `[a/b]` (there is one), `[not(a)]`, `[1]`, `[same(a/@x)]`
(the same text there as at the element that the resource is made of), `[free()]` (no resource took it yet); `or` joins.
`(a/b)[1]` is the first of all that a path leads to, `(a/time)[earliest]` the earliest time of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

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


Test = Callable[[Node, Reading], bool]
Step = Callable[[Node, Reading], Sequence[Found]]


@dataclass(frozen=True)
class Path:
    """A compiled path. `first` is its first step, `.` where it does not begin at the element; `ends_in_text` says
    that it leads to an attribute or to text."""

    text: str
    is_absolute: bool
    first: str
    ends_in_text: bool
    steps: tuple[Step, ...]
    pick: str = ""

    def find(self, node: Node, reading: Reading) -> Sequence[Found]:
        """What the path leads to, in the document's order; nothing counts as read."""
        if self.is_absolute:
            while node.parent is not None:
                node = node.parent
        found: Sequence[Any] = (node,)
        for step in self.steps:
            found = step(found[0], reading) if len(found) == 1 else [to for at in found for to in step(at, reading)]
            if not found:
                return found
        if self.pick:
            return earliest(found) if self.pick == "earliest" else found[:1]
        return found

    def select(self, node: Node, reading: Reading, *, is_made: bool = False) -> Sequence[Found]:
        """What the path leads to. Statements on the way count as read.

        So does what is found unless a resource is made of it (`is_made`).
        """
        found = self.find(node, reading)
        if not self.ends_in_text:
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


def _step(name: str, tests: Sequence[Test]) -> Step:
    """From an element to those that a step of a path leads to."""
    go = _axis(name)
    if not tests:
        return lambda at, reading: go(at)

    def step(at: Node, reading: Reading) -> Sequence[Found]:
        found = go(at)
        for test in tests:
            if not found:
                break
            if isinstance(test, _Position):
                found = found[test.at - 1 : test.at]
            else:
                found = [node for node in found if test(node, reading)]
        return found

    return step


def _axis(name: str) -> Callable[[Node], Sequence[Any]]:
    if name[0] == "@":
        attribute = name[1:]
        return lambda at: (at.attributes[attribute],) if attribute in at.attributes else ()
    if name == "text()":
        return lambda at: (at.text(),)
    if name == ".":
        return lambda at: (at,)
    if name == "..":
        return lambda at: (at.parent,) if at.parent is not None else ()
    if name.startswith("ancestor::"):
        return lambda at: list(islice((around for around in _around(at) if around.name == name[10:]), 1))
    if name == "*":
        return lambda at: [child for child in at.children if isinstance(child, Node)]
    return lambda at: at.named.get(name, ())


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
        names: list[str] = []
        steps: list[Step] = []
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
            if names and _ends(names[-1]):
                raise ValueError(f"{self.text!r}: {names[-1]!r} ends a path")
            names.append(name)
            steps.append(_step(name, tests))
            if self.peek() != "/":
                break
            self.next()
        if not steps and not is_absolute:
            raise ValueError(f"{self.text!r}: expected a path at {self.text[start:]!r}")
        first = "." if is_absolute or not names else names[0]
        text = self.text[start : self.at].strip()
        return Path(text, is_absolute, first, bool(names) and _ends(names[-1]), tuple(steps))

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
            return lambda node, reading: bool(path.find(node, reading))
        self.next()
        literal = self.next()
        if literal[0] != "'":
            raise ValueError(f"{self.text!r}: expected a text in quotes, found {literal!r}")
        wanted = frozenset(literal[1:-1].split("|"))
        return lambda node, reading: not wanted.isdisjoint(path.find(node, reading))

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
        return lambda node, reading: list(path.find(node, reading)) == list(path.find(reading.entry, reading))


def _ends(step: str) -> bool:
    """Whether a step leads to text, after which there is none."""
    return step[0] == "@" or step == "text()"


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
