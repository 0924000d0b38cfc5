"""Our gate's row checks as a contender: flattened in DuckDB, judged by Great Expectations' SQL engine over it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.gate_table import ITEMS
from benchmarks.peers.worker import serve
from expectations.audit import FAILED, audit_sql
from expectations.examine import audited
from expectations.judge import COUNTS, failing_rows, validate
from expectations.suites import judged_items, suite

SQL = audit_sql(ITEMS, {FAILED: "CAST(NULL AS VARCHAR[])"})
CHECKS = judged_items(ITEMS)


def judge(table: str, target: str) -> Mapping[str, Any]:
    """Judge a staged table; writes check -> failing keys to `target`. Gives the seconds of flattening and judging."""
    files = sorted(Path(table).glob("*.parquet"))
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
    begun = time.monotonic()
    with audited(SQL, files, Path(f"{target}.spill")) as connection:
        flat = time.monotonic()
        result = validate(connection, suite("benchmark.Observation", CHECKS), COUNTS, rows)
        failing: dict[str, list[str]] = {item.check.name: [] for item in ITEMS}
        for row in failing_rows(connection, CHECKS, result).to_pylist():
            for check in row["checks"]:
                failing[check].append(row["id"])
    judged = time.monotonic()
    Path(target).write_text(json.dumps(failing), encoding="utf-8")
    return {"flat": flat - begun, "judged": judged - flat}


if __name__ == "__main__":
    serve({"judge": judge})
