"""Text of claims to FHIR primitives: dates as files write them, numbers with their digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d:\d\d.*)?", re.ASCII)
COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:\d{4,6})?", re.ASCII)
NAMED = re.compile(r"(\d{1,2})-?([A-Za-z]{3})-?(\d{4})(?:[ :]\d\d:\d\d.*)?", re.ASCII)
AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)", re.ASCII)
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def day(text: str) -> str | None:
    """A date in ISO's form: `12-Jan-2021`, `20210112`, `2021-01-12` or `01/12/2021`, a time of day left off."""
    found = ISO.fullmatch(text) or COMPACT.fullmatch(text)
    if found:
        parts = found.groups()
    elif found := NAMED.fullmatch(text):
        name = found[2].lower()
        parts = (found[3], str(MONTHS.index(name) + 1 if name in MONTHS else 0), found[1])
    elif found := AMERICAN.fullmatch(text):
        parts = (found[3], found[1], found[2])
    else:
        return None
    try:
        return date(*(int(part) for part in parts)).isoformat()
    except ValueError:
        return None


def _instant(text: str) -> str | None:
    found = day(text)
    return f"{found}T00:00:00Z" if found else None


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if NUMBER.fullmatch(text) else None


def _whole(least: int) -> Callable[[str], int | None]:
    def convert(text: str) -> int | None:
        number = _decimal(text)
        return int(number) if number is not None and number == int(number) and least <= number < 2**31 else None

    return convert


def _code(text: str) -> str | None:
    return " ".join(text.split()) or None


def _string(text: str) -> str | None:
    return UNPRINTABLE.sub("", text).strip() or None


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


CONVERTERS: dict[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "code": _code,
    "date": day,
    "dateTime": day,
    "decimal": _decimal,
    "instant": _instant,
    "integer": _whole(-(2**31)),
    "positiveInt": _whole(1),
    "unsignedInt": _whole(0),
}


def converter(kind: str) -> Callable[[str], Any]:
    """What makes a primitive of a FHIR type of a text; None of text that is empty or is not of the type."""
    return CONVERTERS.get(kind, _string)


def convert(text: str, kind: str) -> Any:
    """A primitive of a FHIR type; None for text that is empty or is not of the type."""
    return converter(kind)(text)
