"""Cutting files of X12 into transaction sets: several interchanges, groups and sets a file, any delimiters.

A record is a transaction set with the envelope that it came in (ISA, GS, ST to SE, GE, IEA), so that it can be read
alone. Nothing is lost: what stands outside a set, a set that is cut off and a trailer that counts other than what came
are records with their problem, and what follows is read on. Source: ASC X12.5 (interchange control), X12.6 (syntax).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cohortlake.core.convert import Problem, Record
from cohortlake.core.readers.x12_text import BLANK, Delimiters, Segment, header_of, numbered, segments, whole

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
ENVELOPE = ("ISA", "GS", "ST", "SE", "GE", "IEA")
# An ISA at the beginning of a line begins an interchange wherever it stands: the one before may be cut off.
ISA_LINE = re.compile(r"(?:\A|(?<=[\r\n]))[ \t]*ISA(?=[^A-Za-z0-9\s])")
NO_ISA = "there is no ISA: the delimiters are not declared"
HEADS = re.compile(
    rb"(?:\xef\xbb\xbf)?[\s\x00]*"
    rb"(?:ISA[^A-Za-z0-9\s]|GS[^A-Za-z0-9\s][A-Z]{2}[^A-Za-z0-9\s]|ST[^A-Za-z0-9\s]\d{3}[^A-Za-z0-9\s])"
)


def looks_like(head: bytes) -> bool:
    """Whether a file that begins with these bytes holds X12 interchanges, the ISA of the first may be missing."""
    return bool(HEADS.match(head))


def records(data: bytes) -> Iterator[Record]:
    """The transaction sets of a file in order, the broken ones and what is none with their problem."""
    if data.startswith(UTF16):
        yield Record(0, data, Problem("the file is UTF-16; X12 is read as bytes of ASCII delimiters", "file"))
        return
    begin = len(BOM) if data.startswith(BOM) else 0
    # One character a byte, so that places in the text are those in the file.
    text = data.decode("latin-1")
    for start, stop in _interchanges(text, begin):
        yield from _Interchange(text, start, stop).records()


def _interchanges(text: str, begin: int) -> Iterator[tuple[int, int]]:
    """The parts of a text that begin with an ISA; the first may have none."""
    cuts = [begin]
    while True:
        start = cuts[-1]
        found = _next_isa(text, start)
        if found is None:
            break
        cuts.append(found)
    for start, stop in zip(cuts, [*cuts[1:], len(text)], strict=True):
        if text[start:stop].strip(BLANK):
            yield start, stop


def _next_isa(text: str, start: int) -> int | None:
    """Where the interchange after the one at `start` begins: behind a terminator, or on a line of its own."""
    head = start
    while head < len(text) and text[head] in BLANK:
        head += 1
    marks = header_of(text[head : head + 512]).delimiters if text.startswith("ISA", head) else Delimiters()
    after = re.compile(f"{re.escape(marks.segment)}[\\s\\x00]*(?=ISA[^A-Za-z0-9\\s])")
    found = after.search(text, head + 3)
    line = ISA_LINE.search(text, head + 3)
    places = [match.end() if match is found else match.start() for match in (found, line) if match]
    return min(places) if places else None


@dataclass
class _Group:
    """A functional group: its GS, the sets that came in it, and its GE."""

    head: str
    offset: int
    sets: list[tuple[int, int, Problem | None]] = field(default_factory=list)
    tail: str = ""


class _Interchange:
    """One interchange, from its ISA (or without) to the next."""

    def __init__(self, text: str, start: int, stop: int) -> None:
        body = text[start:stop]
        lead = len(body) - len(body.lstrip(BLANK))
        self.start, self.text = start + lead, body[lead:]
        self.has_isa = self.text.startswith("ISA")
        self.header = header_of(self.text) if self.has_isa else None
        self.marks = self.header.delimiters if self.header else self._guess()
        self.isa = ""
        self.iea = ""
        self.groups: list[_Group] = []
        self.open: int | None = None
        self.others: list[Record] = []
        # Where a run of segments outside any set begins and ends.
        self.run: tuple[int, int] | None = None

    def _guess(self) -> Delimiters:
        """Delimiters of an interchange without ISA: what follows GS or ST, and the usual ones."""
        match = re.match(r"(?:GS|ST)([^A-Za-z0-9\s])", self.text)
        segment = "~" if "~" in self.text else "\n"
        return Delimiters(element=match[1] if match else "*", segment=segment)

    def records(self) -> Iterator[Record]:
        """The records of the interchange in the file's order."""
        for place, segment in segments(self.text, self.marks):
            self._take(place, segment)
        self._close(len(self.text), "the set has no SE: cut off?")
        self._end_run()
        found = [*self._sets(), *self.others, *self._trailers()]
        if not found and not self.iea:
            found = [self._record(0, self.text, Problem("the interchange has no set and no IEA: cut off?", "ISA"))]
        yield from sorted(found, key=lambda record: record.offset)

    def _take(self, place: int, text: str) -> None:
        name = text.split(self.marks.element, 1)[0].strip(BLANK)
        end = place + len(text)
        if name not in ENVELOPE:
            if name == "TA1" and self.open is None:
                self.others.append(self._record(place, f"{self.isa}{self.marks.segment}{text}", self._broken()))
            elif self.open is None:
                self.run = (self.run[0] if self.run else place, end)
            return
        self._end_run()
        if name == "SE" and self.open is not None:
            self.groups[-1].sets.append((self.open, end + 1, None))
            self.open = None
            return
        self._close(place, "the set has no SE: cut off?")
        if name == "ISA":
            self.isa = text
        elif name == "GS":
            self.groups.append(_Group(text, place))
        elif name == "ST":
            if not self.groups or self.groups[-1].tail:
                self.groups.append(_Group("", place))
            self.open = place
        elif name == "GE" and self.groups and not self.groups[-1].tail:
            self.groups[-1].tail = text
            self._count(self.groups[-1], place)
        elif name == "IEA" and not self.iea:
            self.iea = text
        else:
            self._stray(place, text, f"{name} ends what nothing began")

    def _close(self, end: int, reason: str) -> None:
        if self.open is not None:
            self.groups[-1].sets.append((self.open, end, Problem(reason, "SE")))
            self.open = None

    def _end_run(self) -> None:
        if self.run:
            start, end = self.run
            self._stray(start, self.text[start:end], "segments stand outside a transaction set")
            self.run = None

    def _stray(self, place: int, text: str, reason: str) -> None:
        self.others.append(self._record(place, text, Problem(reason, "between sets")))

    def _count(self, group: _Group, place: int) -> None:
        said = _element(group.tail, 1, self.marks)
        if whole(said) != len(group.sets):
            reason = Problem("GE-01 counts other transaction sets than came", f"GE-01, came: {len(group.sets)}")
            self.others.append(self._record(place, group.tail, reason))

    def _trailers(self) -> Iterator[Record]:
        groups = sum(bool(group.head) for group in self.groups)
        if not self.iea or not groups:
            return
        said = _element(self.iea, 1, self.marks)
        if whole(said) != groups:
            reason = Problem("IEA-01 counts other functional groups than came", f"IEA-01, came: {groups}")
            yield self._record(self.text.rfind(self.iea), self.iea, reason)

    def _sets(self) -> Iterator[Record]:
        ended = self.marks.segment
        for group in self.groups:
            for start, stop, problem in group.sets:
                body = self.text[start:stop].rstrip(BLANK if ended not in BLANK else "")
                body = body if body.endswith(ended) else body + ended
                around = [f"{part}{ended}" if part else "" for part in (self.isa, group.head, group.tail, self.iea)]
                payload = "".join([*around[:2], body, *around[2:]])
                yield self._record(start, payload, self._broken() or problem)

    def _broken(self) -> Problem | None:
        if self.header is None:
            return Problem(NO_ISA, "ISA")
        return Problem(*self.header.problem) if self.header.problem else None

    def _record(self, place: int, payload: str, problem: Problem | None) -> Record:
        return Record(self.start + place, payload.encode("latin-1"), problem)


def _element(text: str, number: int, marks: Delimiters) -> str:
    parts = text.split(marks.element)
    return parts[number].strip(BLANK) if number < len(parts) else ""


@dataclass(frozen=True)
class TransactionSet:
    """A transaction set with its envelope; `body` goes from ST to SE. Trailers that did not come are None."""

    marks: Delimiters
    isa: Segment
    gs: Segment | None
    body: list[Segment]
    ge: Segment | None
    iea: Segment | None
    ta1: Segment | None
    is_utf8: bool

    @property
    def kind(self) -> str:
        """ST01: `837`, `835`, ..."""
        return self.body[0].text(1) if self.body else ""

    @property
    def guide(self) -> str:
        """The implementation guide: ST03, else GS08."""
        said = self.body[0].text(3) if self.body else ""
        return said or (self.gs.text(8) if self.gs else "")


def parse(payload: bytes) -> TransactionSet:
    """A record's payload as segments; text that is not UTF-8 is taken as Windows-1252."""
    try:
        text, is_utf8 = payload.decode("utf-8"), True
    except UnicodeDecodeError:
        text, is_utf8 = payload.decode("cp1252", errors="replace"), False
    marks = header_of(text).delimiters
    parts = [part for _, part in segments(text, marks)]
    names = [part.split(marks.element, 1)[0].strip(BLANK) for part in parts]
    first = names.index("ST") if "ST" in names else len(names)
    last = len(names) - names[::-1].index("SE") if "SE" in names else len(names)
    around = {s.name: s for s in numbered([*parts[:first], *parts[last:]], marks)}
    body = numbered(parts[first:last], marks)
    isa = around.get("ISA") or Segment(("ISA",), 1, 1, marks)
    return TransactionSet(
        marks, isa, around.get("GS"), body, around.get("GE"), around.get("IEA"), around.get("TA1"), is_utf8
    )
