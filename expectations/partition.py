"""Great Expectations inside Spark's partitions: each task holds its rows to the suite, and gives counts and failing keys.

Great Expectations' own Spark engine sends one aggregate of some hundred expressions a table to the driver's planner, and
asks again for the keys of what failed: 70 s of processor time for hospital A's 22 tables. Here a table is one pass of
its rows, and the keys come from the very evaluation that counted them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from cohortlake.core.checks import Check
from expectations.audit import KEY

# Rows that are judged at once: as many as keep Great Expectations' own overhead small, and a task's memory too.
CHUNK = 100_000
COUNTS = {"result_format": "BASIC", "partial_unexpected_count": 0}
PLACES = {"result_format": "COMPLETE", "partial_unexpected_count": 0, "exclude_unexpected_values": True}
# A count of a check (`judged` and `failed` values), or a row to keep back with the names of the checks that it failed.
FOUND = pa.schema(
    [("check", pa.string()), ("judged", pa.int64()), ("failed", pa.int64())]
    + [("_file_hash", pa.string()), ("_offset", pa.int64()), ("id", pa.string())]
    + [("checks", pa.list_(pa.string())), ("warned", pa.list_(pa.string()))]
)
Judgements = list[tuple[Check, str]]


class ExpectationsError(RuntimeError):
    """Great Expectations could not compute an expectation: a fault of ours, not of the data."""


@cache
def _definition() -> Any:
    """The task's own Great Expectations context, made once a Python worker."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_pandas("rows").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )


def validate(frame: Any, judgements: Judgements, form: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Hold a pandas frame to checks of its columns: Great Expectations' result, by check. Raises ExpectationsError."""
    from expectations.suites import suite

    batch = _definition().get_batch({"dataframe": frame})
    results = batch.validate(suite("rows", judgements), result_format=form)
    found = {}
    for result in results.results:
        name = result.expectation_config.meta["check"]
        info = result.exception_info or {}
        for fault in [info] if "raised_exception" in info else list(info.values()):
            if fault and fault["raised_exception"]:
                raise ExpectationsError(f"{name} could not be computed: {fault['exception_message']}")
        found[name] = result.result
    return found


def examine(judgements: Judgements) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for `mapInArrow` over an audit frame; gives rows of `FOUND`."""

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in _chunks(batches):
            yield from pa.Table.from_pylist(list(_examined(table, judgements)), schema=FOUND).to_batches()

    return work


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= CHUNK:
            yield pa.Table.from_batches(held)
            held = []
    if any(batch.num_rows for batch in held):
        yield pa.Table.from_batches(held)


def _examined(table: pa.Table, judgements: Judgements) -> Iterator[dict[str, Any]]:
    frame = table.to_pandas()
    counted = validate(frame, judgements, COUNTS)
    for name, result in counted.items():
        judged = result["element_count"] - result.get("missing_count", 0)
        yield {"check": name, "judged": judged, "failed": result["unexpected_count"]}
    failed = [(check, column) for check, column in judgements if counted[check.name]["unexpected_count"]]
    held = [(check, column) for check, column in failed if check.severity == "quarantine"]
    if not held:
        return
    places = validate(frame, held, PLACES)
    kept = frame.loc[sorted({place for result in places.values() for place in result["unexpected_index_list"]})]
    names: dict[int, dict[str, list[str]]] = {place: {"checks": [], "warned": []} for place in kept.index}
    severities = {check.name: check.severity for check, _ in failed}
    for name, result in validate(kept, failed, PLACES).items():
        column = "checks" if severities[name] == "quarantine" else "warned"
        for place in result.get("unexpected_index_list") or []:
            names[place][column].append(name)
    for place, row in kept[KEY].iterrows():
        yield {**row.to_dict(), **names[place]}
