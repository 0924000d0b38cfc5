"""The completeness profile's table, `ops/completeness`: the gates write it, report and command line read it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

import pyarrow as pa

from cohortlake.core.completeness.kept import Judged, as_row
from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal
from spark_jobs import delta

TEXTS = ("zone", "silo", "table", "column", "finding", "severity", "needed_by", "known_gap")
NUMBERS = ("rows", "present", "nulls", "distinct", "coded", "mapped")
SCHEMA = pa.schema(
    [("run_id", pa.string()), ("at", pa.timestamp("us", tz="UTC")), ("batch", pa.string()), ("is_passed", pa.bool_())]
    + [(name, pa.string()) for name in TEXTS]
    + [(name, pa.int64()) for name in NUMBERS]
    + [("absent", pa.map_(pa.string(), pa.int64())), ("floor_percent", pa.float64())]
)


def keep(lake: Lake, run_id: str, scope: str, batch: str, found: Iterable[Judged], is_passed: bool) -> None:
    """Keep the profile of a delivery of the silo `scope`, or of `gold`, in place of what was kept of it before.

    A delivery that is gated again has the profile of its last gating; so has gold in a run.
    """
    at = datetime.datetime.now(datetime.UTC)
    told = {"run_id": run_id, "at": at, "batch": batch, "is_passed": is_passed}
    rows = [{**as_row(judged), **told} for judged in found]
    if not rows:
        return
    data = pa.Table.from_pylist(rows, schema=SCHEMA)
    of_run = f"zone = 'gold' AND run_id = {literal(run_id)}"
    of_batch = f"zone = 'delivery' AND silo = {literal(scope)} AND batch = {literal(batch)}"
    with lake.lock("completeness"):
        delta.replace_rows(lake.ops("completeness"), data, of_run if scope == "gold" else of_batch)
