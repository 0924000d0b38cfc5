"""TS and IVL_TS to dateTime, date, instant and Period, as precise as they were sent.

Source: C-CDA on FHIR, "Mapping guidance": CDA Time/Dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cohortlake.core.ccda.run import Run, Value
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.readers.ccda import Node

TIME = re.compile(r"(\d{4}(?:\d\d){0,5})(?:\.\d+)?(?:([+-]\d{4})|Z)?")


def earliest(found: Sequence[Value]) -> list[Value]:
    """The element with the earliest time; the first where none has one.

    A time that is less precise counts from its start, one without a zone as UTC.
    """
    timed = [(begin, at) for at in found if isinstance(at, Node) and (begin := _begin(at)) is not None]
    return [min(timed, key=lambda each: each[0])[1]] if timed else list(found[:1])


def _begin(node: Node) -> datetime | None:
    match = TIME.fullmatch(node.attributes.get("value", "").strip())
    if not match:
        return None
    digits = match[1] + "00000101000000"[len(match[1]) :]
    try:
        return datetime.strptime(f"{digits}{match[2] or '+0000'}", "%Y%m%d%H%M%S%z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment(node: Node, kind: str, run: Run) -> str | None:
    """A time as precise as it was sent; of an interval, its start."""
    text = node.attributes.get("value", "").strip()
    if not text:
        low = node.first("low") or node.first("center")
        return moment(low, kind, run) if low is not None else None
    if text.endswith("Z"):
        text = f"{text[:-1]}+0000"
    made: str | None = convert(text, kind, run.clock)
    if made is None:
        run.warn("a time that is none is left out", node)
    return made


def period(node: Node, run: Run) -> dict[str, Any] | None:
    at = node.attributes.get("value")
    ends = {"start": node if at else node.first("low") or node.first("center"), "end": node.first("high")}
    made = {name: moment(end, "dateTime", run) for name, end in ends.items() if end is not None}
    return {name: end for name, end in made.items() if end} or None
