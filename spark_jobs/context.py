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
    """One table's books in one step, in rows: `rows_in` is the sum of all that became of them, each counted of its own.

    What is not mapped is taken by no declaration; what is left out, a declared rule leaves out (a view's `where`, a
    criterion, a double). The digests are of the rows that must come out, as read, and of those that
    did, as written (16 hexadecimal digits; empty where a step has none).
    """

    table: str
    rows_in: int
    rows_out: int
    quarantined: int = 0
    superseded: int = 0
    deleted: int = 0
    not_mapped: int = 0
    left_out: int = 0
    digest_in: str = ""
    digest_out: str = ""

    @property
    def accounted(self) -> int:
        """Rows of which it is known what came of them."""
        return self.rows_out + self.quarantined + self.superseded + self.deleted + self.not_mapped + self.left_out

    @property
    def is_balanced(self) -> bool:
        return self.rows_in == self.accounted and self.digest_in == self.digest_out

    @property
    def trouble(self) -> str:
        """What is wrong with the books, in words and counts; empty where they balance."""
        if self.rows_in > self.accounted:
            return f"{self.table}: {self.rows_in - self.accounted:,} of {self.rows_in:,} rows that came in are lost"
        if self.rows_in < self.accounted:
            return f"{self.table}: {self.accounted - self.rows_in:,} rows too many for {self.rows_in:,} that came in"
        if self.digest_in != self.digest_out:
            return f"{self.table}: as many rows came out as should ({self.rows_out:,}), but not with the same content"
        return ""


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
