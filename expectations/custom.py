"""Expectations of our own, where Great Expectations has none: whole texts, FHIR dates, and conditions made before.

Each says the same on Great Expectations' SQL engine (over DuckDB), its Spark engine and its pandas engine. Patterns
name what they take by ranges (`[0-9]`, `[^ \\t\\r\\n]`): shorthands such as `\\s` and POSIX classes are not the same in
RE2, Java and Python.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import pandas as pd
import sqlalchemy as sa
from great_expectations.execution_engine import (
    PandasExecutionEngine,
    SparkDFExecutionEngine,
    SqlAlchemyExecutionEngine,
)
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from cohortlake.core.rules import FHIR_DATES
from cohortlake.core.sql import identifier
from expectations.paths import first_day


def is_fhir_date(text: str, fhir_type: str) -> bool:
    """Whether a text is a FHIR date, dateTime or instant, and its day exists."""
    if not re.fullmatch(FHIR_DATES[fhir_type], text):
        return False
    try:
        datetime.date.fromisoformat(text[:10] + "-01-01"[len(text) - 4 :] if len(text) < 10 else text[:10])
    except ValueError:
        return False
    return True


def _matches(column: Any, pattern: str) -> Any:
    """Spark's condition that a whole text matches."""
    return column.rlike(rf"\A(?:{pattern})\z")


class ColumnValuesMatchWholly(ColumnMapMetricProvider):
    """Whether a whole text matches a regular expression."""

    condition_metric_name = "column_values.match_wholly"
    condition_value_keys = ("regex",)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, regex: str, **kwargs: Any) -> Any:  # noqa: N805 (Great Expectations' own form)
        return sa.func.regexp_full_match(column, sa.literal(regex))

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Any, regex: str, **kwargs: Any) -> Any:  # noqa: N805
        return _matches(column, regex)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[str], regex: str, **kwargs: Any) -> pd.Series[bool]:  # noqa: N805
        pattern = re.compile(regex, re.ASCII)
        known = {text: pattern.fullmatch(text) is not None for text in column.unique()}
        return column.map(known).astype(bool)


class ColumnValuesFhirDate(ColumnMapMetricProvider):
    """Whether a text is a FHIR date, dateTime or instant, and its day exists."""

    condition_metric_name = "column_values.fhir_date"
    condition_value_keys = ("fhir_type",)

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, fhir_type: str, **kwargs: Any) -> Any:  # noqa: N805
        matches = sa.func.regexp_full_match(column, sa.literal(FHIR_DATES[fhir_type]))
        day: Any = sa.literal_column(f"({first_day(identifier(str(column.name)))})")
        return sa.and_(matches, day.isnot(None))

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Any, fhir_type: str, **kwargs: Any) -> Any:  # noqa: N805
        from pyspark.sql import functions as F

        size = F.length(column)
        text = F.when(size == 4, F.concat(column, F.lit("-01-01"))).when(size == 7, F.concat(column, F.lit("-01")))
        day = text.otherwise(F.substring(column, 1, 10)).try_cast("date")
        return _matches(column, FHIR_DATES[fhir_type]) & day.isNotNull()

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[str], fhir_type: str, **kwargs: Any) -> pd.Series[bool]:  # noqa: N805
        known = {text: is_fhir_date(text, fhir_type) for text in column.unique()}
        return column.map(known).astype(bool)


class ColumnValuesTrue(ColumnMapMetricProvider):
    """Whether a boolean is true."""

    condition_metric_name = "column_values.true"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:  # noqa: N805
        return column.is_(sa.true())

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Any, **kwargs: Any) -> Any:  # noqa: N805
        return column

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[bool], **kwargs: Any) -> pd.Series[bool]:  # noqa: N805
        return column.astype(bool)


class ExpectColumnValuesToMatchWholly(ColumnMapExpectation):
    """Expect each whole text of the column to match the regular expression `regex`, from its first to its last sign."""

    regex: str
    map_metric = "column_values.match_wholly"
    success_keys = ("regex", "mostly")
    args_keys = ("column", "regex")


class ExpectColumnValuesToBeFhirDates(ColumnMapExpectation):
    """Expect the column's texts to be of the FHIR type `fhir_type`: date, dateTime or instant, of a day that exists."""

    fhir_type: str
    map_metric = "column_values.fhir_date"
    success_keys = ("fhir_type", "mostly")
    args_keys = ("column", "fhir_type")


class ExpectReferencesToResolve(ColumnMapExpectation):
    """Expect the helper column to be true: the references it stands for point at resources that are staged or live."""

    map_metric = "column_values.true"


class ExpectDatesToLieWithinLife(ColumnMapExpectation):
    """Expect the helper column to be true: the dates it stands for lie between the patient's birth and death."""

    map_metric = "column_values.true"


class ExpectConditionToHold(ColumnMapExpectation):
    """Expect the helper column, which has the value of a declared condition, to be true where there is an answer."""

    map_metric = "column_values.true"


class ExpectFormToHold(ColumnMapExpectation):
    """Expect the helper column to be true: the record keeps the form that FHIR R4 gives it."""

    map_metric = "column_values.true"
