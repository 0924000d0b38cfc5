"""Which rows of an audited part may fail a check, in DuckDB's SQL: all that do, and as few others as is cheap to tell.

Great Expectations judges the shortlist only. Its verdict and the rows that it names are those of the whole part, as
long as no row that fails is left out: so whatever SQL and Python could see differently is on the list.
"""

from __future__ import annotations

import re

from cohortlake.core.rules import Matches, OneOf, Ordered, Present, Rule, ValueOrReason, WellFormed, Within
from expectations.audit import breaks_sql

TEXT, BOOLEAN = "VARCHAR", "BOOLEAN"
FLOATS = ("FLOAT", "DOUBLE")
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
# Beyond plain ASCII the two regular expression engines may differ where a pattern takes what it does not name: by a dot
# outside brackets, or by a class such as \S.
NOT_PLAIN = "[^ -~]"
NAMES_ALL = re.compile(r"(?:[^.\[\\]|\\[^A-Za-z]|\[(?!\^)(?:[^\]\\]|\\[^A-Za-z])*\])*")


def may_fail(value: str, rule: Rule, kind: str) -> str:
    """Whether a value may break a rule. Every value of a type that the rule was not made for may."""
    if isinstance(rule, Present | ValueOrReason):
        # To pandas, what is not a number is missing.
        return f"({value} IS NULL OR isnan({value}))" if kind in FLOATS else f"{value} IS NULL"
    if isinstance(rule, OneOf) and kind == TEXT:
        return breaks_sql(value, rule)
    if isinstance(rule, Matches | WellFormed) and kind == TEXT:
        if isinstance(rule, WellFormed) or NAMES_ALL.fullmatch(rule.pattern):
            return f"({breaks_sql(value, rule)})"
        return f"({breaks_sql(value, rule)} OR regexp_matches({value}, '{NOT_PLAIN}'))"
    if isinstance(rule, Within | Ordered) and kind.startswith(NUMBERS):
        minimum, maximum = (rule.minimum, rule.maximum) if isinstance(rule, Within) else (0, None)
        bounds = [f"{value} < {minimum}"] if minimum is not None else []
        return " OR ".join([*bounds, *([f"{value} > {maximum}"] if maximum is not None else [])])
    if not isinstance(rule, OneOf | Matches | WellFormed | Within | Ordered) and kind == BOOLEAN:
        return f"NOT {value}"
    return f"{value} IS NOT NULL"
