"""The recount of a landed file: what its source holds against what bronze and quarantine hold of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cohortlake.core.recount.source import BY_LINE, LONG, Pieces, beyond, cut, header_of, pieces, tally_of
from cohortlake.core.recount.tally import Tally


@dataclass
class Landed:
    """Records in bronze, those held, and those of the source; all pieces of both sides; and what does not agree.

    Of a format whose records are not lines, the source's records are those that bronze and quarantine have.
    """

    records: int = 0
    rows: int = 0
    held: int = 0
    must: Tally = field(default_factory=Tally)
    does: Tally = field(default_factory=Tally)
    problems: list[str] = field(default_factory=list)


def recount_landed(
    path: Path,
    form: str,
    parts: Sequence[Path],
    rejected: Path | None,
    span: tuple[int, int] | None,
    erased: int | None,
) -> Landed:
    """Count a file, or a span of it, against its parts of bronze and the records that were rejected.

    `erased` records stay out, since a person was erased; None where nothing of the silo was ever erased. A record of
    that person and of others is held without its payload: it is known by its place alone.
    """
    found = Landed()
    header = header_of(path) if form in ("rif", "cpcds") else b""

    def source() -> Pieces:
        return pieces(path, form, *(span or (0, None)))

    def kept() -> Pieces:
        for place, payload in _rejected(rejected):
            if payload is not None:
                yield from _pieces((place, payload), form, header)
        for part in parts:
            for record in _bronze(part):
                yield from _pieces(record, form, header)

    found.rows, found.held = sum(map(_count, parts)), _count(rejected)
    found.must, found.does = tally_of(source()), tally_of(kept())
    found.records = found.must.rows if form in BY_LINE else found.rows + found.held + (erased or 0)
    if found.must == found.does:
        return found
    lost, strange = beyond(source(), kept())
    if erased is not None:
        # What stays out is not there to compare, and of some records a part stays out.
        found.must = found.does = Tally()
        withheld = sum(payload is None for _, payload in _rejected(rejected))
        lost, strange = max(0, lost - erased - withheld) if form in BY_LINE and not strange else 0, 0
    what = "records" if form in BY_LINE else "pieces"
    if lost:
        found.problems.append(f"{lost:,} {what} of the file are not in bronze as they came")
    if strange:
        found.problems.append(f"{strange:,} {what} are in bronze that the file does not have")
    return found


def _count(file: Path | None) -> int:
    """The rows of a file, by reading a column of it."""
    return 0 if file is None else len(pq.read_table(file, columns=["offset"], partitioning=None))


def _bronze(part: Path) -> Iterator[tuple[int, bytes]]:
    for batch in pq.ParquetFile(part).iter_batches(columns=["offset", "payload", "encoding"]):
        for row in batch.to_pylist():
            yield row["offset"], _bytes(row)


def _bytes(row: Mapping[str, Any]) -> bytes:
    return bytes(row["payload"].encode(row["encoding"] or "utf-8"))


def _rejected(file: Path | None) -> Iterator[tuple[int, bytes | None]]:
    for row in pq.read_table(file, columns=["offset", "payload"]).to_pylist() if file else ():
        yield row["offset"], row["payload"]


def _pieces(record: tuple[int, bytes], form: str, header: bytes) -> Iterator[tuple[int, bytes]]:
    place, payload = record
    if form in BY_LINE or form == "ccda":
        yield place, payload if form in BY_LINE else payload[:LONG]
    else:
        yield from ((0, piece) for piece in cut(payload, form, header=header))
