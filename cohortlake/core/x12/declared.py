"""How X12 is read and becomes FHIR, as `catalog/formats/x12` declares it; docs/x12.md tells it by example.

`sets/837P.yaml` is a guide's loops and what is made of them, `segments.yaml` what each segment must hold,
`resources/Claim.yaml` a resource as a template, `maps/` are concept maps.

Source: the ASC X12N implementation guides (TR3)
005010X222, 005010X223 and 005010X221.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from cohortlake.core.catalog.source import Declaration, load
from cohortlake.core.errors import CatalogError
from cohortlake.core.language import declared as language
from cohortlake.core.readers.x12_text import Segment

FOLDER = language.FORMATS / "x12"
Usage = Literal["required", "expected", "optional"]
ITEM = re.compile(
    r"(?P<name>[A-Z0-9_.]+)(?:\[(?:(?P<at>\d+)=)?(?P<codes>[^\]]+)\])?(?: (?P<usage>required|expected))?"
    r"(?: x(?P<most>\d+|many))?(?: \((?P<needs>[\d?. ]+)\))?"
)
NEED = re.compile(r"(\d+)(?:\.(\d+))?(\??)")


@dataclass(frozen=True)
class Need:
    """An element that must be there, or (`is_expected`) that the guide wants and whose facts stand without it."""

    element: int
    component: int
    is_expected: bool


@dataclass(frozen=True)
class Item:
    """A segment, or a loop by its head, at a place in a loop; `most` None for as often as one likes."""

    name: str
    at: int
    codes: frozenset[str]
    usage: Usage
    most: int | None
    needs: tuple[Need, ...]

    def takes(self, segment: Segment) -> bool:
        """Whether a segment is this one, by its name and its qualifier."""
        return segment.name == self.name and (not self.codes or segment.text(self.at, 1) in self.codes)


@dataclass(frozen=True)
class Loop:
    """A loop: its positions in order, each the items that may stand there in any order. The first is its head."""

    name: str
    positions: tuple[tuple[Item, ...], ...]

    @property
    def head(self) -> Item:
        return self.positions[0][0]


class SetFile(Declaration):
    """A transaction set of a guide: `loops` by name, `SET` the outermost, and the maps that it `makes`.

    What it only `refers_to` is tagged as told in passing. `left_out` loops and segments are not carried, for the reason
    given. A set that holds no facts says so in `nothing`, has no loops, and is checked by its envelope alone.
    """

    name: str
    transaction: Annotated[str, Field(pattern=r"^\d{3}$")]
    group: str
    title: str
    guides: list[str] = []
    nothing: str | None = None
    set: dict[str, str] = {}
    makes: list[str] = []
    refers_to: list[str] = []
    left_out: dict[str, str] = {}
    loops: dict[str, list[str]] = {}


class LoopMap(language.ResourceMap):
    """A resource made of each loop of `loops` (or of each of its segments `of` a kind) where `when` holds.

    `key` are alternatives; the first whose first part has a value is the resource's identity, from which its id is
    derived. `is_repeatable` facts with one identity in one set are told apart by their order, unless they say the same
    of the same one (`whose` is a source); others are one resource. Of those with one identity in one set, that for
    which the condition `gives_way` holds makes room for the others.
    """

    loops: list[str]
    key: Annotated[list[list[Any]], Field(min_length=1)]
    is_repeatable: bool = False
    whose: str | None = None
    gives_way: str | None = None


class Segments(Declaration):
    """What each segment must hold (`5.1` a component; `?` wants it, but its facts stand without), and what no map
    needs: `left_out` names elements (`REF-3`, `NM1[41]`) with the reason."""

    needs: dict[str, str]
    left_out: dict[str, str]


# A place in a loop: its position, which of the items there, the item, and the segment that it is or begins with.
Place = tuple[int, int, Item, Item]


@dataclass(frozen=True)
class Guide:
    """A set with its loops parsed; `places` has, by loop, those that a segment of a name may stand at, in order."""

    declared: SetFile
    loops: dict[str, Loop]
    names: frozenset[str]
    places: dict[str, dict[str, list[Place]]]


@dataclass(frozen=True)
class X12(language.Declared[LoopMap, language.Shared]):
    """The declarations by name."""

    guides: dict[str, Guide]
    left_out: dict[str, str]


def _needs(text: str) -> tuple[Need, ...]:
    return tuple(Need(int(a), int(b or 0), bool(c)) for a, b, c in NEED.findall(text))


def _item(text: str, needs: dict[str, tuple[Need, ...]], where: str) -> Item:
    match = ITEM.fullmatch(text.strip())
    if match is None:
        raise CatalogError(f"{where}: {text!r} is not an item; expected `NAME[codes] required xN (elements)`")
    name, most = match["name"], match["most"]
    own = _needs(match["needs"] or "")
    taken = {(need.element, need.component) for need in own}
    return Item(
        name,
        int(match["at"] or 1),
        frozenset((match["codes"] or "").split()),
        cast("Usage", match["usage"] or "optional"),
        None if most == "many" else int(most or 1),
        (*own, *(need for need in needs.get(name, ()) if (need.element, need.component) not in taken)),
    )


def _guide(declared: SetFile, path: Path, needs: dict[str, tuple[Need, ...]]) -> Guide:
    loops = {
        name: Loop(
            name,
            tuple(
                tuple(_item(item, needs, f"{path}:1: loop {name}") for item in position.split(";"))
                for position in positions
            ),
        )
        for name, positions in declared.loops.items()
    }
    names = set()
    for loop in loops.values():
        for item in (item for position in loop.positions for item in position):
            if item.name not in loops:
                names.add(item.name)
                if item.name[0].isdigit():
                    raise CatalogError(f"{path}:1: loop {loop.name} names a loop {item.name!r} that is not declared")
        if loop.head.name in loops:
            raise CatalogError(f"{path}:1: loop {loop.name} does not begin with a segment")
    if loops and "SET" not in loops:
        raise CatalogError(f"{path}:1: there is no loop SET, the outermost")
    return Guide(declared, loops, frozenset(names), {name: _places(loop, loops) for name, loop in loops.items()})


def _places(loop: Loop, loops: dict[str, Loop]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for position, items in enumerate(loop.positions):
        for index, item in enumerate(items):
            asked = loops[item.name].head if item.name in loops else item
            found.setdefault(asked.name, []).append((position, index, item, asked))
    return found


@cache
def load_x12(folder: Path = FOLDER) -> X12:
    """Read the declarations. Raises CatalogError naming file, line and what is expected."""
    declared = language.read_declared(folder, LoopMap, language.Shared)
    segments = load(folder / "segments.yaml", Segments)
    needs = {name: _needs(text) for name, text in segments.needs.items()}
    guides = {}
    for name, given in language.read_all(folder / "sets", SetFile).items():
        path = folder / f"sets/{name}.yaml"
        declared.check_made((*given.makes, *given.refers_to), path)
        guides[name] = _guide(given, path, needs)
    return X12(**vars(declared), guides=guides, left_out=segments.left_out)
