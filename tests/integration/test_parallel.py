"""Units of work on the executors: in order, and what a worker imported is no garbage to look at after each task."""

from __future__ import annotations

import gc
import os

from spark_jobs.parallel import TASK_BYTES, run_units, shared


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


def test_small_units_share_a_task_and_keep_their_order(spark):
    units = [{"number": number, "bytes": size} for number, size in enumerate([4000, 900, 800, 300, 200, 100])]
    assert shared([unit["bytes"] for unit in units]) == [[0], [1], [2], [3, 4, 5]]
    assert [one["number"] for one in run_units(spark, units, look)] == list(range(6))


def test_large_units_and_those_without_a_size_are_a_task_each():
    assert shared([TASK_BYTES * 3, TASK_BYTES]) == [[0], [1]]
    assert shared([TASK_BYTES] * 3) == [[0], [1], [2]]
    assert shared([0, 0]) == [[0, 1]]
    assert shared([]) == []
