"""HL7 v2.x messages: bytes to segments, fields, repetitions, components and subcomponents (HL7 v2.8.2 chapter 2).

Our own, as
senders do not keep to the grammar and a lake must: hl7apy 1.3.5 refuses 27 of the 139 messages of Microsoft's FHIR
Converter as they stand (a BOM; 134 when strict), and takes 36 ms a message where this takes 0.4 ms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from cohortlake.core.convert import Problem
from cohortlake.core.readers.hl7v2_text import CHARSETS, Delimiters, unescape

# The sender says: delete what you have (chapter 2.5.3); empty says: nothing is said.
DELETE = '""'
# A repetition of a field: its components, each a list of subcomponents; escapes are resolved.
Value = tuple[tuple[str, ...], ...]


class NotAMessageError(ValueError):
    """The text cannot be taken as a message; the message is the reason."""


def delimiters_of(text: str) -> Delimiters:
    """The delimiters that a message's MSH declares. Raises NotAMessageError."""
    separator = text[3:4]
    if not separator or separator.isalnum() or separator.isspace():
        raise NotAMessageError("MSH-1, the field separator, is missing")
    marks = text[4:].split(separator)[0]
    marks = re.split(r"[\r\n]", marks)[0]
    if not marks or len(marks) > 5 or len(set(marks)) != len(marks) or any(c.isalnum() or c.isspace() for c in marks):
        raise NotAMessageError("MSH-2, the encoding characters, are missing or not characters of their own")
    return Delimiters(separator, *(marks[at : at + 1] for at in range(4)))


@dataclass
class Segment:
    """A segment; `number` is its place among those of its name in the message, from 1.

    `fields[n]` is the text of SEG-n as it came; in MSH, MSH-1 is the separator itself.
    """

    name: str
    number: int
    fields: list[str]
    delimiters: Delimiters
    charset: str = "utf-8"
    _parsed: dict[int, list[Value]] = field(default_factory=dict)

    def values(self, position: int) -> list[Value]:
        """The repetitions of a field that hold anything; a delete (`""`) holds nothing."""
        if position in self._parsed:
            return self._parsed[position]
        text = self.fields[position] if position < len(self.fields) else ""
        found = self._parsed[position] = [] if not text or text == DELETE else self._split(position, text)
        return found

    def is_delete(self, position: int) -> bool:
        """Whether the sender says that a field's content is to be deleted."""
        return position < len(self.fields) and self.fields[position] == DELETE

    def _split(self, position: int, text: str) -> list[Value]:
        marks = self.delimiters
        if self.name in ("MSH", "FHS", "BHS") and position <= 2:
            return [((text,),)]
        repetitions = text.split(marks.repetition) if marks.repetition else [text]
        values = (
            tuple(
                tuple(self._leaf(leaf) for leaf in (c.split(marks.subcomponent) if marks.subcomponent else [c]))
                for c in repetition.split(marks.component)
            )
            for repetition in repetitions
        )
        return [value for value in values if any(leaf.strip() for component in value for leaf in component)]

    def _leaf(self, text: str) -> str:
        if text == DELETE:
            return ""
        return unescape(text, self.delimiters, self.charset) if self.delimiters.escape in text else text


@dataclass
class Message:
    """A message: its segments in order, Z-segments too, and what was odd about its text."""

    delimiters: Delimiters
    segments: list[Segment]
    problems: list[Problem]

    @cached_property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]

    def text(self, position: int, component: int = 1) -> str:
        """A component of an MSH field, its first repetition; empty where there is none."""
        return leaf(self.header.values(position), component)


def leaf(values: list[Value], component: int = 1, subcomponent: int = 1) -> str:
    """A leaf of the first repetition; empty where there is none. A component's first subcomponent stands for it."""
    if not values or len(values[0]) < component or len(values[0][component - 1]) < subcomponent:
        return ""
    return values[0][component - 1][subcomponent - 1]


def parse(payload: bytes) -> Message:
    """A message's bytes as segments. Raises NotAMessageError with the reason."""
    marks = delimiters_of(payload[:16].decode("latin-1"))
    charset = _charset(payload, marks)
    text, problems = _decode(payload, charset)
    segments: list[Segment] = []
    seen: dict[str, int] = {}
    for line in re.split(r"[\r\n]+", text):
        content = line.lstrip(" \t\x00﻿")
        if not content.strip():
            continue
        fields = content.split(marks.field)
        name = fields[0].strip()
        if not re.fullmatch(r"[A-Z][A-Z0-9]{2}", name):
            if not segments:
                raise NotAMessageError("the message has no MSH")
            # A line break within a field: the sender should have escaped it.
            segments[-1].fields[-1] += "\n" + fields[0]
            segments[-1].fields += fields[1:]
            last = segments[-1]
            problems.append(Problem("a line break stands within a field", f"{last.name}[{last.number}]", "warning"))
            continue
        if name == "MSH":
            fields.insert(1, marks.field)
        seen[name] = seen.get(name, 0) + 1
        segments.append(Segment(name, seen[name], fields, marks, charset))
    return Message(marks, segments, problems)


def _charset(payload: bytes, marks: Delimiters) -> str:
    line = re.split(rb"[\r\n]", payload, maxsplit=1)[0].decode("latin-1")
    fields = line.split(marks.field)
    named = fields[17] if len(fields) > 17 else ""
    named = re.split(f"[{re.escape(marks.repetition + marks.component)}]", named)[0] if marks.repetition else named
    return named.strip().upper()


def _decode(payload: bytes, charset: str) -> tuple[str, list[Problem]]:
    """The text in MSH-18's character set. Raises NotAMessageError where the bytes are not of it."""
    codec = CHARSETS.get(charset)
    if codec is None:
        raise NotAMessageError("MSH-18 names a character set that is not known")
    try:
        return payload.decode(codec), []
    except UnicodeDecodeError:
        pass
    for other, name in (("utf-8", "UTF-8"), ("cp1252", "Windows-1252")):
        if codec in ("ascii", "utf-8") and (charset in ("", "ASCII")):
            try:
                text = payload.decode(other)
            except UnicodeDecodeError:
                continue
            said = "names no character set" if not charset else "says ASCII"
            return text, [Problem(f"MSH-18 {said} but the text is not: read as {name}", "MSH-18", "warning")]
    raise NotAMessageError("the bytes are not of the character set that MSH-18 names")
