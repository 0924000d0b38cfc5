"""X12 text: delimiters as an ISA declares them, segments, elements, components (ASC X12.5 and X12.6).

Our own: of the 31 files of imsweb's parser pyx12 4.0.0 accepts one, and gives up an interchange whose ISA is broken or
absent; linuxforhealth-x12 0.57.0 wants pydantic 1 and raises TypeError at each 837; TigerShark 0.3.4 takes five of the
broken ones as good and stops at the first fault; badx12 0.2.2 knows no guide. docs/x12.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

# Where the element separator stands in an ISA, which has a fixed width (X12.5, 105 characters and the terminator).
SEPARATORS = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)
WIDTHS = tuple(b - a - 1 for a, b in zip(SEPARATORS, (*SEPARATORS[1:], 105), strict=True))
WIDTH = 106
NAME = re.compile(r"[A-Z][A-Z0-9]{1,2}")
WHOLE = re.compile(r"[0-9]{1,18}")
BLANK = " \t\r\n\x00"


@dataclass(frozen=True)
class Delimiters:
    """The characters that separate; `repetition` is empty where the interchange has none."""

    element: str = "*"
    component: str = ":"
    repetition: str = "^"
    segment: str = "~"


@dataclass(frozen=True)
class Header:
    """What an ISA declares; `problem` is what is wrong with its form, with the element that is."""

    delimiters: Delimiters
    problem: tuple[str, str] | None = None


def whole(text: str) -> int | None:
    """A count or control number; None for what is none."""
    return int(text) if WHOLE.fullmatch(text) else None


def is_mark(character: str) -> bool:
    """Whether a character can separate: one that is no letter, digit or blank."""
    return len(character) == 1 and not character.isalnum() and character != " "


def header_of(text: str) -> Header:
    """The delimiters of an interchange whose text begins with its ISA.

    An ISA of another width is read by its separators, and told as a problem.
    """
    mark = text[3:4]
    if not is_mark(mark) or mark in "\r\n":
        return Header(Delimiters(), ("ISA is not followed by a separator", "ISA"))
    if len(text) >= WIDTH and all(text[place] == mark for place in SEPARATORS):
        component, segment, isa11 = text[104], text[105], text[82]
        return _checked(mark, component, segment, isa11, None)
    return _uneven(text, mark)


def _uneven(text: str, mark: str) -> Header:
    parts = text[: 4 * WIDTH].split(mark, 16)
    if len(parts) < 17 or len(parts[16]) < 2:
        return Header(Delimiters(element=mark), ("ISA has fewer than 16 elements", "ISA"))
    wrong = next(
        (n for n, (part, width) in enumerate(zip(parts[1:16], WIDTHS, strict=False), 1) if len(part) != width), 16
    )
    problem = (f"ISA{wrong:02} has another width than the standard's", f"ISA-{wrong:02}")
    return _checked(mark, parts[16][0], parts[16][1], parts[11], problem)


def _checked(mark: str, component: str, segment: str, isa11: str, problem: tuple[str, str] | None) -> Header:
    repetition = isa11 if is_mark(isa11) and isa11 not in (mark, component, segment) else ""
    marks = Delimiters(mark, component, repetition, segment)
    if not is_mark(component) or not is_mark(segment) or len({mark, component, segment}) < 3:
        problem = ("ISA declares delimiters that are not three characters of their own", "ISA-16")
        marks = Delimiters(element=mark)
    return Header(marks, problem)


@dataclass(frozen=True)
class Segment:
    """A segment: `number` is its place among those of its name, `position` its place in the set (ST is 1).

    `elements[n]` is element n as it came, `elements[0]` the name.
    """

    elements: tuple[str, ...]
    number: int
    position: int
    marks: Delimiters

    @cached_property
    def name(self) -> str:
        """The segment's identifier."""
        return self.elements[0]

    @cached_property
    def place(self) -> str:
        """The segment as problems name it, without values."""
        name = f"{self.name}[{self.number}], " if NAME.fullmatch(self.name) else ""
        return f"{name}segment {self.position} of the set"

    def at(self, element: int, component: int = 0) -> str:
        """The place of an element, and of a component in it: `CLM[2]-05, segment 23 of the set`."""
        inner = f".{component}" if component else ""
        return f"{self.name}[{self.number}]-{element:02}{inner}, segment {self.position} of the set"

    def text(self, element: int, component: int = 0) -> str:
        """An element, or one of its components, without blanks around; empty where there is none."""
        if element >= len(self.elements):
            return ""
        text = self.elements[element]
        if component:
            parts = text.split(self.marks.component)
            text = parts[component - 1] if component <= len(parts) else ""
        return text.strip()

    def repetitions(self, element: int) -> list[tuple[str, ...]]:
        """The repetitions of an element that hold anything, each as its components."""
        if element >= len(self.elements) or not self.elements[element].strip():
            return []
        text, marks = self.elements[element], self.marks
        parts = text.split(marks.repetition) if marks.repetition and marks.repetition in text else [text]
        values = (tuple(c.strip() for c in part.split(marks.component)) for part in parts)
        return [value for value in values if any(value)]


def segments(text: str, marks: Delimiters) -> Iterator[tuple[int, str]]:
    """The segments of a text with their places; line ends and blanks before a segment are no part of it."""
    start = 0
    while start < len(text):
        end = text.find(marks.segment, start)
        end = len(text) if end < 0 else end
        body = text[start:end]
        stripped = body.lstrip(BLANK)
        if stripped.strip(BLANK):
            yield start + len(body) - len(stripped), stripped
        start = end + 1


def numbered(texts: list[str], marks: Delimiters) -> list[Segment]:
    """Segments with their numbers, the first of them at position 1."""
    seen: dict[str, int] = {}
    found = []
    for position, text in enumerate(texts, 1):
        elements = tuple(text.split(marks.element))
        name = elements[0].strip(BLANK)
        seen[name] = seen.get(name, 0) + 1
        found.append(Segment((name, *elements[1:]), seen[name], position, marks))
    return found
