"""The recount of a cohort: each candidate is in, or left out by the first criterion that excludes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.tally import parquet, tally
from cohortlake.core.sql import identifier

Criteria = dict[str, str]


def recount_cohort(
    connection: Any, name: str, keys: Sequence[str], inclusion: Criteria, exclusion: Criteria, staged: Path
) -> Finding:
    """Count a cohort as staged. `inclusion` and `exclusion` name each criterion by its column, in the declared order.

    The connection has the tables `candidates` (the keys, and a column a criterion) and `given` (the rows to be staged,
    all columns).
    """
    tests = [(column, text, f"NOT coalesce({identifier(column)}, false)") for column, text in inclusion.items()]
    tests += [(column, text, f"coalesce({identifier(column)}, false)") for column, text in exclusion.items()]
    fate = "".join(f" WHEN {test} THEN {number}" for number, (_, _, test) in enumerate(tests))
    fates = f"SELECT *, CASE WHEN false THEN 0{fate} ELSE -1 END AS fate FROM candidates"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fates AS {fates}")
    counts = dict(connection.execute("SELECT fate, count(*) FROM fates GROUP BY ALL ORDER BY ALL").fetchall())
    left_out = {tests[number][1]: count for number, count in counts.items() if number >= 0}
    columns = sorted(row[0] for row in connection.execute("DESCRIBE given").fetchall())
    rows = parquet([staged])
    must = tally(connection, "(FROM fates WHERE fate = -1)", keys) + tally(connection, "given", columns)
    does = tally(connection, rows, keys) + tally(connection, rows, columns)
    out = tally(connection, rows, []).rows
    return Finding("gold → cohort", f"cohort.{name}", sum(counts.values()), out, left_out, must, does)
