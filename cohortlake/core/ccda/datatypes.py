"""CDA datatypes to those of FHIR R4, chosen by the FHIR type that an element has.

Source: C-CDA on FHIR, "Mapping guidance"; CDA R2 datatypes. What says nothing (nullFlavor, no content) becomes None.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from cohortlake.core.ccda.codes import coding, concept, identifier, text_of
from cohortlake.core.ccda.demographics import address, contact_point, human_name
from cohortlake.core.ccda.narrative import plain, xhtml
from cohortlake.core.ccda.quantities import quantity, range_of, ratio
from cohortlake.core.ccda.run import Run, Value
from cohortlake.core.ccda.times import moment, period
from cohortlake.core.fhir.definitions import primitive_types
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.readers.ccda import Node


def attachment(node: Node, run: Run) -> dict[str, Any] | None:
    """ED: base64 data as it is, text as its bytes, a reference as a link."""
    kind = node.attributes.get("mediaType", "")
    reference = node.first("reference")
    link = reference.attributes.get("value", "") if reference is not None else ""
    if link and not link.startswith("#"):
        return {"contentType": kind, "url": link} if kind else {"url": link}
    data = "".join(node.text().split())
    if node.attributes.get("representation") == "B64" and data:
        try:
            base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            run.warn("base64 data that is none is kept as text", node)
        else:
            return {"contentType": kind or "application/octet-stream", "data": data}
    part = run.narrative.get(link[1:], node) if link else node
    div = xhtml(part) if any(isinstance(child, Node) for child in part.children) else None
    text = div if div else part.text().strip()
    if not text:
        return None
    made = base64.b64encode(text.encode()).decode()
    return {"contentType": "application/xhtml+xml" if div else kind or "text/plain", "data": made}


def annotation(node: Node, run: Run) -> dict[str, Any] | None:
    text = text_of(node, run)
    author = node.first("author") or (node.parent and node.parent.first("author"))
    time = author.first("time") if author is not None else None
    at = moment(time, "dateTime", run) if time is not None else None
    return {"text": text, **({"time": at} if at else {})} if text else None


def narrative(node: Node, run: Run) -> dict[str, Any] | None:
    div = xhtml(node)
    return {"status": "generated", "div": div} if div else None


COMPLEX: dict[str, Callable[[Node, Run], Any]] = {
    "Address": address,
    "Age": quantity,
    "Annotation": annotation,
    "Attachment": attachment,
    "CodeableConcept": concept,
    "Coding": coding,
    "ContactPoint": contact_point,
    "Duration": quantity,
    "HumanName": human_name,
    "Identifier": identifier,
    "Narrative": narrative,
    "Period": period,
    "Quantity": quantity,
    "Range": range_of,
    "Ratio": ratio,
}


def value_of(found: Value, kind: str, run: Run) -> Any:
    """What a path led to as a value of a FHIR type; None for what says nothing or is not of the type."""
    if isinstance(found, str):
        return _text(found, kind, run)
    if kind in COMPLEX:
        return COMPLEX[kind](found, run)
    if kind in ("date", "dateTime", "instant"):
        return moment(found, kind, run)
    if kind in ("string", "markdown"):
        return text_of(found, run) or found.attributes.get("value") or found.attributes.get("displayName") or None
    text = found.attributes.get("value") or found.attributes.get("code") or plain(found)
    return _text(text, kind, run) if kind in primitive_types() else None


def _text(text: str, kind: str, run: Run) -> Any:
    if kind == "Coding":
        return {"code": text} if text else None
    if kind == "CodeableConcept":
        return {"text": text} if text else None
    if kind == "base64Binary":
        return text or None
    return convert(text, kind, run.clock)


CHOICES = {
    "PQ": ("Quantity",),
    "REAL": ("Quantity", "Decimal"),
    "INT": ("Integer", "Quantity"),
    "BL": ("Boolean",),
    "ST": ("String",),
    "ED": ("String",),
    "TS": ("DateTime", "Period"),
    "IVL_TS": ("Period", "DateTime"),
    "IVL_PQ": ("Quantity", "Range"),
    "RTO": ("Ratio",),
    "RTO_PQ_PQ": ("Ratio",),
    "RTO_INT_INT": ("Ratio",),
    "CD": ("CodeableConcept",),
}
CHOICES |= dict.fromkeys(("CE", "CV", "CO", "CS"), CHOICES["CD"])


def choices(node: Node) -> tuple[str, ...]:
    """The types of a choice (`value[x]`) that a value may become, the best first."""
    kind = node.attributes.get("xsi:type", "")
    if kind in CHOICES and kind not in ("TS", "IVL_TS"):
        return CHOICES[kind]
    if "code" in node.attributes:
        return CHOICES["CD"]
    if kind or node.name.endswith("Time") or node.name == "time":
        low, high = node.first("low"), node.first("high")
        is_point = low is not None and high is not None and low.attributes.get("value") == high.attributes.get("value")
        return ("DateTime", "Period") if "value" in node.attributes or is_point else ("Period", "DateTime")
    return ("Quantity", "String") if "value" in node.attributes else ("CodeableConcept", "String")
