"""Cutting files into records without reading their meaning: NDJSON by line, CSV by line with quoted line breaks.

Bytes in, Arrow arrays out; a record keeps its place, the byte offset of its start in the (unzipped) file.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.readers.csv_text import csv_header, rows_of

BLOCK = 8 * 1024 * 1024
BOM = b"\xef\xbb\xbf"
OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
# A quoted field may hold line breaks; more than this many lines is a quote that was never closed.
MAX_CSV_LINES = 1000
# Formats that are not cut by line are read whole: no file of theirs may be larger.
WHOLE = 2 * 1024**3


class UnreadableFileError(Exception):
    """The file as a whole cannot be taken: cut off, or in another encoding. The message is the reason."""


@dataclass
class Records:
    """Some records of a file: byte `offsets` (int64) and `payload` (binary), of equal length, no line ends."""

    offsets: pa.Array
    payload: pa.Array


def is_gzip(path: Path) -> bool:
    """Whether a file is gzip, by its first bytes."""
    with path.open("rb") as probe:
        return probe.read(2) == b"\x1f\x8b"


def open_stream(path: Path) -> BinaryIO:
    """The file's bytes, unzipped if it is gzip by its first bytes, whatever its name."""
    return cast("BinaryIO", gzip.open(path, "rb") if is_gzip(path) else path.open("rb"))


def read_whole(path: Path) -> bytes:
    """All of a file's bytes, unzipped. Raises UnreadableFileError, also for more than `WHOLE` of them."""
    with open_stream(path) as stream:
        data = _read(stream, WHOLE + 1)
    if len(data) > WHOLE:
        raise UnreadableFileError(f"larger than {WHOLE} bytes: the sender should split it")
    return data


def _read(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except EOFError as error:
        raise UnreadableFileError("gzip stream ends early: the file is truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableFileError(f"gzip stream is damaged: {error}") from error


def _blocks(stream: BinaryIO, start: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines with their offsets: the lines that begin in [start, end)."""
    position = start
    if start > 0:
        stream.seek(start - 1)
        # The line that reaches over the start belongs to the range before.
        while True:
            block = _read(stream, BLOCK)
            cut = block.find(b"\n")
            if cut >= 0 or not block:
                break
            position += len(block)
        position = stream.tell() - len(block) + cut + 1 if block else position
        if not block:
            return
        carry = block[cut + 1 :]
    else:
        carry = b""
    while end is None or position < end:
        block = _read(stream, BLOCK)
        data = carry + block
        if not data:
            return
        cut = data.rfind(b"\n") + 1 if block else len(data)
        if cut == 0:
            carry = data
            continue
        lines, carry = data[:cut], data[cut:]
        if end is not None and position + len(lines) > end:
            last = lines.find(b"\n", max(0, end - position - 1)) + 1
            yield position, lines[: last or len(lines)]
            return
        yield position, lines
        position += len(lines)


def _frame(position: int, lines: bytes) -> Records:
    """Lines of a block as records; blank ones are not records."""
    if not lines.endswith(b"\n"):
        lines += b"\n"
    ends = np.flatnonzero(np.frombuffer(lines, dtype=np.uint8) == 10)
    offsets = pa.array(np.concatenate(([0], ends[:-1] + 1)).astype(np.int64) + position)
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n")
        ends = np.flatnonzero(np.frombuffer(lines, dtype=np.uint8) == 10)
    starts: np.ndarray = np.empty(len(ends) + 1, dtype=np.int32)
    starts[0], starts[1:] = 0, ends + 1
    whole = pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(starts), pa.py_buffer(lines)])
    payload = pc.binary_slice(whole, 0, -1)
    filled = pc.greater(pc.binary_length(payload), 0)
    if pc.all(filled).as_py():
        return Records(offsets, payload)
    return Records(offsets.filter(filled), payload.filter(filled))


def _is_whole(record: bytes, fields: int) -> bool:
    text = record.decode("utf-8", errors="replace")
    try:
        return [len(row) for row in rows_of(text)] == [fields]
    except csv.Error:
        return False


def _join_quoted(records: Records, fields: int, is_last: bool) -> tuple[Records, Records]:
    """Lines joined where a quoted field holds line breaks, and the lines that need those to come to tell.

    A quote that is never closed harms its own line only.
    """
    offsets, lines = records.offsets.to_pylist(), records.payload.to_pylist()
    kept_offsets: list[int] = []
    kept: list[bytes] = []
    index = 0
    while index < len(lines):
        record, following = lines[index], index + 1
        if record.count(b'"') % 2:
            joined, last = record, index
            while joined.count(b'"') % 2 and last + 1 < min(index + MAX_CSV_LINES, len(lines)):
                last += 1
                joined += b"\n" + lines[last]
            if joined.count(b'"') % 2 == 0 and _is_whole(joined.replace(b"\n", b" "), fields):
                record, following = joined, last + 1
            elif not is_last and last + 1 == len(lines) and last + 1 - index < MAX_CSV_LINES:
                break
        kept_offsets.append(offsets[index])
        kept.append(record)
        index = following
    rest = Records(records.offsets.slice(index), records.payload.slice(index))
    return Records(pa.array(kept_offsets, pa.int64()), pa.array(kept, pa.binary())), rest


def read_records(path: Path, start: int = 0, end: int | None = None) -> Iterator[Records]:
    """The records of an NDJSON file, or of those that begin in the byte range [start, end) of a plain one.

    Raises UnreadableFileError for a truncated or damaged gzip stream and for UTF-16.
    """
    with open_stream(path) as stream:
        for position, lines in _blocks(stream, start, end):
            if position == 0:
                encoding = OTHER_ENCODINGS.get(lines[:2])
                if encoding:
                    raise UnreadableFileError(f"the file is {encoding}; UTF-8 is expected")
                if lines.startswith(BOM):
                    position, lines = len(BOM), lines[len(BOM) :]
                    if not lines:
                        continue
            yield _frame(position, lines)


def read_csv_records(path: Path) -> Iterator[tuple[str, Records]]:
    """A CSV file's header line with its records, a batch at a time; nothing for an empty file.

    Raises UnreadableFileError as `read_records`, and for a header that is not UTF-8.
    """
    header, fields = None, 0
    rest = Records(pa.array([], pa.int64()), pa.array([], pa.binary()))
    for records in read_records(path):
        if header is None:
            first = records.payload[0].as_py() if len(records.payload) else b""
            try:
                header = first.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UnreadableFileError("the header is not UTF-8") from error
            fields = len(csv_header(header))
            records = Records(records.offsets.slice(1), records.payload.slice(1))
        if len(rest.payload) or pc.any(pc.match_substring(records.payload, '"')).as_py():
            whole = [pa.concat_arrays(pair) for pair in zip(_columns(rest), _columns(records), strict=True)]
            records, rest = _join_quoted(Records(*whole), fields, is_last=False)
        yield header, records
    if header is not None and len(rest.payload):
        yield header, _join_quoted(rest, fields, is_last=True)[0]


def _columns(records: Records) -> tuple[pa.Array, pa.Array]:
    return records.offsets, records.payload
