"""How delimited claims become FHIR, as `catalog/formats/<format>` declares it; docs/claims.md tells it by example.

Sources: CARIN Consumer Directed Payer Data Exchange (Blue Button) implementation guide, http://hl7.org/fhir/us/carin-bb;
CMS Chronic Conditions Warehouse record layouts and the variables of https://bluebutton.cms.gov/resources/variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cohortlake.core.catalog.source import Declaration
from cohortlake.core.language import declared as language
from cohortlake.core.language.expand import names_of


class Kind(Declaration):
    """A kind of file, known by its header.

    A file is of the kind of whose `known_by` columns it has most, and at least their `share`. Lines that agree
    in the columns of `key` are one record (without a key each line is one): the first is the id, the others tell its
    versions apart. The id and the `required` columns must be there, and must have a value in each record. `line`
    numbers the lines of a record. `aliases` are other names of columns, `left_out` those that are not carried (a `*`
    stands for anything), and why. `makes` names the maps of what a record is.
    """

    name: str
    known_by: Annotated[list[str], Field(min_length=1)]
    share: float = 0.5
    key: list[str] = []
    required: list[str]
    line: str | None = None
    aliases: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    makes: list[str]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be there, with a value in each record."""
        return (*self.key[:1], *self.required)


class RowMap(language.ResourceMap):
    """A resource made of a record, or of a value in it where another map refers to it (`=> Map`).

    `key` is its identity, from which its id is derived: without a value in its first expression there is no resource.
    `needs` is the element without which there is none either. A `stub` is told in passing.
    """

    key: list[Any]
    needs: str | None = None
    stub: bool = False


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


class Codes(Declaration):
    """Codes of a system: those that match `pattern`, where the argument of `@` is one of `when`.

    Leading zeros fill a code up to `width`; `dot` is how many characters stand before the full stop that files leave
    out (`dot_after` says so for some first letters). A `local` system is the sender's own.
    """

    uri: str
    pattern: str = ".+"
    when: list[str] = []
    width: int = 0
    dot: int = 0
    dot_after: dict[str, int] = {}

    def matches(self, code: str) -> bool:
        """Whether a code is written as those of the system are."""
        return _pattern(self.pattern).fullmatch(code) is not None


class Shared(language.Shared):
    """`systems` are the code systems that `| system` names, of which the first whose pattern matches is meant.

    `missing` are texts that mean no value, by column; `updated` is the expression of `meta.lastUpdated`.
    """

    systems: dict[str, list[Codes]] = {}
    missing: dict[str, list[str]] = {}
    updated: str | None = None


@dataclass(frozen=True)
class Claims(language.Declared[RowMap, Shared]):
    """The declarations of a format of this `name`."""

    name: str
    kinds: dict[str, Kind]


@cache
def load_claims(name: str, folder: Path | None = None) -> Claims:
    """Read the declarations of a format. Raises CatalogError naming file, line and what is expected."""
    folder = folder or language.FORMATS / name
    declared = language.read_declared(folder, RowMap, Shared)
    kinds = language.read_all(folder / "kinds", Kind)
    for kind in kinds.values():
        declared.check_made(kind.makes, folder / f"kinds/{kind.name}.yaml")
    return Claims(**vars(declared), name=name, kinds=_spread(kinds, declared.shared))


def _spread(kinds: dict[str, Kind], shared: Shared) -> dict[str, Kind]:
    """Kinds whose aliases of columns in series are told one by one."""
    spread = {}
    for name, kind in kinds.items():
        aliases: dict[str, list[str]] = {}
        for column, others in kind.aliases.items():
            columns = names_of(column, shared.series)
            for other in others:
                for one, another in zip(columns, names_of(other, shared.series), strict=True):
                    aliases.setdefault(one, []).append(another)
        spread[name] = kind.model_copy(update={"aliases": aliases})
    return spread
