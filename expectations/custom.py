"""Expectations of our own, where Great Expectations has none: FHIR dates, and what is judged against other tables."""

from __future__ import annotations

from typing import Any

from great_expectations.execution_engine import SparkDFExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)
from pyspark.sql import Column

from cohortlake.core.checks import FHIR_DATES


class ColumnValuesFhirDate(ColumnMapMetricProvider):
    """Whether a text is a FHIR date, dateTime or instant, and its day exists."""

    condition_metric_name = "column_values.fhir_date"
    condition_value_keys = ("fhir_type",)

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Column, fhir_type: str, **kwargs: Any) -> Column:  # noqa: N805 (Great Expectations' own form)
        return column.rlike(FHIR_DATES[fhir_type]) & column.try_cast("date").isNotNull()


class ColumnValuesTrue(ColumnMapMetricProvider):
    """Whether a boolean is true."""

    condition_metric_name = "column_values.true"

    @column_condition_partial(engine=SparkDFExecutionEngine)
    def _spark(cls, column: Column, **kwargs: Any) -> Column:  # noqa: N805
        return column


class ExpectColumnValuesToBeFhirDates(ColumnMapExpectation):
    """Expect the column's texts to be of the FHIR type `fhir_type`: date, dateTime or instant."""

    fhir_type: str
    map_metric = "column_values.fhir_date"
    success_keys = ("fhir_type", "mostly")
    args_keys = ("column", "fhir_type")


class ExpectReferencesToResolve(ColumnMapExpectation):
    """Expect the references that the column stands for to point at resources that are staged or live."""

    map_metric = "column_values.true"


class ExpectDatesToLieWithinLife(ColumnMapExpectation):
    """Expect the dates that the column stands for to lie between the patient's birth and death."""

    map_metric = "column_values.true"


class ExpectConditionToHold(ColumnMapExpectation):
    """Expect the condition that the column stands for to hold."""

    map_metric = "column_values.true"
