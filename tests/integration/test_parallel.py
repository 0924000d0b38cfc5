"""Units of work on the executors: in order, and what a worker imported is no garbage to look at after each task."""

from __future__ import annotations

import gc
import os

from spark_jobs.parallel import run_units


def look(unit):
    return {"number": unit["number"], "process": os.getpid(), "frozen": gc.get_freeze_count()}


def test_results_stand_in_the_order_of_the_units(spark):
    found = run_units(spark, [{"number": number} for number in range(12)], look)
    assert [one["number"] for one in found] == list(range(12))


def test_a_worker_freezes_what_it_imported_once(spark):
    found = run_units(spark, [{"number": number} for number in range(12)], look)
    again = run_units(spark, [{"number": number} for number in range(12)], look)
    before = {one["process"] for one in found}
    same = [one for one in again if one["process"] in before]
    assert same, "workers are used again"
    assert all(one["frozen"] > 10_000 for one in same)
    assert len({(one["process"], one["frozen"]) for one in same}) == len({one["process"] for one in same})
