"""What kind of file a header is of, and where its columns stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cohortlake.core.claims.declared import Claims, Kind

NOISE = re.compile(r"[\s_()\-]+")


class NoLayoutError(ValueError):
    """The header is of no kind that is known, or lacks a column. The message says which."""


def plain(name: str) -> str:
    """A column's name as it is compared: without case, blanks, hyphens, brackets."""
    return NOISE.sub("", name).casefold()


@dataclass(frozen=True)
class Layout:
    """A kind of file, and its columns as a file has them."""

    kind: Kind
    columns: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each name stands; of columns that share a name the first counts."""
        found: dict[str, int] = {}
        for place, name in enumerate(self.columns):
            found.setdefault(plain(name), place)
        return found

    def place(self, name: str) -> int | None:
        """Where a column stands, under its name or another that it has."""
        return next((self.places[key] for n in self.names(name) if (key := plain(n)) in self.places), None)

    def names(self, name: str) -> tuple[str, ...]:
        """The names that a column may have."""
        return (name, *self.kind.aliases.get(name, ()))

    def known(self) -> int:
        """How many of the columns that its kind is known by are there."""
        return sum(self.place(name) is not None for name in self.kind.known_by)

    @property
    def is_known(self) -> bool:
        """Whether enough of it is there."""
        return self.known() >= self.kind.share * len(self.kind.known_by)

    def missing(self) -> str | None:
        """The first required column that is not there."""
        return next((name for name in self.kind.needed if self.place(name) is None), None)


def layout_of(columns: tuple[str, ...], declared: Claims) -> Layout:
    """The layout of a header. Raises NoLayoutError."""
    layouts = [layout for kind in declared.kinds.values() if (layout := Layout(kind, columns)).is_known]
    if not layouts:
        raise NoLayoutError("the header is of no kind of file that is known")
    best = max(layouts, key=lambda layout: (layout.known(), -len(layout.kind.known_by)))
    absent = best.missing()
    if absent:
        raise NoLayoutError(f"the column {absent} is missing")
    return best
