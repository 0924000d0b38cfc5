"""PN, AD and TEL to HumanName, Address and ContactPoint.

Source: C-CDA on FHIR, "Mapping guidance": Name, Address, Telecom.
"""

from __future__ import annotations

import re
from typing import Any

from cohortlake.core.ccda.narrative import plain
from cohortlake.core.ccda.run import Run
from cohortlake.core.ccda.times import period
from cohortlake.core.readers.ccda import Node

PARTS = {"city": "city", "county": "district", "state": "state", "postalCode": "postalCode", "country": "country"}
LINES = ("streetAddressLine", "deliveryAddressLine", "additionalLocator", "houseNumber", "streetName", "unitID")
SCHEMES = {"tel": "phone", "fax": "fax", "mailto": "email", "http": "url", "https": "url", "sms": "sms"}


def _mapped(uses: str, name: str, run: Run) -> str | None:
    codes = run.declared.maps[name].codes
    return next((codes[use].code for use in uses.split() if use in codes), None)


def human_name(node: Node, run: Run) -> dict[str, Any] | None:
    parts = {name: [t for part in node.elements(name) if (t := plain(part))] for name in ("given", "prefix", "suffix")}
    family = " ".join(t for part in node.elements("family") if (t := plain(part)))
    made: dict[str, Any] = {"use": _mapped(node.attributes.get("use", ""), "name_use", run)}
    made |= {"family": family, **parts}
    if not family and not any(parts.values()):
        made["text"] = plain(node)
        if not made["text"]:
            return None
    valid = node.first("validTime")
    made["period"] = period(valid, run) if valid is not None else None
    return {name: value for name, value in made.items() if value}


def address(node: Node, run: Run) -> dict[str, Any] | None:
    made: dict[str, Any] = {"use": _mapped(node.attributes.get("use", ""), "address_use", run)}
    children = [child for child in node.children if isinstance(child, Node)]
    made["line"] = [text for child in children if child.name in LINES and (text := plain(child))]
    made |= {PARTS[child.name]: plain(child) for child in children if child.name in PARTS}
    if not children:
        made["text"] = plain(node)
    valid = node.first("useablePeriod")
    made["period"] = period(valid, run) if valid is not None else None
    made = {name: value for name, value in made.items() if value}
    return made if made.keys() - {"use", "period"} else None


def contact_point(node: Node, run: Run) -> dict[str, Any] | None:
    value = node.attributes.get("value", "").strip()
    scheme, _, rest = value.partition(":")
    system = SCHEMES.get(scheme.strip().lower())
    if not value or (system and not rest.strip()):
        return None
    uses = node.attributes.get("use", "")
    if system == "phone" and "PG" in uses.split():
        system = "pager"
    if not system:
        system, rest = _guessed(value), value
    use = _mapped(uses, "telecom_use", run)
    made = {"system": system, "value": value if system == "url" else rest.strip(), "use": use}
    return {name: item for name, item in made.items() if item}


def _guessed(value: str) -> str:
    """The system of a telecom that is no URL, though CDA wants one."""
    if "@" in value:
        return "email"
    return "phone" if re.fullmatch(r"[\d\s()+.\-x]+", value) else "other"
