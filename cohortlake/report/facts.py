"""Reading the facts of steps: JSON that another version, or a hand, may have written.

The report must come out of a run whatever its records hold, so nothing here raises: what has another shape counts as
absent.
"""

from __future__ import annotations

import datetime
import math
from typing import Any


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON array."""
    return [item for item in items(value) if isinstance(item, dict)]


def whole(value: Any) -> int:
    """The value if it is a number, else 0."""
    found = real(value)
    return 0 if found is None else int(found)


def real(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else None


def text(value: Any) -> str:
    """The value if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


def tally(value: Any) -> dict[str, int]:
    """Counts by name, the largest first."""
    found = {str(name): whole(number) for name, number in mapping(value).items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def time(value: Any) -> datetime.datetime | None:
    """The time if the value is one (ISO 8601; UTC where it names no zone), else None."""
    try:
        found = datetime.datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
