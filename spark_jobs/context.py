"""What a step is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohortlake.core.catalog import Catalog
from cohortlake.core.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass
class Book:
    """One table's books in one step, in rows: `rows_in` = out + quarantined + superseded + deleted."""

    table: str
    rows_in: int
    rows_out: int
    quarantined: int = 0
    superseded: int = 0
    deleted: int = 0

    @property
    def is_balanced(self) -> bool:
        return self.rows_in == self.rows_out + self.quarantined + self.superseded + self.deleted


@dataclass
class StepResult:
    """A step's books, and facts for the run report: JSON values, counts and names only, never a row's values."""

    books: list[Book] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Context:
    """What a step works with. `scope` is the silo, `gold`, or the cohort; `progress` (done, total, what) tells."""

    lake: Lake
    data: Path
    catalog: Catalog
    scope: str
    run_id: str
    force: bool = False
    progress: Callable[[int, int, str], None] = lambda done, total, what: None

    @cached_property
    def spark(self) -> SparkSession:
        """The shared Spark session, started when first asked for."""
        from spark_jobs.session import spark_session

        return spark_session()
