"""What the gate's tasks found, as Great Expectations' own results: kept as JSON by table, and shown as Data Docs.

Neither results nor Data Docs hold any value of a row.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import RunIdentifier
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.data_context.types.base import DataContextConfig
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)

from cohortlake.core.lake import Lake, write_error
from cohortlake.core.rules import Check
from expectations import pages
from expectations.judge import VERDICTS, validate
from expectations.suites import suite
from expectations.verdict import Outcome

SITE = "data_docs"
NO_FAULT = {"raised_exception": False, "exception_traceback": None, "exception_message": None}


class Examiner:
    """Keeps what suites said: suites and results as JSON in `ops/expectations`, and Data Docs as HTML."""

    def __init__(self, lake: Lake, run_id: str) -> None:
        self._docs, self._results = lake.docs, lake.ops("expectations")
        self._lake = lake
        self._context = gx.get_context(mode="ephemeral", project_config=self._config())
        self._context.variables.progress_bars = {"globally": False}
        self._run = RunIdentifier(run_name=run_id, run_time=datetime.datetime.now(datetime.UTC))
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

    def judge_rows(
        self, name: str, checks: Sequence[tuple[Check, str]], rows: int, counts: Mapping[str, Sequence[int]]
    ) -> list[Outcome]:
        """A table's outcomes, kept, from what its tasks counted: values that failed and values that were missing."""
        outcomes = []
        for check, _ in checks:
            failed, missing = counts.get(check.name, (0, 0))
            outcomes.append(Outcome(check, failed, 100 * failed / max(1, rows - missing)))
        self._keep(name, checks, outcomes, rows)
        return outcomes

    def judge_facts(self, name: str, facts: dict[str, Any], checks: Sequence[Check]) -> list[Outcome]:
        """Hold facts, by name, to the checks of them; one that is None or missing is not judged."""
        known = [check for check in checks if facts.get(check.element) is not None]
        frame = pd.DataFrame({check.element: [facts[check.element]] for check in known})
        columns = [(check, check.element) for check in known]
        verdicts = validate(name, frame, columns, VERDICTS) if known else {}
        outcomes = []
        for check in known:
            is_good, found = verdicts[check.name]["success"], facts[check.element]
            outcomes.append(replace(Outcome(check, 0 if is_good else 1, 0.0 if is_good else 100.0), found=found))
        self._keep(name, columns, outcomes, 1)
        return outcomes

    def _keep(self, name: str, checks: Sequence[tuple[Check, str]], outcomes: Sequence[Outcome], rows: int) -> None:
        """Keep a suite and its results, in place of those of the table's run before."""
        wanted = suite(name, checks)
        results = [
            ExpectationValidationResult(
                success=not outcome.failed,
                expectation_config=expectation.configuration,
                result={
                    # The values that were judged: a missing one is not.
                    "element_count": round(100 * outcome.failed / outcome.percent) if outcome.failed else rows,
                    "unexpected_count": outcome.failed,
                    "unexpected_percent": outcome.percent,
                    "partial_unexpected_list": [],
                },
                exception_info=dict(NO_FAULT),
            )
            for expectation, outcome in zip(wanted.expectations, outcomes, strict=True)
        ]
        good = sum(bool(result.success) for result in results)
        whole = ExpectationSuiteValidationResult(
            success=good == len(results),
            results=results,
            suite_name=name,
            suite_parameters={},
            statistics={
                "evaluated_expectations": len(results),
                "successful_expectations": good,
                "unsuccessful_expectations": len(results) - good,
                "success_percent": 100 * good / len(results) if results else None,
            },
            meta={"run_id": self._run, "validation_time": self._run.run_time, "batch_markers": {}}
            | {"great_expectations_version": gx.__version__},
        )
        key = ExpectationSuiteIdentifier(name)
        page = ValidationResultIdentifier(key, self._run, "rows")
        for folder in (self._results / "results", self._docs / "validations"):
            shutil.rmtree(folder.joinpath(*name.split(".")), ignore_errors=True)
        try:
            self._context.suites.add_or_update(wanted)
            self._context.validation_results_store.store_validation_results(whole, page)
        except OSError as error:
            raise write_error(error, self._results) from error
        self._pages += [key, page]

    def write_docs(self) -> Path:
        """Write the pages of what was judged, and the index of all. Gives the page to open."""
        try:
            with self._lake.lock("docs"):
                # Its index would be made of every result that the lake holds; ours takes its place.
                self._context.build_data_docs(site_names=[SITE], resource_identifiers=self._pages, build_index=False)
                return pages.finish(self._docs, self._results / "results")
        except OSError as error:
            raise write_error(error, self._docs) from error
