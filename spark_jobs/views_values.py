"""FHIR's primitive values as Spark SQL: how they compare and compute, and how they become SQL types.

Dates and times are text, as FHIR writes them. The session's time zone is taken to be UTC (spark_jobs.session sets it).
"""

from __future__ import annotations

from collections.abc import Mapping

from cohortlake.core.views.types import Kind, default_sql_type, kind
from spark_jobs import views_sql as F
from spark_jobs.views_sql import Sql

# The plan's SQL types that Spark calls by another name.
SPARK_NAMES = {"INTEGER": "INT", "REAL": "FLOAT", "VARCHAR": "STRING"}

DECIMAL = "DECIMAL(38,18)"
# What is multiplied and divided: Spark keeps 38 digits of a result, and wider operands would leave it fewer than the 8
# decimal places that FHIRPath asks for.
FACTOR = "DECIMAL(23,9)"

FIRST, LAST = "00:00:00.000", "23:59:59.999"
# Digits of a date or time -> characters.
DATE_LENGTHS = {4: 4, 6: 7, 8: 10, 10: 13, 12: 16, 14: 19, 17: 23}
TIME_LENGTHS = {2: 2, 4: 5, 6: 8, 9: 12}
ZONE = r"(Z|[+-]\d{2}:\d{2})$"


def spark_type(sql_type: str) -> str:
    """A plan's SQL type as Spark writes it."""
    return SPARK_NAMES.get(sql_type, sql_type)


def convert(fhir_type: str, sql_type: str, value: Sql) -> Sql:
    """A value as a SQL type. A partial date is its first day or instant; what cannot be read as the type is null, for
    one bad value must not stop a run (the table's expectations see it)."""
    if sql_type == "BINARY" and fhir_type == "base64Binary":
        return F.try_to_binary(value, F.lit("base64"))
    return value.try_cast(spark_type(sql_type))


def compare(symbol: str, fhir_type: str, left: Sql, right: Sql) -> Sql:
    """Compare two values in their sortable form. Dates of unlike precision are compared as far as both go, and are
    empty where that does not decide (https://hl7.org/fhirpath/#datetime-equality)."""
    if kind(fhir_type) not in (Kind.DATE, Kind.TIME):
        return F.call(symbol, left, right)
    shared = F.least(F.length(left), F.length(right))
    left_start, right_start = F.left(left, shared), F.left(right, shared)
    decided = F.when(left_start != right_start, F.call(symbol, left_start, right_start))
    return decided.when(F.length(left) == F.length(right), F.call(symbol, left, right))


def equal_in_order(fhir_type: str, left: Sql, right: Sql) -> Sql:
    """Whether arrays of sortable values are equal pair by pair: false where a pair is unequal or lacks its other half,
    empty where a pair does not decide (https://hl7.org/fhirpath/#equals)."""
    pairs = F.zip_with(left, right, lambda one, other: compare("=", fhir_type, one, other))
    differs = (F.size(left) != F.size(right)) | F.array_contains(pairs, F.lit(False))
    return F.when(differs, F.lit(False)).when(F.forall(pairs, lambda pair: pair.isNotNull()), F.lit(True))


def sortable(fhir_type: str, value: Sql) -> Sql:
    """A value in the form whose order is that of the values: for dates and times, see cohortlake.core.views.dates."""
    if kind(fhir_type) is Kind.TIME:
        whole = F.rpad(F.concat(F.left(value, F.lit(8)), F.lit("."), F.substr(value, F.lit(10))), 15, "0")
        return F.when(F.length(value) >= len("12:34:56"), whole).otherwise(value)
    if kind(fhir_type) is Kind.DATE and fhir_type != "date":
        instant = F.date_format(value.try_cast("TIMESTAMP"), "yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
        return F.when(F.contains(value, F.lit("T")), instant).otherwise(value)
    return value


def calculate(symbol: str, left: Sql, right: Sql, fhir_type: str) -> Sql:
    """Two numbers' sum, difference and so on, of a FHIR type; null where it is undefined or too large."""
    is_whole = kind(fhir_type) is Kind.INTEGER
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
    return result.try_cast(spark_type(str(default_sql_type(fhir_type))))


def boundary(fhir_type: str, value: Sql, is_high: bool, precision: int | None) -> Sql:
    """The least or greatest value of the type that a value of its precision may stand for, cut to a precision.

    A decimal is given as the text that was written, for 1.50 stands for other numbers than 1.5.
    Source: lowBoundary and highBoundary of https://build.fhir.org/ig/HL7/FHIRPath.
    """
    match kind(fhir_type):
        case Kind.DECIMAL:
            return _decimal_boundary(value, is_high, precision)
        case Kind.TIME:
            return F.left(_padded(value, LAST if is_high else FIRST), F.lit(_length(precision, TIME_LENGTHS)))
    if fhir_type == "date":
        return F.left(_day(value, is_high), F.lit(_length(precision, DATE_LENGTHS)))
    zone = F.regexp_extract(value, ZONE, 1)
    local = _day(F.regexp_replace(value, ZONE, ""), is_high)
    whole = _padded(local, f"yyyy-MM-ddT{LAST if is_high else FIRST}")
    length = _length(precision, DATE_LENGTHS)
    if length <= len("yyyy-MM-dd"):
        return F.left(whole, F.lit(length))
    # Without a zone the value may be of any: the day begins first at +14:00 and ends last at -12:00.
    furthest = F.when(zone == "", F.lit("-12:00" if is_high else "+14:00")).otherwise(zone)
    return F.concat(F.left(whole, F.lit(length)), furthest)


def _decimal_boundary(text: Sql, is_high: bool, precision: int | None) -> Sql:
    places = F.length(F.regexp_extract(text, r"\.(\d*)", 1))
    exponent = F.coalesce(F.regexp_extract(text, r"[eE]([-+]?\d+)$", 1).try_cast("INT"), F.lit(0))
    half = F.concat(F.lit("5E"), exponent - places - 1).try_cast(DECIMAL)
    bound = calculate("+" if is_high else "-", text.try_cast(DECIMAL), half, "decimal")
    if precision is None:
        return bound
    return (F.ceil if is_high else F.floor)(bound, F.lit(precision)).try_cast(DECIMAL)


def least_text(number: Sql) -> Sql:
    """A number with the decimal places that it needs: what can be said of how it was written where the text is lost."""
    return F.regexp_replace(number.cast("STRING"), r"\.0+$|(\.\d*?)0+$", "$1")


def _length(precision: int | None, lengths: Mapping[int, int]) -> int:
    """The characters of a text of a precision, which counts digits."""
    return lengths[precision] if precision is not None else max(lengths.values())


def _day(value: Sql, is_high: bool) -> Sql:
    """A date's year and month filled up to its first or last day; what is longer stays."""
    first_of_month = _padded(value, "yyyy-12-01" if is_high else "yyyy-01-01")
    if not is_high:
        return first_of_month
    last_of_month = F.last_day(first_of_month.try_cast("DATE")).cast("STRING")
    return F.when(F.length(value) < len("yyyy-MM-dd"), last_of_month).otherwise(value)


def _padded(value: Sql, template: str) -> Sql:
    """A text with what it lacks at its end taken from the template."""
    return F.concat(value, F.substr(F.lit(template), F.length(value) + 1))
