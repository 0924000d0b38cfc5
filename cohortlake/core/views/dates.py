"""Dates and times as FHIR and FHIRPath write them, brought to a form whose texts sort and compare as the values do.

The form has a date and time in UTC, and seconds with six decimals; what is less precise is shorter. A value without a
time zone is taken to be in UTC. Source: https://hl7.org/fhirpath (literals; date and time equality).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_CLOCK = r"(?P<clock>\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?)"
_DATE_TIME = re.compile(rf"(?P<date>\d{{4}}(?:-\d{{2}}(?:-\d{{2}})?)?)(?:T{_CLOCK}(?P<zone>Z|[+-]\d{{2}}:\d{{2}})?)?")
_TIME = re.compile(_CLOCK)
_FIRST_DAY, _MIDNIGHT = "0001-01-01", "00:00:00.000000"
# Characters of a clock reading of hours, of minutes; seconds and their fraction are one precision.
_HOUR, _MINUTE = 2, 5


def sortable_date(text: str) -> str | None:
    """The form of a date, dateTime or instant; None for what is none."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return None
    date, clock = found["date"], found["clock"]
    whole_clock = _filled(clock) if clock else _MIDNIGHT
    try:
        moment = datetime.fromisoformat(f"{date}{_FIRST_DAY[len(date) :]}T{whole_clock}{found['zone'] or 'Z'}")
        if clock is None:
            return date
        in_utc = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return None
    return in_utc[: len("yyyy-MM-ddT") + (len(clock) if len(clock) in (_HOUR, _MINUTE) else len(_MIDNIGHT))]


def sortable_time(text: str) -> str | None:
    """The form of a time of day; None for what is none."""
    if _TIME.fullmatch(text) is None or sortable_date(f"{_FIRST_DAY}T{text}") is None:
        return None
    return text if len(text) in (_HOUR, _MINUTE) else _filled(text)


def _filled(clock: str) -> str:
    """A clock reading with what it lacks as zeros, and six decimals."""
    return (clock + _MIDNIGHT[len(clock) :])[: len(_MIDNIGHT)]
