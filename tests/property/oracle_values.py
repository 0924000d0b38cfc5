"""FHIR's primitive values in Python: how they compare, compute and are bounded, by FHIRPath's words alone."""

from __future__ import annotations

import calendar
import operator
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any, NamedTuple

TEMPORAL = frozenset(("date", "dateTime", "instant", "time"))
ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CALCULATIONS = ("+", "-", "*", "/", "div", "mod")
GREATEST_INTEGER = 2**31 - 1
REFERENCE = re.compile(r"(?:https?://.+/)?([A-Z]\w+)/([A-Za-z0-9\-.]+)(?:/_history/[A-Za-z0-9\-.]+)?")


class RefusedError(Exception):
    """The specification asks for an error."""


class Typed(NamedTuple):
    """A value and its FHIR type, where it has one."""

    value: Any
    type: str | None


def single(items: Iterable[Any], role: str) -> list[Any]:
    """The items, of which there must be one at most."""
    found = list(items)
    if len(found) > 1:
        raise RefusedError(f"{role} takes one item, found {len(found)}")
    return found


def number(text: str) -> int | Decimal:
    return Decimal(text) if "." in text else int(text)


def unescaped(text: str) -> str:
    """A string literal's characters (https://hl7.org/fhirpath/#string)."""
    plain = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

    def replaced(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else plain.get(found[2], found[2])

    found = re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", replaced, text, flags=re.DOTALL)
    # A character beyond U+FFFF is escaped as two, as in JSON.
    return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def literal_reference(text: str | None) -> tuple[str, str] | None:
    """Type and id of a relative, absolute or versioned reference; none for the other forms, which name no resource."""
    found = REFERENCE.fullmatch(text or "")
    return (found[1], found[2]) if found else None


def are_equal(left: list[Typed], right: list[Typed]) -> bool | None:
    """By "each item must be equal. Comparison is order dependent"; None where that cannot be known."""
    if len(left) != len(right):
        return False
    results = [_item_equal(*pair) for pair in zip(left, right, strict=True)]
    return False if False in results else None if None in results else True


def _item_equal(left: Typed, right: Typed) -> bool | None:
    if left.type in TEMPORAL and right.type in TEMPORAL:
        return _by_precision(left, right, operator.eq, decided=False)
    return bool(left.value == right.value)


def compare(symbol: str, left: Typed, right: Typed) -> bool | None:
    """Of "strings, integers, decimals, quantities, dates, datetimes and times"; "the evaluator will throw an error if
    the types differ"."""
    ordering = ORDERINGS[symbol]
    if left.type in TEMPORAL and right.type in TEMPORAL:
        return _by_precision(left, right, ordering)
    if _is_number(left.value) and _is_number(right.value):
        return ordering(left.value, right.value)
    if not (_is_text(left) and _is_text(right)):
        raise RefusedError(f"{left} {symbol} {right}")
    return ordering(left.value, right.value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _is_text(item: Typed) -> bool:
    """FHIR's dates are no strings, though JSON writes them as such."""
    return isinstance(item.value, str) and item.type not in TEMPORAL


def texts(items: Iterable[Typed]) -> list[str]:
    """The strings, which they all must be."""
    found = list(items)
    if not all(map(_is_text, found)):
        raise RefusedError("something else than strings")
    return [str(item.value) for item in found]


def _by_precision(
    left: Typed, right: Typed, ordering: Callable[[Any, Any], bool], *, decided: bool | None = None
) -> bool | None:
    """By "considering each precision in order ... If one input has a value for the precision and the other does not,
    the comparison stops and the result is empty"."""
    one, other = _precisions(left), _precisions(right)
    for first, second in zip(one, other, strict=False):
        if first != second:
            return ordering(first, second) if decided is None else decided
    return None if len(one) != len(other) else ordering(one, other)


def _precisions(item: Typed) -> list[int | Decimal]:
    """From years (or hours) on; "seconds and milliseconds are considered a single precision using a decimal". A date
    with a time is taken to UTC, the zone of the evaluation, which is also that of one without a zone."""
    text = str(item.value)
    if item.type == "time":
        return _clock_precisions(text)
    if "T" not in text:
        return [int(part) for part in text.split("-")]
    date, _, rest = text.partition("T")
    clock, zone = _without_zone(rest)
    full = datetime.fromisoformat(f"{date}T{_clock(clock, is_high=False)[:12]}{zone or 'Z'}").astimezone(UTC)
    return [full.year, full.month, full.day, *_clock_precisions(full.time().isoformat())[: clock.count(":") + 1]]


def _clock_precisions(text: str) -> list[int | Decimal]:
    *hours_and_minutes, seconds = text.split(":") if text.count(":") == 2 else [*text.split(":"), None]
    return [*map(int, hours_and_minutes), *([] if seconds is None else [Decimal(seconds)])]


def _without_zone(clock: str) -> tuple[str, str]:
    found = re.fullmatch(r"([\d:.]*)(.*)", clock)
    return (found[1], found[2]) if found else (clock, "")


def calculate(symbol: str, one: Typed, other: Typed) -> Any:
    """Two numbers (or for +, strings) computed; None where the result is undefined or "overflow"s."""
    left, right = one.value, other.value
    if symbol == "+" and _is_text(one) and _is_text(other):
        return left + right
    if not (_is_number(left) and _is_number(right)):
        raise RefusedError(f"{left!r} {symbol} {right!r}")
    if right == 0 and symbol in ("/", "div", "mod"):
        return None
    with localcontext(prec=60):
        match symbol:
            case "/":
                return Decimal(left) / Decimal(right)
            case "div":
                result: Any = int(Decimal(left) / Decimal(right))
            case "mod":
                # Decimal's remainder is that of the truncated division, as FHIRPath's.
                remainder = Decimal(left) % Decimal(right)
                result = int(remainder) if isinstance(left, int) and isinstance(right, int) else remainder
            case _:
                result = {"+": operator.add, "-": operator.sub, "*": operator.mul}[symbol](left, right)
    return None if isinstance(result, int) and not -GREATEST_INTEGER - 1 <= result <= GREATEST_INTEGER else result


def boundary(item: Typed, is_high: bool, precision: int | None) -> Any:
    """The "least possible value of the input" (or the greatest) "to the specified precision", which counts a decimal's
    places, and the digits of a date or time; else at the type's greatest precision."""
    if item.type == "decimal" or isinstance(item.value, Decimal):
        value = Decimal(item.value)
        half = Decimal((0, (5,), int(value.as_tuple().exponent) - 1))
        bound = value + half if is_high else value - half
        if precision is None:
            return bound
        return bound.quantize(Decimal(1).scaleb(-precision), ROUND_CEILING if is_high else ROUND_FLOOR)
    if item.type == "time":
        return _cut(_clock(item.value, is_high), precision)
    if item.type == "date":
        return _cut(_day(item.value, is_high), precision)
    if item.type not in TEMPORAL:
        raise RefusedError(f"a boundary of {item.value!r}")
    day, _, rest = str(item.value).partition("T")
    clock, zone = _without_zone(rest)
    local = _cut(f"{_day(day, is_high)}T{_clock(clock, is_high)}", precision)
    # Where no zone is said it may be any: the first place to see a day is at +14:00, the last at -12:00.
    return f"{local}{zone or ('-12:00' if is_high else '+14:00')}" if "T" in local else local


def _cut(text: str, precision: int | None) -> str:
    """The text up to that many digits."""
    digits = [place for place, letter in enumerate(text, 1) if letter.isdigit()]
    return text if precision is None else text[: digits[precision - 1]]


def _day(text: str, is_high: bool) -> str:
    year, month, day = [*text.split("-"), None, None][:3]
    month = month or ("12" if is_high else "01")
    last = calendar.monthrange(int(str(year)), int(month))[1]
    return f"{year}-{month}-{day or (last if is_high else '01')}"


def _clock(text: str, is_high: bool) -> str:
    full = "23:59:59.999" if is_high else "00:00:00.000"
    return text + full[len(text) :]
