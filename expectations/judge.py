"""Great Expectations' verdicts on the rows that may fail: the ones that do, by check, and where they are kept.

Importing it takes seconds, and each check some milliseconds of planning. So the driver asks it, once a table, and only
what some row may fail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

from cohortlake.core.rules import Check
from expectations.examine import FAILED_ROWS, MANY, ExpectationsError, Plan
from expectations.suites import suite
from spark_jobs.parallel import Unit
from spark_jobs.staged import PLACE

VERDICTS = "BOOLEAN_ONLY"
# Great Expectations names the failing rows by their position, without their values.
FAILURES = {"result_format": "COMPLETE", "partial_unexpected_count": 0}


def judge(plan: Plan, suspects: Collection[str], frame: pd.DataFrame, rejects: Path) -> Unit:
    """Hold audited rows to the checks of a plan that they may fail.

    Gives how many fail each check, and the file of those to keep back, if any. Raises ExpectationsError.
    """
    checks = [item for item in plan.checks if item[0].name in suspects]
    found = validate(plan.suite, frame, checks, FAILURES)
    failing = [check for check, _ in checks if not found[check.name]["success"]]
    held: dict[int, list[str]] = {}
    noted: dict[int, list[str]] = {}
    for check in failing:
        rows = held if check.severity == "quarantine" else noted
        for position in found[check.name]["result"]["unexpected_index_list"]:
            rows.setdefault(position, []).append(check.name)
    if held:
        _keep(rejects, frame, held, noted)
    failed = {check.name: found[check.name]["result"]["unexpected_count"] for check in failing}
    return {"failed": failed, "rejects": str(rejects) if held else None}


def judge_listed(units: Sequence[Unit], plans: Mapping[str, Plan], rejects: Path) -> Iterator[Unit]:
    """What comes of the rows that the tasks listed, a table's together as far as memory allows. As `judge`."""
    for name, plan in plans.items():
        listed = [unit for unit in units if unit["plan"] == name and unit["listed"]]
        suspects = {check for unit in listed for check in unit["suspects"]}
        for number, tables in enumerate(_groups([Path(unit["listed"]) for unit in listed])):
            frame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
            yield {"plan": name} | judge(plan, suspects, frame, rejects / f"{name}-listed-{number}.parquet")


def _groups(files: Sequence[Path]) -> Iterator[list[pa.Table]]:
    """The files' rows in groups of `MANY` rows or a few more."""
    group: list[pa.Table] = []
    for file in files:
        group.append(pq.read_table(file))
        if sum(table.num_rows for table in group) >= MANY:
            yield group
            group = []
    if group:
        yield group


def _keep(path: Path, frame: pd.DataFrame, held: Mapping[int, list[str]], noted: Mapping[int, list[str]]) -> None:
    """Write the failing rows: their place, the checks that keep them back, and those that only warn."""
    positions = sorted(held)
    places = {name: frame[name].iloc[positions].tolist() for name in PLACE}
    names = {"checks": [held[row] for row in positions], "warned": [noted.get(row, []) for row in positions]}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pydict(places | names, FAILED_ROWS), path)


@cache
def _source() -> Any:
    """The process's own source of frames; no store, no page."""
    config = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
    )


def validate(
    name: str, frame: pd.DataFrame, checks: Sequence[tuple[Check, str]], result_format: Any
) -> dict[str, dict[str, Any]]:
    """A frame held to checks of its columns: each check's `success` and `result`. Raises ExpectationsError."""
    batch = _source().get_batch({"dataframe": frame})
    found = {}
    for one in batch.validate(suite(name, checks), result_format=result_format).results:
        check = one.expectation_config.meta["check"]
        info = one.exception_info or {}
        for fault in [info] if "raised_exception" in info else list(info.values()):
            if fault and fault["raised_exception"]:
                raise ExpectationsError(f"{name}: {check} could not be computed: {fault['exception_message']}")
        found[check] = {"success": bool(one.success), "result": one.result}
    return found
