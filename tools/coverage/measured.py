"""How much of each column of gold the silos of a lake fill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cohortlake.core import gold
from cohortlake.core.lake import Lake
from cohortlake.core.sql import identifier


def measure(lake: Path) -> dict[str, dict[str, Any]]:
    """By silo and table: the number of rows, and the share of them in which a column has a value."""
    place = Lake(lake.absolute())
    connection = gold.connect(place)
    found: dict[str, dict[str, Any]] = {}
    for table in gold.tables(place):
        names = [name for name, *_ in connection.execute(f"DESCRIBE {identifier(table)}").fetchall()]
        if "silo" not in names:
            continue
        shares = ", ".join(f"count({identifier(name)}) / count(*)" for name in names)
        rows = connection.execute(f"SELECT silo, count(*), {shares} FROM {identifier(table)} GROUP BY 1 ORDER BY 1")  # noqa: S608
        for silo, count, *filled in rows.fetchall():
            share = {name: round(each, 4) for name, each in zip(names, filled, strict=True)}
            # What is there at all does not round to nothing.
            share |= {n: 0.0001 for n, each in zip(names, filled, strict=True) if each and not share[n]}
            found.setdefault(silo, {})[table] = {"rows": count, "filled": share}
    return found
