"""What a benchmark was asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes that were asked for; each section has its own where one is None. `rows` is of the merge and the gate."""

    megabytes: float | None = None
    rounds: int | None = None
    rows: int | None = None
