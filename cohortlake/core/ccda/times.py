"""TS and IVL_TS to dateTime, date, instant and Period, as precise as they were sent.

Source: C-CDA on FHIR, "Mapping guidance": CDA Time/Dates.
"""

from __future__ import annotations

from typing import Any

from cohortlake.core.ccda.run import Run
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.readers.ccda import Node


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
