"""Formats that are not FHIR, to FHIR R4: what a format's reader and mapper must offer, and the list of those that do.

A format is a module with `records` and `to_fhir`. Both are pure; nothing that they are given may make them raise, and
nothing is lost: a record that cannot be read or mapped is a `Problem` with a reason and a place.
"""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol, cast

from cohortlake.core.errors import UsageError


@dataclass(frozen=True)
class Problem:
    """What is wrong, without values. `place` is in the format's own terms (`OBX[3]-5`).

    An `error` quarantines its record: none of its resources lands. A `warning` stands beside what landed.
    """

    reason: str
    place: str = ""
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class Record:
    """A record as it came: `payload` are its bytes, `offset` the place of the first one in the file."""

    offset: int
    payload: bytes
    problem: Problem | None = None


@dataclass(frozen=True)
class Options:
    """What a silo declares of its sender.

    `zone` (an IANA name) is that of times that carry none. `authorities` are the URIs of the sender's own names of
    assigning authorities. `field_places` say where the sender has fields of HL7 v2 that it puts elsewhere.
    """

    zone: str = "UTC"
    authorities: tuple[tuple[str, str], ...] = ()
    field_places: tuple[tuple[str, str], ...] = ()


class UnknownCodes(Counter[tuple[str, str]]):
    """Codes that a map or the list of code systems lacks, counted as (map, code), and what each was met in.

    Whoever makes a resource names it in `owner` meanwhile; `met` has the codes by owner.
    """

    def __init__(self, *given: Any) -> None:
        self.owner: Hashable = None
        self.met: dict[Hashable, set[tuple[str, str]]] = {}
        super().__init__(*given)

    def __setitem__(self, code: tuple[str, str], count: int) -> None:
        super().__setitem__(code, count)
        self.met.setdefault(self.owner, set()).add(code)

    @contextmanager
    def within(self, owner: Hashable) -> Iterator[None]:
        """Meanwhile codes are met in this owner, then in the one before again."""
        before, self.owner = self.owner, owner
        try:
            yield
        finally:
            self.owner = before

    def give(self, owner: Hashable, other: Hashable) -> None:
        """What was met in one owner is met in the other."""
        self.met.setdefault(other, set()).update(self.met.pop(owner, ()))


@dataclass
class Converted:
    """What a record became.

    `unmapped` counts what no map takes, by name (`PV1-18`). `codes` counts the codes that a map or the list of code
    systems lacks, as (map, code): they are kept in the resources as they came, and known by type and id of those.
    """

    resources: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unmapped: Counter[str] = field(default_factory=Counter)
    codes: UnknownCodes = field(default_factory=UnknownCodes)

    def codes_of(self, resource: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The codes that no map knows and that were met in this resource, sorted."""
        return sorted(self.codes.met.get((resource["resourceType"], resource["id"]), ()))

    @property
    def error(self) -> Problem | None:
        """The problem that quarantines the record, if there is one."""
        return next((problem for problem in self.problems if problem.severity == "error"), None)


class Format(Protocol):
    """What a format's module offers."""

    def looks_like(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes is of this format."""

    def records(self, data: bytes) -> Iterator[Record]:
        """A file's records in order, the unreadable ones with their problem."""

    def to_fhir(self, record: Record, options: Options) -> Converted:
        """The resources of one record."""


FORMATS = {
    "hl7v2": "cohortlake.core.hl7v2",
    "ccda": "cohortlake.core.ccda",
    "rif": "cohortlake.core.claims.rif",
    "cpcds": "cohortlake.core.claims.cpcds",
    "x12": "cohortlake.core.x12",
}
# As many bytes as `looks_like` is given.
HEAD = 1024


def format_named(name: str) -> Format:
    """A format by name. Raises UsageError for one that does not exist."""
    if name not in FORMATS:
        raise UsageError(f"there is no format {name!r}", f"Formats are {', '.join(FORMATS)}.")
    return cast("Format", importlib.import_module(FORMATS[name]))


def guess_format(data: bytes) -> str | None:
    """The name of the format that a file's bytes look like."""
    return next((name for name in FORMATS if format_named(name).looks_like(data[:HEAD])), None)


# Stands around a number while it is a string in JSON; no string of FHIR may hold it.
_MARK = "\x00"
_OPENING, _CLOSING = '"\\u0000', '\\u0000"'


def _number(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{_MARK}{value:f}{_MARK}"
    raise TypeError(f"{type(value).__name__} is not a FHIR value")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_number)


def dumps(resource: dict[str, Any]) -> str:
    """A resource as one line of JSON; a Decimal is written with the digits that it has (13.40 stays 13.40)."""
    text = _ENCODER.encode(resource)
    return text.replace(_OPENING, "").replace(_CLOSING, "") if _OPENING in text else text
