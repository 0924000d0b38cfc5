"""HL7 v2.x messages: bytes to messages, a message to segments, fields, repetitions, components and subcomponents.

HL7 v2.8.2 chapter 2 (delimiters, escapes, batch protocol) and the MLLP transport (0x0B message 0x1C 0x0D). Our own, as
senders do not keep to the grammar and a lake must: hl7apy 1.3.5 refuses 27 of the 139 messages of Microsoft's FHIR
Converter as they stand (a BOM; 134 when strict), and takes 36 ms a message where this takes 0.4 ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from cohortlake.core.convert import Problem, Record

BOM = b"\xef\xbb\xbf"
START, END = 0x0B, 0x1C
UTF16 = (b"\xff\xfe", b"\xfe\xff")
# A cut: where a frame begins, or a line that heads a message or heads or ends a batch.
CUT = re.compile(rb"\x0b\s*(?:MSH)?|(?:\A|(?<=[\r\n\x1c]))(?:MSH|FHS|BHS|BTS|FTS)(?![A-Za-z0-9])")
BLANK_LINE = re.compile(rb"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)\s*(?=(?:PID|EVN|SCH)[^A-Za-z0-9])")
SPACE = b" \t\r\n"
# The sender says: delete what you have (chapter 2.5.3); empty says: nothing is said.
DELETE = '""'
# HL7 table 0211 to Python's codecs.
CHARSETS = {
    "": "utf-8",
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    "ISO IR87": "iso2022_jp",
}

# A repetition of a field: its components, each a list of subcomponents; escapes are resolved.
Value = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Delimiters:
    """The characters of MSH-1 and MSH-2; one that MSH-2 lacks is empty, and then nothing is split by it."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def letters(self) -> dict[str, str]:
        """The letters of the escape sequences that stand for delimiters."""
        return {"F": self.field, "S": self.component, "R": self.repetition, "E": self.escape, "T": self.subcomponent}


class NotAMessageError(ValueError):
    """The text cannot be taken as a message; the message is the reason."""


def looks_like(head: bytes) -> bool:
    """Whether a file that begins with these bytes holds HL7 v2 messages."""
    return bool(re.match(rb"(?:\xef\xbb\xbf)?[\s\x0b]*(?:MSH|FHS|BHS)[^A-Za-z0-9\s]", head))


def records(data: bytes) -> Iterator[Record]:
    """The messages of a file in order, the broken ones and what stands between messages with their problem.

    A batch whose trailer counts other than what came, or that has none, adds a record of the trailer (or header) line
    with that problem; its messages stand for themselves.
    """
    if data.startswith(UTF16):
        yield Record(0, data, Problem("the file is UTF-16; messages are read as bytes of ASCII delimiters", "file"))
        return
    begin = len(BOM) if data.startswith(BOM) else 0
    cuts = [match.start() + begin for match in CUT.finditer(data[begin:])]
    if not cuts or data[begin : cuts[0]].strip(SPACE):
        cuts.insert(0, begin)
    batches = _Batches()
    for cut, stop in zip(cuts, [*cuts[1:], len(data)], strict=True):
        yield from _unit(data, cut, stop, batches)
    yield from batches.open_ones()


@dataclass
class _Batches:
    """The open file and batch headers (`FHS`, `BHS`) with what came since."""

    found: dict[str, tuple[Record, int]] = field(default_factory=dict)

    def message(self) -> None:
        if "BHS" in self.found:
            record, count = self.found["BHS"]
            self.found["BHS"] = record, count + 1

    def line(self, record: Record) -> Iterator[Record]:
        """Take a header or trailer; give it back where its count is wrong."""
        name, text = record.payload[:3].decode(), record.payload.decode("latin-1")
        if name in ("FHS", "BHS"):
            if name == "BHS" and "FHS" in self.found:
                head, count = self.found["FHS"]
                self.found["FHS"] = head, count + 1
            if name in self.found:
                yield self._unended(name)
            self.found[name] = record, 0
            return
        head_name, what = {"BTS": ("BHS", "messages"), "FTS": ("FHS", "batches")}[name]
        said = (text[4:].split(text[3:4])[0]).strip() if len(text) > 4 else ""
        if head_name not in self.found:
            yield Record(record.offset, record.payload, Problem(f"{name} ends what no {head_name} began", name))
            return
        _, count = self.found.pop(head_name)
        if said.isdigit() and int(said) != count:
            reason = f"{name}-1 counts other {what} than came"
            yield Record(record.offset, record.payload, Problem(reason, f"{name}-1: {said}, came: {count}"))

    def _unended(self, name: str) -> Record:
        record, _ = self.found.pop(name)
        trailer = {"BHS": "BTS", "FHS": "FTS"}[name]
        return Record(record.offset, record.payload, Problem(f"{name} without its {trailer}: cut off?", name))

    def open_ones(self) -> Iterator[Record]:
        for name in list(self.found):
            yield self._unended(name)


def _unit(data: bytes, cut: int, stop: int, batches: _Batches) -> Iterator[Record]:
    """What stands between two cuts: a message, a batch line, or a problem; and what follows a message in it."""
    start = cut
    if data[cut] == START:
        end = data.find(bytes([END]), cut, stop)
        if end < 0:
            yield Record(cut, data[cut:stop].rstrip(SPACE), Problem("the MLLP frame has no end: cut off?", "MLLP"))
            return
        start, frame_end = cut + 1, end
        rest = data[end + 1 : stop]
    else:
        end = data.find(bytes([END]), cut, stop)
        frame_end, rest = (end, data[end + 1 : stop]) if end >= 0 else (stop, b"")
    body = data[start:frame_end]
    stripped = body.lstrip(SPACE)
    start += len(body) - len(stripped)
    yield from _message(start, stripped.rstrip(SPACE), batches)
    if rest.strip(SPACE):
        yield Record(stop - len(rest), rest.strip(SPACE), Problem("bytes between messages: no MSH", "MSH"))


def _message(offset: int, body: bytes, batches: _Batches) -> Iterator[Record]:
    if body[:3] in (b"FHS", b"BHS", b"BTS", b"FTS"):
        line = re.split(rb"[\r\n]", body, maxsplit=1)
        yield from batches.line(Record(offset, line[0]))
        if len(line) > 1 and line[1].strip(SPACE):
            rest = line[1].strip(SPACE)
            yield Record(offset + body.index(rest, len(line[0])), rest, Problem("the message has no MSH", "MSH"))
        return
    if body[:3] != b"MSH":
        if body:
            yield Record(offset, body, Problem("the message has no MSH", "MSH"))
        return
    for at, part in _headless(offset, body):
        problem = _broken_header(part) if at == offset else Problem("the message has no MSH", "MSH")
        if problem is None:
            batches.message()
        yield Record(at, part, problem)


def _headless(offset: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """A message, and those that follow it after a blank line and lack their MSH.

    A patient or event after a blank line is another message's where the message has its own already; not where blank
    lines stand between all segments, the first two included.
    """
    first_line = re.split(rb"[\r\n]", body, maxsplit=1)[0]
    if re.match(rb"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)", body[len(first_line) :]):
        yield offset, body
        return
    begin = 0
    for match in BLANK_LINE.finditer(body):
        name = body[match.end() : match.end() + 3]
        if re.search(rb"[\r\n]" + name + rb"[^A-Za-z0-9]", body[begin : match.start()]) or begin:
            yield offset + begin, body[begin : match.start()].rstrip(SPACE)
            begin = match.end()
    yield offset + begin, body[begin:]


def _broken_header(body: bytes) -> Problem | None:
    try:
        delimiters_of(body[:16].decode("latin-1"))
    except NotAMessageError as error:
        return Problem(str(error), "MSH-2")
    return None


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


# Formatting that breaks the line, and the codec by which the hexadecimal escape's bytes are text.
BREAKS = (".br", ".sp", ".ce", ".sk")


@lru_cache(maxsize=64)
def _sequences(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    inner = r"[FSTREHNP]|X(?:[0-9A-Fa-f]{2})+|\.(?:br|sp|ce|sk|in|ti|fi|nf)[+-]?\d*|C[0-9A-Fa-f]{4}|M[0-9A-Fa-f]{4,6}"
    return re.compile(f"{mark}({inner}){mark}")


def unescape(text: str, marks: Delimiters, charset: str = "") -> str:
    r"""Text with its escape sequences resolved; one that is not known (`\Z..\`) stays as it came.

    Highlighting and indents (`\H\ \N\ \.in\`) are left out, as a FHIR string has none. A switch of the character set
    (`\Cxxyy\ \Mxxyyzz\`) back to ASCII or to the message's own is left out too; another one stays as it came.
    """
    codec = CHARSETS.get(charset, "utf-8")

    def resolve(match: re.Match[str]) -> str:
        sequence = match.group(1)
        if sequence in marks.letters:
            return marks.letters[sequence]
        if sequence.startswith("X"):
            raw = bytes.fromhex(sequence[1:])
            try:
                return raw.decode(codec)
            except UnicodeDecodeError:
                return raw.decode("latin-1")
        if sequence.startswith(BREAKS):
            return "\n"
        if sequence[0] in "CM" and sequence not in ("C2842", "C284A"):
            return match.group(0)
        return "#" if sequence == "P" else ""

    return _sequences(marks.escape).sub(resolve, text) if marks.escape else text


def escape(text: str, marks: Delimiters) -> str:
    r"""Text as it may stand in a field: delimiters and what a segment cannot hold are escaped (`\F\`, `\X0D\`)."""
    letters = {mark: letter for letter, mark in marks.letters.items() if mark}
    mark = marks.escape
    return "".join(
        f"{mark}{letters[c]}{mark}" if c in letters else f"{mark}X{ord(c):02X}{mark}" if ord(c) < 32 else c
        for c in text
    )
