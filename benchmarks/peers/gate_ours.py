"""Our gate's row checks as a contender: tasks on Spark's executors, then Great Expectations, as `gate` runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.gate_table import ITEMS
from benchmarks.peers.worker import serve
from expectations.audit import FAILED, audit_sql
from expectations.examine import Plan, examine, slices, with_judged
from spark_jobs.delta import Part
from spark_jobs.parallel import run_units
from spark_jobs.session import spark_session

PLAN = Plan(
    "benchmark.Observation",
    audit_sql(ITEMS, {FAILED: "CAST(NULL AS VARCHAR[])"}),
    tuple((item.check, item.column) for item in ITEMS),
)


def judge(table: str, target: str) -> Mapping[str, Any]:
    """Judge a staged table; writes check -> failing keys to `target`."""
    folder = Path(table)
    parts = [Part(path.name, pq.ParquetFile(path).metadata.num_rows, 0) for path in sorted(folder.glob("*.parquet"))]
    scratch, plans = Path(f"{target}.gate"), {"table": PLAN}
    units = slices("table", folder, parts, len(ITEMS), None, scratch)
    results = run_units(spark_session(), units, partial(examine, plans=plans))
    failing: dict[str, list[str]] = {item.check.name: [] for item in ITEMS}
    for result in with_judged(units, results, plans, scratch):
        if result["rejects"]:
            rows = pq.read_table(result["rejects"], columns=["id", "checks"])
            for key, checks in zip(rows["id"].to_pylist(), rows["checks"].to_pylist(), strict=True):
                for check in checks:
                    failing[check].append(key)
    Path(target).write_text(json.dumps(failing), encoding="utf-8")
    return {"tasks": len(units)}


if __name__ == "__main__":
    spark_session()
    serve({"judge": judge})
