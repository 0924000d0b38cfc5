"""Is a fetched file whole? Its lines are counted, its first and last ones read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 1024 * 1024
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Looked:
    """What a file holds: non-blank lines, and why it cannot be taken (None where it can)."""

    rows: int
    problem: str | None


def lines(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Each non-blank line, and whether it has its line end."""
    carry = b""
    while block := stream.read(BLOCK):
        *whole, carry = (carry + block).split(b"\n")
        yield from ((line, True) for line in whole if line.strip())
    if carry.strip():
        yield carry, False


def look(stream: BinaryIO, resource_type: str) -> Looked:
    """Count a file's lines; say what is wrong with its first or its last one.

    A first line that is no resource is an error page rather than one bad record. Lines after it are the gate's matter:
    one that is bad is quarantined by itself.
    """
    rows, last, ended = 0, b"", True
    for line, ended in lines(stream):
        if rows == 0 and ended and (problem := _problem(line.removeprefix(BOM), resource_type)):
            return Looked(0, f"its first line {problem}")
        rows, last = rows + 1, line
    if not ended and _problem(last.removeprefix(BOM), resource_type):
        return Looked(rows, "it is cut off: its last line is not complete")
    return Looked(rows, None)


def _problem(line: bytes, resource_type: str) -> str | None:
    try:
        found = json.loads(line)
    except ValueError:
        return "is not JSON"
    if not isinstance(found, dict) or "resourceType" not in found:
        return "is not a FHIR resource"
    if found["resourceType"] == "OperationOutcome" != resource_type:
        return "is an OperationOutcome: the server tells of an error"
    return None


def count_problem(rows: int, told: int | None) -> str | None:
    """What is wrong with the number of lines, where the server told one."""
    return None if told is None or rows == told else f"it has {rows:,} lines where the manifest says {told:,}"
