"""What one record's conversion gathers, and where an expression of a template looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from typing import Any

from cohortlake.core.claims.declared import Claims, Codes
from cohortlake.core.convert import Options
from cohortlake.core.language import run as language
from cohortlake.core.language.identity import namespace
from cohortlake.core.language.parts import ALWAYS, CONSTANT, merged

URN = "urn:cohortlake:claims"
IDS = namespace(URN)
# The tag of what a record only refers to: not the whole of it.
PASSING = [{"system": URN, "code": "passing", "display": "Told in passing"}]


@dataclass
class Run(language.Run):
    """The state of one conversion.

    `resources` are the elements of each by type and id, `passing` says which are only referred to.
    """

    declared: Claims
    authorities: dict[str, str]
    meta: dict[str, Any] = field(default_factory=dict)
    resources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    passing: dict[tuple[str, str], bool] = field(default_factory=dict)
    references: dict[tuple[int, int, str], str | None] = field(default_factory=dict)

    def put(self, kind: str, name: str, values: dict[str, Any], *, is_passing: bool) -> None:
        """Take a resource; one that is there already gains what it lacks. What is told whole is not in passing."""
        key = kind, name
        known = self.resources.get(key)
        if known is None:
            self.passing[key] = is_passing
            self.resources[key] = values
            return
        is_better = self.passing[key] and not is_passing
        self.resources[key] = merged(values, known) if is_better else merged(known, values)
        self.passing[key] = self.passing[key] and is_passing

    def finished(self) -> list[dict[str, Any]]:
        """The resources with their type, id and meta."""
        return [self._whole(kind, name, values) for (kind, name), values in self.resources.items()]

    def _whole(self, kind: str, name: str, values: dict[str, Any]) -> dict[str, Any]:
        meta = {**self.meta, "tag": PASSING} if self.passing[kind, name] else self.meta
        return {"resourceType": kind, "id": name, **({"meta": meta} if meta else {}), **values}


def new_run(declared: Claims, options: Options) -> Run:
    """The state at the beginning."""
    return Run(declared, dict(options.authorities))


def bit(place: int) -> int:
    """The bit of a cell in `Cells.held`."""
    return 4 << place


@cache
def _bits(width: int) -> tuple[int, ...]:
    return tuple(bit(place) for place in range(width))


class Cells(list[str]):
    """A row's cells. `held` has a bit for each that has a value, so that what needs none of those is left alone."""

    __slots__ = ("held",)

    def __init__(self, cells: list[str]) -> None:
        super().__init__(cells)
        self.held = sum(compress(_bits(len(cells)), cells), ALWAYS | CONSTANT)


@dataclass(slots=True)
class Scope:
    """Where an expression looks: a row of the record, all its rows, the value at hand (`.`)."""

    run: Run
    row: Cells
    rows: list[Cells]
    value: str = ""

    @property
    def held(self) -> int:
        """The bits of the row's cells that have a value."""
        return self.row.held


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
