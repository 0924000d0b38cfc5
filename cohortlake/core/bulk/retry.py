"""When to ask a server again: Retry-After where it says so, else exponential back-off."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from cohortlake.core.bulk.outcome import is_transient

BUSY = frozenset({408, 425, 429, 502, 503, 504})
GONE = frozenset({404, 410})


class Verdict(Enum):
    """What an answer means for the request that it answers."""

    DONE = auto()
    WAIT = auto()  # the export is still being made
    AGAIN = auto()  # trouble that may pass
    TOKEN = auto()  # the token is not good, or no longer
    GONE = auto()  # the export, or the file, is no longer there
    REFUSED = auto()


def verdict(status: int, body: bytes = b"") -> Verdict:
    """What a status code, with the body of an error, means.

    A 500 with an OperationOutcome is the export's own failure unless the server calls it transient (the specification,
    "Response - Error Status"); one without is the infrastructure's.
    """
    if status == 202:
        return Verdict.WAIT
    if 200 <= status < 300:
        return Verdict.DONE
    if status == 401:
        return Verdict.TOKEN
    if status in GONE:
        return Verdict.GONE
    if status in BUSY or (status >= 500 and is_transient(body) is not False):
        return Verdict.AGAIN
    return Verdict.REFUSED


def retry_after(header: str | None, now: datetime.datetime) -> float | None:
    """Seconds that a Retry-After header asks to wait: a number, or an HTTP date. None where it says neither."""
    if header is None:
        return None
    text = header.strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - now).total_seconds())


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try. All in seconds, but for `tries` of one request in a row."""

    first: float = 2.0
    longest: float = 300.0
    longest_asked: float = 3600.0
    tries: int = 8

    def wait(self, attempt: int, asked: float | None, random: float) -> float:
        """Seconds until the try after `attempt` (from 0): what the server asks, within reason, or ever longer.

        `random` in [0, 1) spreads clients by up to a quarter.
        """
        if asked is not None:
            return min(max(asked, self.first / 2), self.longest_asked)
        return min(self.first * 2.0 ** min(attempt, 32), self.longest) * (1 - 0.25 * random)
