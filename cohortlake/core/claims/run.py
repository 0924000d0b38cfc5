"""What one record's conversion gathers, and where an expression of a template looks."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cohortlake.core.claims.declared import Codes, Declared
from cohortlake.core.convert import Options, Problem
from cohortlake.core.hl7v2.run import merged

URN = "urn:cohortlake:claims"
# The namespace of resources' ids. Changing it changes every id.
IDS = uuid.uuid5(uuid.NAMESPACE_URL, URN)


def resource_id(kind: str, parts: list[str]) -> str:
    """The id of the resource with an identity; the same everywhere and always."""
    return str(uuid.uuid5(IDS, "\x1f".join([kind, *parts])))


@dataclass(slots=True)
class Run:
    """The state of one conversion. `numbers` are the sequences of what a claim's items point at."""

    declared: Declared
    authorities: dict[str, str]
    meta: dict[str, Any] = field(default_factory=dict)
    resources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    problems: dict[tuple[str, str], Problem] = field(default_factory=dict)
    unmapped: Counter[str] = field(default_factory=Counter)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    def warn(self, reason: str, place: str) -> None:
        """A problem that keeps nothing from landing."""
        self.problems.setdefault((reason, place), Problem(reason, place, "warning"))

    def put(self, resource: dict[str, Any]) -> None:
        """Take a resource; one that is there already gains what it lacks."""
        key = resource["resourceType"], resource["id"]
        known = self.resources.get(key)
        self.resources[key] = resource if known is None else merged(known, resource)


def new_run(declared: Declared, options: Options) -> Run:
    """The state at the beginning."""
    return Run(declared, dict(options.authorities))


@dataclass(slots=True)
class Scope:
    """Where an expression looks: a row of the record, all its rows, the value at hand (`.`)."""

    run: Run
    row: list[str]
    rows: list[list[str]]
    value: str = ""


def coded(code: str, argument: str, name: str, known: list[Codes], run: Run) -> tuple[str, str]:
    """The system and the code, as FHIR writes it; one that no system takes is the sender's own, and is counted."""
    for codes in known:
        if codes.when and argument not in codes.when:
            continue
        full = code.zfill(codes.width) if codes.width and code.isdigit() else code
        stop = codes.dot_after.get(full[:1], codes.dot)
        if stop and len(full) > stop and "." not in full:
            full = f"{full[:stop]}.{full[stop:]}"
        if codes.matches(full):
            local = run.authorities.get(name) if codes.uri.startswith("urn:cohortlake:") else None
            return local or codes.uri, full
    run.codes[name, code] += 1
    return f"urn:cohortlake:{run.declared.name}:{name}", code
