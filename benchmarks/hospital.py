"""Hospital A multiplied: copies of its records, each with ids of its own, whose references move with them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.harness import ROOT

SILO = "site_a_fhir_r4"
SOURCE = ROOT / "data" / SILO
UUID = re.compile(rb"\b([0-9a-f]{4})([0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b")
# The first 16 bits of an id say which copy it belongs to.
COPIES = 65536
SHIFTED = [b"%04x" % number for number in range(COPIES)]


def records(resource: str) -> bytes:
    """Hospital A's NDJSON of a resource type."""
    return gzip.decompress((SOURCE / f"{resource}.ndjson.gz").read_bytes())


def resource_types() -> list[str]:
    """The resource types that hospital A delivers."""
    return [path.name.removesuffix(".ndjson.gz") for path in sorted(SOURCE.glob("*.ndjson.gz"))]


def copies_of(content: bytes, numbers: Iterable[int]) -> Iterator[bytes]:
    """The content once for each number, with every id moved by it."""
    first, *pieces = UUID.split(content)
    starts = [int(piece, 16) for piece in pieces[::3]]
    between = [rest + text for rest, text in zip(pieces[1::3], pieces[2::3], strict=True)]
    for number in numbers:
        moved = [SHIFTED[(start + number) % COPIES] for start in starts]
        yield first + b"".join(part for pair in zip(moved, between, strict=True) for part in pair)


def write_copies(data: Path, copies: Mapping[str, int]) -> float:
    """Write so many copies of each resource type's records below a data folder; gives the megabytes written."""
    folder = data / SILO
    folder.mkdir(parents=True)
    for resource, number in copies.items():
        with (folder / f"{resource}.ndjson").open("wb") as stream:
            for content in copies_of(records(resource), range(number)):
                stream.write(content)
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def multiply(data: Path, megabytes: float) -> tuple[int, float]:
    """Write the whole hospital in as many copies as come nearest to a size; gives their number and the megabytes."""
    size = sum(len(records(resource)) for resource in resource_types()) / 1e6
    copies = max(1, round(megabytes / size))
    return copies, write_copies(data, dict.fromkeys(resource_types(), copies))


def add_new(data: Path, copies: int, share: float) -> None:
    """Deliver new records beside the copies: a share of each file, with ids that were not there."""
    for resource in resource_types():
        lines = records(resource).splitlines(keepends=True)
        wanted = max(1, round(len(lines) * copies * share))
        whole, more = divmod(wanted, len(lines))
        pieces = [*copies_of(b"".join(lines), range(COPIES // 2, COPIES // 2 + whole))]
        pieces += copies_of(b"".join(lines[:more]), [COPIES // 2 + whole])
        (data / SILO / f"{resource}.new.ndjson").write_bytes(b"".join(pieces))


def remove_new(data: Path) -> None:
    """Take the new records' files away."""
    for path in (data / SILO).glob("*.new.ndjson"):
        path.unlink()
