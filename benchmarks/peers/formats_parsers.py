"""What only parses: libraries of the field, in an environment of their own, and floors. They make no FHIR.

hl7apy validates a message against its version; `hl7` cuts it. lxml makes a tree. CSV is read by the standard library,
and X12 is cut at its delimiters.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hl7
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from lxml import etree

from benchmarks.peers.worker import serve

csv.field_size_limit(2**31 - 1)


def _messages(data: bytes) -> list[str]:
    return [text.strip("\r\n") + "\r" for text in re.split(r"[\r\n]+(?=MSH\|)", data.decode())]


def _hl7apy(data: bytes) -> int:
    return len([parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT) for text in _messages(data)])


def _hl7(data: bytes) -> int:
    return len([hl7.parse(text) for text in _messages(data)])


def _lxml(data: bytes) -> int:
    return sum(1 for _ in etree.fromstring(data).iter())


def _csv(data: bytes) -> int:
    text = data.decode()
    delimiter = "|" if "|" in text.partition("\n")[0] else ","
    return sum(1 for _ in csv.DictReader(text.splitlines(), delimiter=delimiter))


def _x12(data: bytes) -> int:
    segments = [segment.strip().split("*") for segment in data.decode().split("~")]
    return len([[element.split(":") for element in segment] for segment in segments])


PARSERS: dict[str, Callable[[bytes], int]] = {
    "hl7apy": _hl7apy, "hl7": _hl7, "lxml": _lxml, "csv": _csv, "split": _x12,
}  # fmt: skip


def parse(parser: str, data: str) -> Mapping[str, Any]:
    """Parse a folder's files; what was parsed is counted."""
    found = PARSERS[parser]
    return {"parsed": sum(found(path.read_bytes()) for path in sorted(Path(data).iterdir()))}


if __name__ == "__main__":
    serve({"parse": parse})
