"""Fixtures that tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A busy machine makes an example slow, not wrong.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The process's Spark session, small enough to share a machine."""
    os.environ.setdefault("COHORTLAKE_DRIVER_MEMORY", "2g")
    from spark_jobs.session import spark_session

    session = spark_session()
    yield session
    session.stop()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something that is shown at the end of all tests, whatever process this one runs in."""
    return lambda said: record_property("told", said)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.when == "call":
            for said in (value for name, value in report.user_properties if name == "told"):
                terminalreporter.write_line(f"{report.nodeid}: {said}")
