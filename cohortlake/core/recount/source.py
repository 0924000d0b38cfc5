"""The recount of source files: what they hold, cut by other code than what landed them.

| format | cut into | seen |
|---|---|---|
| NDJSON | lines that are not blank | each record's bytes at its place |
| CSV | lines, joined where a quoted field holds line breaks | each record's bytes at its place |
| C-CDA | the members of the zip, or the file | each document's bytes at its place |
| HL7 v2 | segments, but for those that frame a batch | each segment's bytes, in any order |
| X12 | segments, but for the envelope's | each segment's bytes, in any order |
| CPCDS, RIF | lines, but for the header | each line's bytes, in any order: a claim's lines lie apart in the file |
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from cohortlake.core.recount.tally import MODULUS, Tally

BOM = b"\xef\xbb\xbf"
MOST_LINES = 1000
# Of longer documents the beginning is looked at: what is too long is not kept whole.
LONG = 32 * 1024 * 1024
ENVELOPE = {"hl7v2": (b"FHS", b"BHS", b"BTS", b"FTS"), "x12": (b"ISA", b"GS", b"GE", b"IEA", b"TA1")}
BY_LINE = ("fhir_ndjson", "csv")
Pieces = Iterator[tuple[int, bytes]]


def pieces(path: Path, form: str, start: int = 0, stop: int | None = None) -> Pieces:
    """The pieces of a file with their places; of a plain NDJSON file those that begin in [start, stop)."""
    if form == "fhir_ndjson":
        with _open(path) as stream:
            yield from _lines(stream, start, stop)
    elif form == "csv":
        with _open(path) as stream:
            yield from _csv_records(_lines(stream, 0, None))
    else:
        with _open(path) as stream:
            data = stream.read()
        if form == "ccda":
            yield from _documents(data)
        else:
            yield from ((0, piece) for piece in cut(data, form, is_file=True))


def cut(data: bytes, form: str, *, is_file: bool = False, header: bytes = b"") -> Iterator[bytes]:
    """A file's or a record's bytes as pieces without a place; `header` is that of the record's file."""
    data = data.removeprefix(BOM)
    if form in ENVELOPE:
        ends = (
            {data[at.start() + 105 : at.start() + 106] for at in re.finditer(rb"ISA", data)} if form == "x12" else set()
        )
        marks = b"".join(re.escape(end) for end in ends if not end.isalnum())
        for piece in re.split(rb"[\r\n\x00\x0b\x1c" + marks + rb"]+", data):
            kept = piece.strip(b" \t\x0c")
            if kept and not kept.startswith(ENVELOPE[form]):
                yield kept
        return
    lines = [line for line in re.split(rb"[\r\n]+", data) if line.strip()]
    if lines and (is_file or lines[0] == header):
        lines = lines[1:]
    yield from lines


def header_of(path: Path) -> bytes:
    """The first line of a file."""
    with _open(path) as stream:
        return next((line for line in re.split(rb"[\r\n]+", stream.read().removeprefix(BOM)) if line.strip()), b"")


def hashed(place: int, piece: bytes) -> int:
    """The hash of a piece at its place, 64 bits."""
    return int.from_bytes(hashlib.blake2b(b"%d:" % place + piece, digest_size=8).digest(), "big")


def tally_of(found: Iterable[tuple[int, bytes]]) -> Tally:
    """The tally of pieces."""
    rows = total = 0
    for place, piece in found:
        rows += 1
        total += hashed(place, piece)
    return Tally(rows, total % MODULUS)


def beyond(one: Iterable[tuple[int, bytes]], other: Iterable[tuple[int, bytes]]) -> tuple[int, int]:
    """How many pieces of each are not in the other."""
    mine, theirs = (Counter(hashed(*piece) for piece in found) for found in (one, other))
    return (mine - theirs).total(), (theirs - mine).total()


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as probe:
        is_zipped = probe.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(path) if is_zipped else path.open("rb"))


def _lines(stream: BinaryIO, start: int, stop: int | None) -> Pieces:
    """The lines that begin in [start, stop), without their ends; blank ones are none."""
    place = start
    if start:
        stream.seek(start - 1)
        place = start - 1 + len(stream.readline())
    for line in stream:
        if stop is not None and place >= stop:
            return
        text, at = line.removesuffix(b"\n").removesuffix(b"\r"), place
        place += len(line)
        if at == 0 and text.startswith(BOM):
            text, at = text[len(BOM) :], len(BOM)
        if text:
            yield at, text


def _csv_records(lines: Pieces) -> Pieces:
    """Lines without the header; those that a quoted field reaches over are one, where that has the header's fields.

    A quote that is never closed harms its own line only.
    """
    _, header = next(lines, (0, b""))
    width = _width(header)
    waiting: list[tuple[int, bytes]] = []
    for line in lines:
        waiting.append(line)
        waiting = yield from _settled(waiting, width, is_last=False)
    while waiting:
        waiting = yield from _settled(waiting, width, is_last=True)


def _settled(
    waiting: list[tuple[int, bytes]], width: int, *, is_last: bool
) -> Generator[tuple[int, bytes], None, list[tuple[int, bytes]]]:
    """Give the record that the first waiting line begins, if that can be told; gives back the lines that wait on."""
    while waiting:
        place, first = waiting[0]
        if first.count(b'"') % 2 == 0:
            yield place, first
            waiting = waiting[1:]
            continue
        joined, last = first, 0
        while joined.count(b'"') % 2 and last + 1 < min(len(waiting), MOST_LINES):
            last += 1
            joined += b"\n" + waiting[last][1]
        if joined.count(b'"') % 2 == 0 and last and _width(joined.replace(b"\n", b" ")) == width:
            yield place, joined
            waiting = waiting[last + 1 :]
        elif not is_last and joined.count(b'"') % 2 and len(waiting) < MOST_LINES:
            return waiting
        else:
            yield place, first
            waiting = waiting[1:]
    return waiting


def _width(line: bytes) -> int:
    """How many fields a line of CSV has; -1 where it is not one row."""
    csv.field_size_limit(sys.maxsize)
    try:
        rows = list(csv.reader(io.StringIO(line.decode("utf-8", "replace"), newline=""), strict=True))
    except csv.Error:
        return -1
    return len(rows[0]) if len(rows) == 1 else -1


def _documents(data: bytes) -> Pieces:
    """A file, or the members of a zip; one that cannot be unpacked has no bytes."""
    if not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield 0, data[:LONG]
        return
    try:
        members = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError):
        yield 0, data[:LONG]
        return
    for member in members.infolist():
        if not member.is_dir():
            try:
                yield member.header_offset, members.read(member)[:LONG]
            except Exception:  # zipfile has a class for each way to be broken
                yield member.header_offset, b""
