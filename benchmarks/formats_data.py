"""What each format is measured on: the bundled files, copied with ids of their own until they are enough to measure."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT

DATA = ROOT / "data"
X12 = ROOT / "tests/integration/x12"
UUID = re.compile(rb"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
# The ids of an interchange: its number (ISA-13, IEA-02), claims' numbers, members' numbers.
X12_IDS = re.compile(rb"(?<=CLM\*)[^*]+|(?<=CLP\*)[^*]+|(?<=\*MI\*)[^*~]+")
RIF_IDS = (b"BENE_ID", b"CLM_ID")

# A file's name and its content.
File = tuple[str, bytes]


@dataclass(frozen=True)
class Case:
    """A format with the files that it is measured on, and in which `units` it is counted."""

    format: str
    title: str
    units: str
    copies: int
    originals: Callable[[], Iterator[File]]
    copied: Callable[[bytes, int], bytes]
    count: Callable[[bytes], int]


def write(case: Case, folder: Path, share: float) -> tuple[int, int]:
    """Write a case's copies, of which `share` are made (at least one); gives its units and bytes."""
    folder.mkdir(parents=True)
    units = size = 0
    for copy in range(max(1, round(case.copies * share))):
        for name, content in case.originals():
            made = case.copied(content, copy)
            (folder / f"{copy:04}-{name}").write_bytes(made)
            units, size = units + case.count(made), size + len(made)
    return units, size


def _files(folder: Path, pattern: str) -> Callable[[], Iterator[File]]:
    def read() -> Iterator[File]:
        for path in sorted(folder.glob(pattern)):
            content = path.read_bytes()
            yield path.name.removesuffix(".gz"), gzip.decompress(content) if path.suffix == ".gz" else content

    return read


def _documents() -> Iterator[File]:
    with zipfile.ZipFile(DATA / "site_c_ccda_cpcds/ccda.zip") as archive:
        for name in sorted(archive.namelist()):
            yield name.replace("/", "-"), archive.read(name)


def _other_uuids(content: bytes, copy: int) -> bytes:
    return UUID.sub(lambda found: found[0][:-4] + b"%04x" % copy, content) if copy else content


def _other_message(content: bytes, copy: int) -> bytes:
    """(A message's own id is MSH-10.)"""
    return re.sub(rb"(?m)^((?:[^|\r\n]*\|){9}[^|]+)", rb"\g<1>-%d" % copy, _other_uuids(content, copy))


def _other_rows(content: bytes, copy: int) -> bytes:
    head, *rows = content.splitlines()
    places = [at for at, name in enumerate(head.split(b"|")) if name in RIF_IDS]
    made = [head]
    for row in rows:
        cells = row.split(b"|")
        for at in places:
            cells[at] += b"%03d" % copy
        made.append(b"|".join(cells))
    return b"\n".join(made) + b"\n"


def _other_claims(content: bytes, copy: int) -> bytes:
    return X12_IDS.sub(lambda found: found[0] + b"%d" % copy, content)


def _lines(content: bytes) -> int:
    return content.count(b"\n") - 1


CASES = (
    Case("hl7v2", "HL7 v2 (ADT, ORU)", "messages", 2, _files(DATA / "site_b_hl7v2_feed", "*.hl7"), _other_message,
         lambda content: content.count(b"MSH|")),
    Case("ccda", "C-CDA", "documents", 1, _documents, _other_uuids, lambda content: 1),
    Case("cpcds", "CPCDS claims", "lines", 1, _files(DATA / "site_c_ccda_cpcds", "CPCDS_Claims.csv.gz"), _other_uuids,
         _lines),
    Case("rif", "RIF, carrier", "lines", 2, _files(DATA / "payer_d_bfd_rif", "carrier.csv.gz"), _other_rows, _lines),
    Case("x12", "X12 837 and 835", "claims", 125, _files(X12, "*.edi"), _other_claims,
         lambda content: len(re.findall(rb"CLM\*|CLP\*", content))),
)  # fmt: skip
