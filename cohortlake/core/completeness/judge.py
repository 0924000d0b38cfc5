"""What is hollow: a cell held to its floors, to who needs it, and to what earlier deliveries let expect.

How much a share may fall by chance is told by the binomial distribution: `n` rows of which each has a value with the
chance `p` have fewer than `least_share(n, p)` once in a thousand deliveries. Rows of one patient are alike, so that a
delivery of few rows says little: one of fewer than `MIN_ROWS` is not judged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from cohortlake.core.catalog.completeness import DEFAULT_DROP, Completeness
from cohortlake.core.completeness.cells import Cell, percent
from cohortlake.core.completeness.kept import Finding, Judged
from cohortlake.core.completeness.needs import Needed

MIN_ROWS = 20
LAST = 5
CHANCE = 0.001


def expected_share(earlier: Sequence[float]) -> float | None:
    """What earlier shares (percent, oldest first) let expect: the highest median of as many as `LAST` in a row.

    The last runs' median alone would follow a column that decays slowly. None without earlier ones.
    """
    if not earlier:
        return None
    window = min(LAST, len(earlier))
    return max(median(earlier[at : at + window]) for at in range(len(earlier) - window + 1))


def least_share(rows: int, expected: float, drop_points: float = DEFAULT_DROP) -> float:
    """The lowest share in percent that is no collapse from `expected`.

    A fall by `drop_points`, or to half where that is less, is let pass, and beyond it what chance explains.
    """
    from scipy.stats import binom  # type: ignore[import-untyped]

    chance = max(expected - drop_points, expected / 2) / 100
    return percent(max(0, int(binom.ppf(CHANCE, rows, chance))), rows)


@dataclass(frozen=True)
class Rules:
    """What the cells of a silo's deliveries, or of gold, are held to, each by `table.column`.

    `floors` is what the protocol says, `needed` who needs what, `carried` what the silo should carry by its
    declaration, `not_carried` what its mappings never fill. `earlier` are the known shares of earlier profiles that
    passed, oldest first. `needs_floor` tells whether the floors of needs are judged: they are of columns of gold.
    """

    floors: Mapping[str, Completeness] = field(default_factory=dict)
    needed: Mapping[str, Needed] = field(default_factory=dict)
    carried: Collection[str] = ()
    not_carried: Collection[str] = ()
    earlier: Mapping[str, Sequence[float]] = field(default_factory=dict)
    needs_floor: bool = False
    stops: bool = True

    def gap(self, cell: Cell) -> str:
        """Why the silo cannot tell the column, where its protocol says so of it or of what it is a part of."""
        parts = cell.name.split(".")
        names = [".".join(parts[:end]) for end in range(len(parts), 1, -1)]
        return next((gap for name in names if name in self.floors and (gap := self.floors[name].known_gap)), "")


def judge(cell: Cell, rules: Rules) -> Judged:
    """What is found of a cell.

    A column that something needs, and that is empty or collapsed, stops the silo (`fail`), if the rules stop at all;
    another one is warned of. What the protocol declares a known gap is only counted.
    """
    declared, needed = rules.floors.get(cell.name), rules.needed.get(cell.name)
    gap, by = rules.gap(cell), needed.said_by if needed else ""
    is_declared = declared is not None
    if cell.rows < MIN_ROWS:
        return Judged(cell, "", "", None, by, gap, is_declared)
    expected = expected_share(rules.earlier.get(cell.name, ()))
    drop = declared.max_drop_points if declared else DEFAULT_DROP
    least = least_share(cell.rows, expected, drop) if expected else None
    floor = _floor(declared, needed, rules)
    is_wanted = needed is not None or is_declared or cell.name in rules.carried
    finding, limit = _finding(cell, is_wanted, floor, least)
    if gap:
        closed = needed.floor_percent if needed else 100 - DEFAULT_DROP
        if finding:
            return Judged(cell, "known gap", "warn", limit, by, gap, is_declared)
        is_closed = is_declared and cell.known_percent >= closed
        said: tuple[Finding, str] = ("gap is closed", "warn") if is_closed else ("", "")
        return Judged(cell, *said, limit, by, gap, is_declared)
    must_hold = needed is not None and cell.name not in rules.not_carried
    return Judged(cell, finding, _severity(finding, declared, must_hold, rules), limit, by, "", is_declared)


def _floor(declared: Completeness | None, needed: Needed | None, rules: Rules) -> float | None:
    """The highest floor that the protocol, or a need, asks for."""
    asked = [declared.floor_percent] if declared and declared.floor_percent is not None else []
    if needed and rules.needs_floor:
        asked.append(needed.floor_percent)
    return max(asked, default=None)


def _finding(cell: Cell, is_wanted: bool, floor: float | None, least: float | None) -> tuple[Finding, float | None]:
    """What is found of a share, and the limit in percent that it did not reach, or else the highest there is."""
    share = cell.known_percent
    limit = max((one for one in (floor, least) if one is not None), default=None)
    if not cell.known and (is_wanted or floor or least):
        return "empty", limit
    if least is not None and share < least:
        return "collapsed", least
    if floor is not None and share < floor:
        return "below its floor", floor
    return "", limit


def _severity(finding: Finding, declared: Completeness | None, must_hold: bool, rules: Rules) -> str:
    if not finding:
        return ""
    if rules.stops and must_hold and finding in ("empty", "collapsed"):
        return "fail"
    if rules.stops and declared and declared.severity == "fail":
        return "fail"
    return "warn"
