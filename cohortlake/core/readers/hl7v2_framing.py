"""Cutting files of HL7 v2 into messages: one or many in a file, batches (FHS, BHS), MLLP frames, any line ends.

HL7 v2.8.2 chapter 2.10.3 (batch protocol) and the MLLP transport (0x0B message 0x1C 0x0D). Nothing is lost: what is no
message, or a broken one, is a record with its problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cohortlake.core.convert import Problem, Record
from cohortlake.core.readers.hl7v2 import NotAMessageError, delimiters_of

BOM = b"\xef\xbb\xbf"
START, END = 0x0B, 0x1C
UTF16 = (b"\xff\xfe", b"\xfe\xff")
# A cut: where a frame begins, or a line that heads a message or heads or ends a batch.
CUT = re.compile(rb"\x0b\s*(?:MSH)?|(?:\A|(?<=[\r\n\x1c]))[ \t]*(?:MSH|FHS|BHS|BTS|FTS)(?![A-Za-z0-9])")
BLANK_LINE = re.compile(rb"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)\s*(?=(?:PID|EVN|SCH)[^A-Za-z0-9])")
SPACE = b" \t\r\n"


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
    if not data[begin:].strip(SPACE):
        return
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
