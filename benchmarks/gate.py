"""The gate's row checks: 20 expectations over observations, ours beside stock Great Expectations on Spark.

Both flatten the same Parquet parts of typed observations, judge the same suite, and give every failing row's key; that
the verdicts and the keys are the same is checked in every round. Stock is Spark as it comes and Great Expectations'
Spark engine over one cached frame, with COMPLETE results; without the cache it takes several times as long.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gate_table import FAULT_EVERY, FAULTS, ITEMS, write_parts
from benchmarks.harness import Contender, Measured, in_turn
from benchmarks.results import machine, median_peak, ratios, spread, table, walls
from benchmarks.settings import Settings

TITLE = "The gate: 20 expectations, beside stock Great Expectations on Spark"
SIZES = (1_000_000, 10_000_000)
# As many parts as let every worker process judge some before it is timed.
WARM_ROWS, WARM_PART = 100_000, 10_000
OURS, STOCK = "Cohortlake", "Great Expectations on Spark"
HEAD = ("rows", f"{OURS}, s", f"{STOCK}, s", "of it judging, s", "ours / stock", "CPU s", "peak memory, MB")


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    sizes = (asked.rows,) if asked.rows else SIZES
    write_parts(folder / "warm", WARM_ROWS, WARM_PART)
    lines = []
    with ExitStack() as stack:
        ours = stack.enter_context(Contender(OURS, "benchmarks.peers.gate_ours", folder / "ours.log"))
        stock = stack.enter_context(Contender(STOCK, "benchmarks.peers.gate_stock", folder / "stock.log"))
        for contender in (ours, stock):
            contender.ask("judge", table=folder / "warm", target=folder / "warm.json")
        for rows in sizes:
            write_parts(folder / str(rows), rows)
            mine, theirs = rounds_of(ours, stock, folder / str(rows), asked.rounds or 3)
            lines.append(line(rows, mine, theirs))
    return "\n".join(
        [
            f"{len(ITEMS)} expectations; {len(FAULTS)} kinds of fault, each in one row of {FAULT_EVERY:,}; "
            f"{asked.rounds or 3} rounds, warm. {machine()}.",
            "",
            table(HEAD, lines),
            "",
            "* Same verdicts and same failing keys in every round. Mark for ours / stock: 0.25.",
            "* CPU seconds and memory: ours, then stock's.",
            "* Both read, flatten and judge; stock caches the flat frame first, and “judging” leaves that out.",
        ]
    )


def rounds_of(ours: Contender, stock: Contender, parts: Path, rounds: int) -> tuple[list[Measured], list[Measured]]:
    """Judge a table in turns; what each contender took. Raises RuntimeError where they do not find the same."""
    found: dict[Contender, list[Measured]] = {ours: [], stock: []}
    for number in range(rounds):
        targets = {}
        for contender in in_turn([ours, stock], number):
            targets[contender] = parts.parent / f"{'ours' if contender is ours else 'stock'}-{parts.name}-{number}.json"
            found[contender].append(contender.ask("judge", table=parts, target=targets[contender]))
        hold_alike(failing_keys(targets[ours]), failing_keys(targets[stock]))
    return found[ours], found[stock]


def failing_keys(path: Path) -> dict[str, list[str]]:
    """Check -> sorted keys of the rows that failed it."""
    return {check: sorted(keys) for check, keys in json.loads(path.read_text(encoding="utf-8")).items()}


def hold_alike(mine: dict[str, list[str]], theirs: dict[str, list[str]]) -> None:
    """Raises RuntimeError naming the checks on which the two differ, or where nothing failed at all."""
    odd = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    if odd or not any(mine.values()):
        raise RuntimeError(
            f"the contenders do not find the same: {', '.join(odd) or 'no row fails, so nothing is shown'}"
        )


def line(rows: int, mine: list[Measured], theirs: list[Measured]) -> tuple[str, ...]:
    """A size's row of the table."""
    cpu = [sorted(one.cpu for one in of)[len(of) // 2] for of in (mine, theirs)]
    return (
        f"{rows:,}",
        spread(walls(mine), 2),
        spread(walls(theirs), 2),
        spread([one.facts["judged"] for one in theirs], 2),
        f"**{spread(ratios(mine, theirs), 3)}**",
        f"{cpu[0]:.0f}; {cpu[1]:.0f}",
        f"{median_peak(mine):,.0f}; {median_peak(theirs):,.0f}",
    )
