"""FHIR's primitive values as Spark columns: how they compare and compute, and how they become SQL types.

Dates and times are text, as FHIR writes them. The session's time zone is taken to be UTC (spark_jobs.session sets it).
"""

from __future__ import annotations

import operator

from pyspark.sql import Column
from pyspark.sql import functions as F

from cohortlake.core.views.types import Kind, kind

COMPARATORS = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

# The plan's SQL types that Spark calls by another name.
SPARK_NAMES = {"INTEGER": "INT", "REAL": "FLOAT", "VARCHAR": "STRING"}

DECIMAL = "DECIMAL(38,18)"
# What is multiplied and divided: Spark keeps 38 digits of a result, and wider operands would leave it fewer than the 8
# decimal places that FHIRPath asks for.
FACTOR = "DECIMAL(23,9)"

FIRST, LAST = "00:00:00.000", "23:59:59.999"
ZONE = r"(Z|[+-]\d{2}:\d{2})$"


def spark_type(sql_type: str) -> str:
    """A plan's SQL type as Spark writes it."""
    return SPARK_NAMES.get(sql_type, sql_type)


def convert(fhir_type: str, sql_type: str, value: Column) -> Column:
    """A value as a SQL type. A partial date is its first day or instant; what cannot be read as the type is null, for
    one bad value must not stop a run (the table's expectations see it)."""
    if sql_type == "BINARY" and fhir_type == "base64Binary":
        return F.try_to_binary(value, F.lit("base64"))
    return value.try_cast(spark_type(sql_type))


def compare(symbol: str, fhir_type: str, left: Column, right: Column) -> Column:
    """Compare two values. Dates of unlike precision are compared as far as both go, and are empty where that does not
    decide (https://hl7.org/fhirpath/#equals)."""
    comparator = COMPARATORS[symbol]
    if kind(fhir_type) not in (Kind.DATE, Kind.TIME):
        return comparator(left, right)
    left, right = sortable(fhir_type, left), sortable(fhir_type, right)
    shared = F.least(F.length(left), F.length(right))
    left_start, right_start = F.left(left, shared), F.left(right, shared)
    decided = F.when(left_start != right_start, comparator(left_start, right_start))
    return decided.when(F.length(left) == F.length(right), comparator(left, right))


def sortable(fhir_type: str, value: Column) -> Column:
    """A value in the one form of its kind: dates and times in UTC and with milliseconds, numbers as decimals."""
    match kind(fhir_type):
        case Kind.DATE:
            instant = F.date_format(value.try_cast("TIMESTAMP"), "yyyy-MM-dd'T'HH:mm:ss.SSS")
            return F.when(F.contains(value, F.lit("T")), instant).otherwise(value)
        case Kind.TIME:
            is_without_millis = F.length(value) == len("12:34:56")
            return F.when(is_without_millis, F.concat(value, F.lit(".000"))).otherwise(value)
        case Kind.INTEGER | Kind.DECIMAL:
            return value.try_cast(DECIMAL)
    return value


def calculate(symbol: str, left: Column, right: Column, is_whole: bool) -> Column:
    """Two numbers' sum, difference and so on; null where it is undefined or too large."""
    match symbol:
        case "+":
            result = F.try_add(left, right)
        case "-":
            result = F.try_subtract(left, right)
        case "*" if is_whole:
            result = F.try_multiply(left, right)
        case "*":
            result = F.try_multiply(left.try_cast(FACTOR), right.try_cast(FACTOR))
        case "mod":
            result = F.try_mod(left, right)
        case _:
            result = F.try_divide(left.try_cast(FACTOR), right.try_cast(FACTOR))
    return result.try_cast("INTEGER" if is_whole else DECIMAL)


def boundary(fhir_type: str, value: Column, is_high: bool) -> Column:
    """The least or greatest value of the type that a value of its precision may stand for.

    Source: lowBoundary and highBoundary of https://build.fhir.org/ig/HL7/FHIRPath. Silver's DECIMAL has lost how many
    places were written; the significant ones are taken, and one at least, so that 1.50 is bounded as 1.5, and 1 as 1.0.
    """
    match kind(fhir_type):
        case Kind.DECIMAL:
            places = F.length(F.regexp_extract(value.try_cast(DECIMAL).try_cast("STRING"), r"\.(\d+?)0*$", 1))
            half = F.concat(F.lit("0."), F.repeat(F.lit("0"), places), F.lit("5")).try_cast(DECIMAL)
            return calculate("+" if is_high else "-", value, half, is_whole=False)
        case Kind.TIME:
            return _padded(value, LAST if is_high else FIRST)
    if fhir_type == "date":
        return _day(value, is_high)
    zone = F.regexp_extract(value, ZONE, 1)
    local = _day(F.regexp_replace(value, ZONE, ""), is_high)
    # Without a zone the value may be of any: the day begins first at +14:00 and ends last at -12:00.
    furthest = F.when(zone == "", F.lit("-12:00" if is_high else "+14:00")).otherwise(zone)
    return F.concat(_padded(local, f"yyyy-MM-ddT{LAST if is_high else FIRST}"), furthest)


def _day(value: Column, is_high: bool) -> Column:
    """A date's year and month filled up to its first or last day; what is longer stays."""
    first_of_month = _padded(value, "yyyy-12-01" if is_high else "yyyy-01-01")
    if not is_high:
        return first_of_month
    last_of_month = F.last_day(first_of_month.try_cast("DATE")).cast("STRING")
    return F.when(F.length(value) < len("yyyy-MM-dd"), last_of_month).otherwise(value)


def _padded(value: Column, template: str) -> Column:
    """A text with what it lacks at its end taken from the template."""
    return F.concat(value, F.substr(F.lit(template), F.length(value) + 1))
