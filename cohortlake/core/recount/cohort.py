"""The recount of a cohort: each candidate is in, or left out by the first criterion that excludes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.tally import parquet, tally
from cohortlake.core.sql import identifier


def recount_cohort(
    connection: Any, name: str, keys: Sequence[str], inclusion: dict[str, str], exclusion: dict[str, str], staged: Path
) -> Finding:
    """Count a cohort as staged. `inclusion` and `exclusion` name each criterion by its column, in the declared order.

    The connection has the tables `candidates` (the keys, and a column a criterion) and `given` (the rows that were
    given to be staged, all columns).
    """
    tests = [(column, text, f"NOT coalesce({identifier(column)}, false)") for column, text in inclusion.items()]
    tests += [(column, text, f"coalesce({identifier(column)}, false)") for column, text in exclusion.items()]
    fate = "".join(f" WHEN {test} THEN {number}" for number, (_, _, test) in enumerate(tests))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE fates AS SELECT *, CASE{fate} ELSE -1 END AS fate FROM candidates"
    )
    counts = dict(connection.execute("SELECT fate, count(*) FROM fates GROUP BY fate ORDER BY fate").fetchall())
    left_out = {tests[number][1]: count for number, count in counts.items() if number >= 0}
    columns = sorted(row[0] for row in connection.execute("DESCRIBE given").fetchall())
    rows = parquet([staged])
    must = tally(connection, "(FROM fates WHERE fate = -1)", keys) + tally(connection, "given", columns)
    does = tally(connection, rows, keys) + tally(connection, rows, columns)
    out = tally(connection, rows, []).rows
    return Finding("gold → cohort", f"cohort.{name}", sum(counts.values()), out, left_out, must, does)
