"""The proof of an erasure: every file of a lake, read as text, holds none of the person's traits."""

from __future__ import annotations

import gzip
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
from cohortlake.core.readers.framing import open_stream
from cohortlake.core.sql import literal

ROWS = 20_000
PARQUET = b"PAR1"


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
                with archive.open(name) as lines:
                    yield from _lines(lines)
    else:
        with open_stream(path) as lines:
            yield from _lines(lines)


def _lines(lines: IO[bytes]) -> Iterator[str]:
    """Lines of text; what is cut short or damaged as far as it can be read."""
    try:
        for line in lines:
            yield _decoded(line)
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error):
        return


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
