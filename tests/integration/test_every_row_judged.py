"""What the shortlist saves changes nothing: Great Expectations judging every row by every check says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from expectations import examine, judge, silo
from expectations.examine import counted
from spark_jobs import land, standardise
from spark_jobs.context import Context
from spark_jobs.staged import read_staged

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]


def judged(gate: silo.SiloGate) -> dict[str, Any]:
    """By table: counts of each check, and the rows held with their checks."""
    found = {}
    for name, results in gate.judge(gate.link()).items():
        rows = [row for one in results if one.get("rejects") for row in pq.read_table(one["rejects"]).to_pylist()]
        found[name] = (counted(results), sorted(rows, key=lambda row: (row["_file_hash"], row["_offset"], row["id"])))
    return found


@pytest.mark.parametrize("name", ["site_a_fhir_r4", "site_b_csv"])
def test_every_row_judged_by_every_check_comes_to_the_same(tmp_path, monkeypatch, name):
    ctx = Context(Lake(tmp_path), Path("data"), load_catalog(), name, "r1")
    land.run(ctx)
    standardise.run(ctx)
    folder = ctx.lake.staging("phi", name)
    gate = silo.SiloGate(ctx, folder, read_staged(folder))
    short = judged(gate)
    monkeypatch.setattr(silo, "run_units", lambda _spark, units, work, **_: [work(unit) for unit in units])
    monkeypatch.setattr(examine, "may_fail", lambda *_: "true")
    asked: list[int] = []
    validate = judge.validate
    monkeypatch.setattr(judge, "validate", lambda *of: asked.append(len(of[1]) * len(of[2])) or validate(*of))
    assert judged(gate) == short
    # Patients are also held to some of their checks before who refers to them.
    assert sum(asked) > sum(table.rows * len(gate.items[of]) for of, table in gate.staged.items())
