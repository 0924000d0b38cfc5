"""The proof of an erasure: every file of a lake, read as text, holds none of the person's traits."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.erasure import Search
from cohortlake.core.readers.framing import is_gzip
from cohortlake.core.sql import literal

ROWS = 20_000
PARQUET, ZIP = b"PAR1", b"PK\x03\x04"
BLOCK = 1024 * 1024


@dataclass
class Proof:
    """What was searched: files, and the texts in them (rows of Parquet, else lines); and where how many traits were."""

    files: int = 0
    texts: int = 0
    found: dict[str, int] = field(default_factory=dict)


def texts(path: Path) -> Iterator[str]:
    """A file's content as text: Parquet's rows with all their columns, and its footer; else lines, unzipped."""
    with path.open("rb") as stream:
        head = stream.read(4)
    if head == PARQUET:
        yield from _parquet(path)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name
                with archive.open(name) as stream:
                    yield from _lines(_blocks(stream))
    else:
        with path.open("rb") as stream:
            blocks = _blocks(stream)
            yield from _lines(_inflated(blocks) if is_gzip(path) else blocks)


def is_opaque(path: Path) -> bool:
    """Whether nobody can tell what is in a file: an archive without its directory."""
    with path.open("rb") as stream:
        return stream.read(4) == ZIP and not zipfile.is_zipfile(path)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """A stream's bytes, a damaged one's as far as they can be read."""
    try:
        while block := stream.read(BLOCK):
            yield block
    except (EOFError, zipfile.BadZipFile, zlib.error):
        return


def _inflated(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip members hold. Python's own reader gives nothing of the last block of a file that is cut short."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        for block in blocks:
            while block:
                yield inflater.decompress(block)
                block = inflater.unused_data
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=31)
    except zlib.error:
        return


def _lines(blocks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from map(_decoded, lines)
    if rest:
        yield _decoded(rest)


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _parquet(path: Path) -> Iterator[str]:
    yield str(pq.read_metadata(path).to_dict())
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    sql = f"SELECT CAST(to_json(t) AS VARCHAR) FROM read_parquet({literal(path)}, hive_partitioning=false) t"  # noqa: S608
    for batch in connection.execute(sql).arrow(ROWS):
        yield from pa.Table.from_batches([batch]).column(0).to_pylist()


def prove(root: Path, search: Search, *, but: Path, tell: Callable[[int], None] = lambda files: None) -> Proof:
    """Search every file below a folder but one. `tell` hears how many were searched."""
    proof = Proof()
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path == but:
            continue
        # A file's name can name someone too.
        hits = int(search.holds(str(path.relative_to(root))))
        for text in texts(path):
            proof.texts += 1
            hits += search.holds(text)
        if hits:
            proof.found[str(path.relative_to(root))] = hits
        proof.files += 1
        tell(proof.files)
    return proof
