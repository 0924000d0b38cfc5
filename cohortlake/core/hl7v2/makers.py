"""What compiled templates are put together from: functions from a scope to the values of an element."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from cohortlake.core.hl7v2 import codes
from cohortlake.core.hl7v2.primitives import convert
from cohortlake.core.hl7v2.run import Scope
from cohortlake.core.readers.hl7v2 import Value

# Values for an element, and whether any came from the message (constants alone make no object).
Found = tuple[list[Any], bool]
Make = Callable[[Scope], Found]
NOTHING: Found = ([], False)


def looked_up(code: str, table: str, scope: Scope) -> str | None:
    if not code:
        return None
    found = codes.target(code, table, scope.run)
    return found.code if found else code


def _whole(value: Value, scope: Scope) -> str:
    """Text that the sender left unescaped: what looks like components is put together again."""
    marks = scope.run.message.delimiters
    return marks.component.join((marks.subcomponent or " ").join(component) for component in value)


def _system(value: Value, scope: Scope) -> str | None:
    name = codes.text_of(value)
    return codes.system_uri(name, scope.run) if name else None


def _timed(value: Value, scope: Scope) -> str | None:
    """A time that says more than its day (`YYYYMMDD`)."""
    text = codes.text_of(value)
    return text if len(text) > len("YYYYMMDD") else None


# A reference range of numbers, as HL7 v2.5.1 7.4.2.7 has it, and with the word `to`.
RANGE = re.compile(r"(?P<low>-?\d+(?:\.\d+)?)\s*(?:-|to)\s*(?P<high>-?\d+(?:\.\d+)?)")
BOUND = re.compile(r"(?P<side>[<>])=?\s*(?P<limit>-?\d+(?:\.\d+)?)")


def _limit(side: str) -> Callable[[Value, Scope], str | None]:
    """One limit of a reference range; None where it is not written as numbers."""

    def limit(value: Value, scope: Scope) -> str | None:
        text = _whole(value, scope).strip()
        both = RANGE.fullmatch(text)
        if both:
            return both[side] if Decimal(both["low"]) <= Decimal(both["high"]) else None
        one = BOUND.fullmatch(text)
        return one["limit"] if one and (one["side"] == ">") == (side == "low") else None

    return limit


TEXTS: dict[str, Callable[[Value, Scope], str | None]] = {
    "authority": codes.authority,
    "entity_authority": lambda value, scope: codes.authority(value[1:], scope),
    "system": _system,
    "text": _whole,
    "timed": _timed,
    "range_low": _limit("low"),
    "range_high": _limit("high"),
}


def primitive(text: Callable[[Value, Scope], str | None], kind: str) -> Callable[[Value, Scope, str], list[Any]]:
    def turn(value: Value, scope: Scope, place: str) -> list[Any]:
        found = text(value, scope)
        if not found or not found.strip():
            return []
        made = convert(found, kind, scope.run.clock)
        if made is None:
            scope.run.warn(f"not a {kind}", place)
            return []
        return [made]

    return turn


def all_of(parts: list[Make]) -> Make:
    def make(scope: Scope) -> Found:
        found: dict[str, Any] = {}
        is_found = False
        for part in parts:
            values, counts = part(scope)
            for value in values:
                found.setdefault(repr(value), value)
            is_found = is_found or counts
        return list(found.values()), is_found

    return make


ORIGINAL_TEXT = "http://hl7.org/fhir/StructureDefinition/originalText"


def set_bound(result: dict[str, Any], name: str, values: list[Any], is_list: bool, allowed: frozenset[str]) -> None:
    """An element whose binding is required holds its codes only: another code is kept as its original text."""
    good = [value for value in values if value in allowed]
    if good:
        result[name] = good if is_list else good[0]
    else:
        kept = {"extension": [{"url": ORIGINAL_TEXT, "valueString": str(values[0])}]}
        result[f"_{name}"] = [kept] if is_list else kept


def counted(value: Make) -> Make:
    def make(scope: Scope) -> Found:
        values = value(scope)[0]
        return values, bool(values)

    return make


def first_of(parts: list[Make]) -> Make:
    def make(scope: Scope) -> Found:
        return next((found for part in parts if (found := part(scope))[0]), NOTHING)

    return make


def joined(parts: list[Make], between: str, kind: str, *, is_sorted: bool = False) -> Make:
    def make(scope: Scope) -> Found:
        found = [part(scope) for part in parts]
        texts = [str(value) for values, _ in found for value in values]
        text = between.join(sorted(texts) if is_sorted else texts)
        is_found = any(counts for _, counts in found)
        if not (text and is_found):
            return NOTHING
        if kind == "base64Binary":
            text = base64.b64encode(text.encode()).decode()
        return [convert(text, kind, scope.run.clock)], True

    return make
