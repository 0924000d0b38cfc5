"""Fixtures that tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
