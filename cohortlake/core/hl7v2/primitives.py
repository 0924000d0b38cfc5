"""v2 text to FHIR primitives, as precise as it was sent (chapter 2A: DT, DTM/TS, TM, NM, SI)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

DTM = re.compile(r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d+)?)?)?)?)?)?([+-]\d{4})?")
TIME = re.compile(r"(\d\d)(\d\d)(?:(\d\d)(\.\d+)?)?(?:[+-]\d{4})?")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# FHIR has it too; :61 is no time.
LEAP_SECOND = 60
OFFSET = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d")


class Clock:
    """The zone of times that carry none: the offset of MSH-7 (chapter 2A.2.76), else the silo's zone."""

    def __init__(self, message_time: str, zone: str) -> None:
        offset = message_time[-5:]
        self.offset = offset if OFFSET.fullmatch(offset) else None
        self.zone = zone
        self.assumed = False

    def suffix(self, at: datetime) -> str:
        """The offset (`+02:00`) of a local time."""
        if self.offset:
            return f"{self.offset[:3]}:{self.offset[3:]}"
        self.assumed = True
        if self.zone == "UTC":
            return "+00:00"
        delta = ZoneInfo(self.zone).utcoffset(at) or timedelta(0)
        minutes = int(delta.total_seconds() // 60)
        return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _date_time(text: str, clock: Clock, *, is_instant: bool = False) -> str | None:
    match = DTM.fullmatch(text)
    if not match:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if int(second or 0) > LEAP_SECOND:
        return None
    try:
        at = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59)
        )
    except ValueError:
        return None
    date = "-".join(part for part in (year, month, day) if part)
    if hour is None and not is_instant:
        return date
    if offset and not OFFSET.fullmatch(offset):
        return None
    suffix = f"{offset[:3]}:{offset[3:]}" if offset else clock.suffix(at)
    return f"{at:%Y-%m-%d}T{hour or '00'}:{minute or '00'}:{second or '00'}{fraction or ''}{suffix}"


def _date(text: str, clock: Clock) -> str | None:
    found = _date_time(text, clock) if len(text) <= 8 else _date_time(re.split(r"[+-]", text)[0][:8], clock)
    return found if _date_time(text, clock) else None


def _time(text: str, _: Clock) -> str | None:
    match = TIME.fullmatch(text)
    if not match or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3] or 0) > LEAP_SECOND:
        return None
    return f"{match[1]}:{match[2]}:{match[3] or '00'}{match[4] or ''}"


def _decimal(text: str, _: Clock) -> Decimal | None:
    return Decimal(text) if NUMBER.fullmatch(text) else None


def _whole(least: int) -> Callable[[str, Clock], int | None]:
    def convert(text: str, _: Clock) -> int | None:
        number = Decimal(text) if NUMBER.fullmatch(text) else None
        is_whole = number is not None and number == int(number) and least <= number < 2**31
        return int(number) if number is not None and is_whole else None

    return convert


def _boolean(text: str, _: Clock) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _string(text: str, _: Clock) -> str | None:
    return UNPRINTABLE.sub("", text).strip() or None


def _code(text: str, _: Clock) -> str | None:
    return " ".join(text.split()) or None


CONVERTERS: dict[str, Callable[[str, Clock], Any]] = {
    "boolean": _boolean,
    "code": _code,
    "date": _date,
    "dateTime": _date_time,
    "decimal": _decimal,
    "instant": lambda text, clock: _date_time(text, clock, is_instant=True),
    "integer": _whole(-(2**31)),
    "positiveInt": _whole(1),
    "time": _time,
    "unsignedInt": _whole(0),
}


def convert(text: str, kind: str, clock: Clock) -> Any:
    """A primitive of a FHIR type; None for text that is empty or is not of the type."""
    return CONVERTERS.get(kind, _string)(text.strip(), clock)
