"""Fields that a sender of HL7 v2 fills in another place than the standard says: read from where the sender has them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from cohortlake.core.readers.hl7v2 import Message, Segment

# `OBR-22`, and `OBR-4.1` for a component.
FIELD = re.compile(r"(?P<segment>[A-Z][A-Z0-9]{2})-(?P<field>[1-9]\d*)(?:\.(?P<component>[1-9]\d*))?")


def misplaced(places: Mapping[str, str]) -> str | None:
    """What is wrong with a declaration of places (`{OBR-22: OBR-21}`), or None."""
    for field, place in places.items():
        to, at = FIELD.fullmatch(field), FIELD.fullmatch(place)
        if to is None or to["component"]:
            return f"{field!r} must be a field, as OBR-22"
        if at is None:
            return f"{place!r} must be a field or a component of one, as OBR-21 or OBR-4.1"
        if to["segment"] != at["segment"] or to["segment"] == "MSH":
            return f"{field} and {place} must be of one segment, and not of MSH"
    return None


def in_place(message: Message, places: Mapping[str, str]) -> Message:
    """The message with each field that `places` names taken from the place given, all at once.

    A whole field that stands elsewhere leaves its own place empty, unless that is taken from yet another one.
    """
    if not places:
        return message
    return replace(message, segments=[_moved(segment, places) for segment in message.segments])


def _moved(segment: Segment, places: Mapping[str, str]) -> Segment:
    here = {to: at for to, at in places.items() if to.startswith(f"{segment.name}-")}
    if not here:
        return segment
    fields = list(segment.fields)
    for at in here.values():
        if "." not in at:
            _put(fields, at, "")
    for to, at in here.items():
        _put(fields, to, _text(segment, at))
    return replace(segment, fields=fields, _parsed={})


def _text(segment: Segment, place: str) -> str:
    found = FIELD.fullmatch(place)
    if found is None or int(found["field"]) >= len(segment.fields):
        return ""
    text = segment.fields[int(found["field"])]
    if not found["component"]:
        return text
    components = text.split(segment.delimiters.component)
    return components[int(found["component"]) - 1] if int(found["component"]) <= len(components) else ""


def _put(fields: list[str], place: str, text: str) -> None:
    number = int(place.partition("-")[2])
    fields += [""] * (number + 1 - len(fields))
    fields[number] = text
