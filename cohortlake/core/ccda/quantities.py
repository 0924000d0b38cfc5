"""PQ, IVL_PQ and RTO to Quantity, Range and Ratio.

Source: C-CDA on FHIR, "Mapping guidance": CDA Quantity, Ranges of Physical Quantities.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from cohortlake.core.ccda.codes import coding, text_of
from cohortlake.core.ccda.run import Run
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.readers.ccda import Node

UCUM = "http://unitsofmeasure.org"


def _number(text: str | None) -> Decimal | None:
    value: Decimal | None = convert(text or "", "decimal", None)  # type: ignore[arg-type]
    return value


def quantity(node: Node, run: Run) -> dict[str, Any] | None:
    """PQ, also its translation where it has no UCUM unit, and IVL_PQ with one end (the guide's comparators)."""
    low, high = node.first("low"), node.first("high")
    if low is not None or high is not None:
        return _one_end(low, high, run)
    value, unit = _number(node.attributes.get("value")), node.attributes.get("unit", "").strip()
    if value is None:
        translated = (_translated(child, run) for child in node.elements("translation"))
        return next((found for found in translated if found), None)
    made: dict[str, Any] = {"value": value}
    if unit and unit != "1":
        made["unit"] = unit
    if unit and not re.search(r"\s", unit):
        made |= {"system": UCUM, "code": unit}
    return made


def _translated(node: Node, run: Run) -> dict[str, Any] | None:
    value, original = _number(node.attributes.get("value")), node.first("originalText")
    if value is None:
        return None
    unit = (text_of(original, run) if original is not None else "") or node.attributes.get("displayName", "")
    code = coding(node, run) or {}
    made = {"value": value, "unit": unit or code.get("code"), "system": code.get("system"), "code": code.get("code")}
    if not made["system"]:
        made["code"] = None
    return {name: item for name, item in made.items() if item is not None}


def _one_end(low: Node | None, high: Node | None, run: Run) -> dict[str, Any] | None:
    under = quantity(low, run) if low is not None else None
    over = quantity(high, run) if high is not None else None
    end, made, sign = (high, over, "<") if over else (low, under, ">")
    if not made or end is None or (over and under and under["value"] != 0):
        return None
    is_open = end.attributes.get("inclusive") == "false"
    return {"value": made["value"], "comparator": sign if is_open else f"{sign}=", **made}


def range_of(node: Node, run: Run) -> dict[str, Any] | None:
    ends = {name: node.first(name) for name in ("low", "high")}
    made = {name: quantity(end, run) for name, end in ends.items() if end is not None}
    return {name: end for name, end in made.items() if end} or None


def ratio(node: Node, run: Run) -> dict[str, Any] | None:
    ends = {name: node.first(name) for name in ("numerator", "denominator")}
    made = {name: quantity(end, run) for name, end in ends.items() if end is not None}
    return {name: end for name, end in made.items() if end} or None
