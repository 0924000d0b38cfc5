"""The expressions at a template's leaves and in its conditions, compiled to functions of a layout.

`=HCPCS_CD @ procedure, REV_CNTR_APC_HIPPS_CD`: ways to a value, the first that gives one counts. A way is a source and
what is made of it.

    COLUMN          the column of the row at hand; COLUMN & COLUMN both, one after the other
    .               the value at hand (of `$each`, or that a reference was made for)
    'text'          a constant
    | name          through a map; in a key `year`, that of a date
    @ name COLUMN   a code of a system (see shared.yaml), chosen by the column's value where it is given
    # name words    the sequence of that entry of the claim (`$by`)
    => Map          a reference to the resource that the map makes of the value
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from cohortlake.core.claims.declared import Declared
from cohortlake.core.claims.layout import Layout, plain
from cohortlake.core.claims.run import ALWAYS, Scope, bit
from cohortlake.core.claims.values import day

WAY = re.compile(
    r"(?P<source>[^|@#]+?)(?: \| (?P<map>\w+))?(?: @ (?P<system>\w+)(?: (?P<argument>(?:(?! => ).)+))?)?"
    r"(?: # (?P<entry>\w+)(?P<words>(?: [\w-]+)*))?(?: => (?P<target>[\w.]+))?"
)
CONDITION = re.compile(r"(?P<no>not )?(?P<source>.+?)(?: (?P<op>=|!=|is not|is) (?P<right>.+))?")

Read = Callable[[Scope], str]
Test = Callable[[Scope], bool]


@dataclass
class Reader:
    """Compiles sources for a layout.

    `named` are the columns that they name, `taken` those of the layout that they read, both as they are compared.
    """

    declared: Declared
    layout: Layout
    named: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    def column(self, name: str) -> Read | None:
        """A column's value; None where the file has no such column."""
        self.named.update(plain(other) for other in self.layout.names(name))
        place = self.layout.place(name)
        if place is None:
            return None
        self.taken.add(plain(self.layout.columns[place]))
        return lambda scope: scope.row[place]

    def part(self, text: str) -> Read | None:
        """`.`, a constant, or a column."""
        if text == ".":
            return lambda scope: scope.value
        if len(text) > 1 and text[0] == text[-1] == "'":
            constant = text[1:-1]
            return lambda scope: constant
        return self.column(text)

    def source(self, text: str) -> Read | None:
        """One part, or several one after the other; nothing where one has no value."""
        parts = [self.part(part.strip()) for part in text.split(" & ")]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        if len(found) == 1:
            return found[0]

        def read(scope: Scope) -> str:
            values = [part(scope) for part in found]
            return "".join(values) if all(values) else ""

        return read

    def needs(self, text: str) -> int:
        """The cells of which one at least must have a value for a source to have one (`Cells.held`)."""
        names = [part.strip() for part in text.split(" & ")]
        places = [self.layout.place(name) for name in names if name != "." and name[:1] != "'"]
        return sum(bit(place) for place in {*places} if place is not None) or ALWAYS

    def text(self, text: str) -> Read | None:
        """The first of some sources that has a value, as it came or as the year of a date."""
        ways: list[Read] = []
        for way in text.split(", "):
            source, _, turn = way.strip().partition(" | ")
            read = self.source(source)
            if turn not in ("", "year"):
                raise ValueError(f"{turn!r} cannot stand in a key; only `year` can")
            if read is not None:
                ways.append(_year(read) if turn else read)
        if not ways:
            return None
        return ways[0] if len(ways) == 1 else lambda scope: next((v for way in ways if (v := way(scope))), "")

    def test(self, text: str) -> Test:
        """`A`, `not A`, `A = x y`, `A != x y`, `A is B`, `A is not B`; all of those between semicolons."""
        tests = [self._one(part.strip()) for part in text.split(";")]
        return tests[0] if len(tests) == 1 else lambda scope: all(test(scope) for test in tests)

    def _one(self, text: str) -> Test:
        match = CONDITION.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not a condition")
        read = self.source(match["source"]) or _empty
        is_no = bool(match["no"])
        if match["op"] is None:
            return lambda scope: bool(read(scope)) is not is_no
        is_other = match["op"] in ("!=", "is not")
        if match["op"] in ("is", "is not"):
            right = self.source(match["right"]) or _empty
            return lambda scope: (read(scope) == right(scope)) is not is_other
        values = frozenset(match["right"].split())
        return lambda scope: (read(scope) in values) is not is_other


def _empty(_: Scope) -> str:
    return ""


def _year(read: Read) -> Read:
    def year(scope: Scope) -> str:
        found = day(read(scope))
        return found[:4] if found else ""

    return year
