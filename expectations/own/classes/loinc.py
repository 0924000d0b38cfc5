"""An example of an expectation of one's own: LOINC codes that were mistyped do not fit their check digit."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    column_condition_partial,
)


def has_check_digit(code: str) -> bool:
    """Whether a code is a LOINC code with its check digit (modulus 10, every second digit from the right doubled)."""
    if not re.fullmatch("[0-9]{1,7}-[0-9]", code):
        return False
    digits = [int(sign) for sign in reversed(code[:-2])]
    summed = sum(sum(divmod(digit * (2 - place % 2), 10)) for place, digit in enumerate(digits))
    return (10 - summed % 10) % 10 == int(code[-1])


class ColumnValuesLoincCheckDigit(ColumnMapMetricProvider):
    """Whether a code is a LOINC code with its check digit."""

    condition_metric_name = "column_values.loinc_check_digit"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(cls, column: Any, **kwargs: Any) -> Any:  # noqa: N805 (Great Expectations' own form)
        code = '"' + str(column.name).replace('"', '""') + '"'
        number = f"split_part({code}, '-', 1)"
        digit = f"CAST({number}[length({number}) - i] AS INTEGER) * (2 - i % 2)"
        summed = f"list_sum(list_transform(range(length({number})), lambda i: {digit} // 10 + {digit} % 10))"
        right = f"(10 - {summed} % 10) % 10 = CAST(right({code}, 1) AS INTEGER)"
        is_code = f"regexp_full_match({code}, '[0-9]{{1,7}}-[0-9]')"
        return sa.literal_column(f"CASE WHEN {is_code} THEN {right} ELSE false END")

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: Any, **kwargs: Any) -> Any:  # noqa: N805
        return column.map(has_check_digit).astype(bool)


class ExpectColumnValuesToHaveLoincCheckDigit(ColumnMapExpectation):
    """Expect the column's values to be LOINC codes whose last digit is their check digit."""

    map_metric = "column_values.loinc_check_digit"
