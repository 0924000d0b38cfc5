"""Expectations of our own, where Great Expectations has none: FHIR dates, and what is judged against other tables."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)

from cohortlake.core.rules import FHIR_DATES


def is_fhir_date(text: str, fhir_type: str) -> bool:
    """Whether a text is a FHIR date, dateTime or instant, and its day exists."""
    if not re.fullmatch(FHIR_DATES[fhir_type], text):
        return False
    try:
        datetime.date.fromisoformat(text[:10] + "-01-01"[len(text) - 4 :] if len(text) < 10 else text[:10])
    except ValueError:
        return False
    return True


class ColumnValuesFhirDate(ColumnMapMetricProvider):
    """Whether a text is a FHIR date, dateTime or instant, and its day exists."""

    condition_metric_name = "column_values.fhir_date"
    condition_value_keys = ("fhir_type",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[str], fhir_type: str, **kwargs: Any) -> pd.Series[bool]:  # noqa: N805 (Great Expectations' own form)
        known = {text: is_fhir_date(text, fhir_type) for text in column.unique()}
        return column.map(known).astype(bool)


class ColumnValuesTrue(ColumnMapMetricProvider):
    """Whether a boolean is true."""

    condition_metric_name = "column_values.true"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series[bool], **kwargs: Any) -> pd.Series[bool]:  # noqa: N805
        return column.astype(bool)


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


class ExpectFormToHold(ColumnMapExpectation):
    """Expect the form that FHIR gives a record, for which the column stands, to be kept."""

    map_metric = "column_values.true"
