"""What is in quarantine, in counts: by silo, step, feed, resource type and reason. Ids and payloads are never read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import duckdb
from deltalake.exceptions import DeltaError

from cohortlake.core.lake import Lake
from spark_jobs import delta, quarantine

COLUMNS = ["silo", "step", "feed", "resource_type", "status", "run_id", "reasons"]
NEW = "SELECT count(*) FROM held WHERE status = $status AND run_id = $run_id"
BY_REASON = """
SELECT silo, step, feed, resource_type, reason, count(*) FILTER (run_id = $run_id) AS new, count(*) AS standing
FROM (
    SELECT coalesce(silo, '') AS silo, coalesce(step, '') AS step, coalesce(feed, '') AS feed,
        coalesce(resource_type, '') AS resource_type, run_id,
        unnest(list_distinct(reasons)) AS reason
    FROM held WHERE status = $status
)
GROUP BY ALL ORDER BY new DESC, standing DESC, silo, step, feed, resource_type, reason
"""


@dataclass(frozen=True)
class Held:
    """Records with one reason in one place: those that this run put there, and all that are open now."""

    silo: str
    step: str
    feed: str
    resource_type: str
    reason: str
    new: int
    open: int


@dataclass(frozen=True)
class Quarantine:
    """Records put there by this run, open in all, waiting for a replay, and let through; and by reason, largest first.

    A record may have several reasons, so the reasons add up to at least as much as the records.
    """

    new: int = 0
    open: int = 0
    replay: int = 0
    released: int = 0
    groups: tuple[Held, ...] = ()

    def reasons(self) -> dict[str, int]:
        """This run's records by reason, the largest first."""
        counts: Counter[str] = Counter()
        for group in self.groups:
            counts[group.reason] += group.new
        return {reason: number for reason, number in counts.most_common() if number}


def read_quarantine(lake: Lake, run_id: str) -> Quarantine:
    """Counts of the quarantine, as it is now."""
    try:
        held = delta.rows(lake.quarantine, columns=COLUMNS)
    except (DeltaError, OSError):
        held = None
    if held is None or not held.num_rows:
        return Quarantine()
    with duckdb.connect() as connection:
        connection.register("held", held)
        statuses = dict(connection.execute("SELECT status, count(*) FROM held GROUP BY status").fetchall())
        which = {"run_id": run_id, "status": quarantine.OPEN}
        new = connection.execute(NEW, which).fetchall()[0][0]
        rows = connection.execute(BY_REASON, which).fetchall()
    return Quarantine(
        new=new,
        open=statuses.get(quarantine.OPEN, 0),
        replay=statuses.get(quarantine.REPLAY, 0),
        released=statuses.get(quarantine.RELEASED, 0),
        groups=tuple(Held(*row) for row in rows),
    )
