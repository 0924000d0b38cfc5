"""Running suites with Great Expectations, and keeping what they said: results of the last run a table, and Data Docs.

A first pass asks for verdicts only: all its counts are aggregates of one Spark query a table. A second one counts the
failures of what failed. Neither asks for values, so that neither results nor Data Docs hold any.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations import ExpectationSuite
from great_expectations.core import RunIdentifier
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.data_context.types.base import DataContextConfig
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)

from cohortlake.core.checks import Check
from cohortlake.core.lake import Lake, write_error
from expectations.suites import suite
from expectations.verdict import Outcome

VERDICTS = "BOOLEAN_ONLY"
COUNTS = {"result_format": "BASIC", "partial_unexpected_count": 0}
SITE = "data_docs"


class ExpectationsError(RuntimeError):
    """Great Expectations could not compute an expectation: a fault of ours, not of the data."""


class Examiner:
    """Holds frames to suites. `results` is where suites and results lie, as JSON; Data Docs show them as HTML."""

    def __init__(self, lake: Lake, run_id: str, threads: int = 1) -> None:
        self._docs, self._results = lake.docs, lake.ops("expectations")
        self._lake = lake
        self._context = gx.get_context(mode="ephemeral", project_config=self._config())
        self._context.variables.progress_bars = {"globally": False}
        self._run = RunIdentifier(run_name=run_id, run_time=datetime.datetime.now(datetime.UTC))
        sources = self._context.data_sources
        self._pandas = self._definition(sources.add_pandas("facts"))
        # A source holds one frame at a time: threads need one each.
        self._spark: SimpleQueue[BatchDefinition[Any]] = SimpleQueue()
        for number in range(threads):
            self._spark.put(self._definition(sources.add_spark(f"staged {number}", persist=False)))
        self._pages: list[Any] = []

    def _config(self) -> DataContextConfig:
        def files(folder: Path) -> dict[str, str]:
            return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}

        return DataContextConfig(
            stores={
                "suites": {"class_name": "ExpectationsStore", "store_backend": files(self._results / "suites")},
                "results": {"class_name": "ValidationResultsStore", "store_backend": files(self._results / "results")},
                "checkpoint_store": {"class_name": "CheckpointStore"},
                "validation_definition_store": {"class_name": "ValidationDefinitionStore"},
            },
            expectations_store_name="suites",
            validation_results_store_name="results",
            checkpoint_store_name="checkpoint_store",
            data_docs_sites={
                SITE: {
                    "class_name": "SiteBuilder",
                    "show_how_to_buttons": False,
                    "store_backend": files(self._docs),
                    "site_section_builders": {"profiling": "None"},
                }
            },
            analytics_enabled=False,
        )

    @staticmethod
    def _definition(source: Any) -> BatchDefinition[Any]:
        return source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")

    def judge_rows(self, name: str, frame: Any, checks: Sequence[tuple[Check, str]], rows: int) -> list[Outcome]:
        """Hold a Spark frame of `rows` rows to the checks of its columns."""
        definition = self._spark.get()
        try:
            return self._judge(name, definition, frame, checks, rows)
        finally:
            self._spark.put(definition)

    def judge_facts(self, name: str, facts: dict[str, Any], checks: Sequence[Check]) -> list[Outcome]:
        """Hold facts, by name, to the checks of them; one that is None or missing is not judged."""
        known = [check for check in checks if facts.get(check.element) is not None]
        frame = pd.DataFrame({check.element: [facts[check.element]] for check in known})
        outcomes = self._judge(name, self._pandas, frame, [(check, check.element) for check in known], 1)
        return [replace(outcome, found=facts[outcome.check.element]) for outcome in outcomes]

    def _judge(
        self, name: str, definition: BatchDefinition[Any], frame: Any, checks: Sequence[tuple[Check, str]], rows: int
    ) -> list[Outcome]:
        batch = definition.get_batch({"dataframe": frame})
        wanted = suite(name, checks)
        results = batch.validate(wanted, result_format=VERDICTS)
        _raise_faults(name, results)
        failed = {result.expectation_config.meta["check"] for result in results.results if not result.success}
        counts: dict[str, Any] = {}
        if failed:
            some = [(check, column) for check, column in checks if check.name in failed]
            counted = batch.validate(suite(name, some), result_format=COUNTS)
            _raise_faults(name, counted)
            counts = {result.expectation_config.meta["check"]: result.result for result in counted.results}
        for result in results.results:
            none = {"element_count": rows, "unexpected_count": 0, "unexpected_percent": 0.0}
            result.result = counts.get(result.expectation_config.meta["check"], none)
        self._keep(name, wanted, results)
        return [_outcome(check, counts.get(check.name)) for check, _ in checks]

    def _keep(self, name: str, wanted: ExpectationSuite, results: ExpectationSuiteValidationResult) -> None:
        """Keep a suite and its results, in place of those of the table's run before."""
        key = ExpectationSuiteIdentifier(name)
        page = ValidationResultIdentifier(key, self._run, "rows")
        results.meta |= {"run_id": self._run, "validation_time": self._run.run_time, "batch_markers": {}}
        for folder in (self._results / "results", self._docs / "validations"):
            shutil.rmtree(folder.joinpath(*name.split(".")), ignore_errors=True)
        try:
            self._context.suites.add_or_update(wanted)
            self._context.validation_results_store.store_validation_results(results, page)
        except OSError as error:
            raise write_error(error, self._results) from error
        self._pages += [key, page]

    def write_docs(self) -> Path:
        """Write the pages of what was judged, and the index of all. Gives the page to open."""
        try:
            with self._lake.lock("docs"):
                self._context.build_data_docs(site_names=[SITE], resource_identifiers=self._pages)
        except OSError as error:
            raise write_error(error, self._docs) from error
        return self._docs / "index.html"


def _outcome(check: Check, counted: dict[str, Any] | None) -> Outcome:
    if counted is None:
        return Outcome(check)
    return Outcome(check, int(counted["unexpected_count"]), float(counted["unexpected_percent"] or 0.0))


def _raise_faults(name: str, results: ExpectationSuiteValidationResult) -> None:
    for result in results.results:
        info = result.exception_info or {}
        faults = [info] if "raised_exception" in info else list(info.values())
        for fault in faults:
            if fault and fault["raised_exception"]:
                check = result.expectation_config.meta["check"]
                raise ExpectationsError(f"{name}: {check} could not be computed: {fault['exception_message']}")
