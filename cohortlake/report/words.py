"""Numbers, times and names as a reader sees them."""

from __future__ import annotations

import datetime

LONGEST_NAME = 120


def count(value: int) -> str:
    """A number with thousands separators."""
    return f"{value:,}"


def short_count(value: int) -> str:
    """A number in a narrow place: three figures and a letter from ten thousand on."""
    if abs(value) < 10_000:
        return count(value)
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if abs(value) >= size * 0.9995:
            scaled = value / size
            return f"{scaled:.0f} {letter}" if scaled >= 99.95 else f"{scaled:.1f} {letter}"
    return count(value)


def plural(value: int, one: str, many: str = "") -> str:
    """A number and its noun: `1 row`, `1,200 rows`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def percent(part: int, whole: int) -> str:
    """A part of a whole in percent, as `share` writes it."""
    return share(100 * part / whole) if whole > 0 else "\u2013"


def share(value: float) -> str:
    """Percent that never round some to none or most to all: 3 of 100,000 is `< 0.01 %`."""
    if 0 < value < 0.01:
        return "< 0.01 %"
    if 99.99 < value < 100:
        return "> 99.99 %"
    digits = 2 if 0 < value < 1 or 99 < value < 100 else 1
    return f"{value:.{digits}f} %" if value not in (0, 100) else f"{value:.0f} %"


def size(count_of_bytes: int) -> str:
    """Bytes in decimal units."""
    value = float(count_of_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration(seconds: float) -> str:
    """A span of time in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left:02d} s"


def moment(at: datetime.datetime | None) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "unknown"


def clip(name: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits: a source may send one of any length."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def sentence(parts: list[str]) -> str:
    """Parts of a list in one line: `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
