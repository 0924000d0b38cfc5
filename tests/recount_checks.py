"""What checks say of FHIR records, in plain Python over their JSON: nothing here comes from the gate.

A record's value of a check is judged or missing, and if judged, good or bad: `recount` gives how many are missing and
how many are bad. Of the project's code only declarations are read: the checks themselves, and R4's element definitions.
"""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cohortlake.core.fhir.definitions import elements
from cohortlake.core.rules import (
    Check,
    HasRequired,
    InLife,
    Matches,
    NoEmptyList,
    OneOf,
    OneType,
    Ordered,
    Present,
    Refers,
    Resolves,
    ValueOrReason,
    ValuesWellFormed,
    WellFormed,
)

REASONS = ("data-absent-reason", "NullFlavor")
Record = Mapping[str, Any]
Answer = bool | None  # good, bad, or missing


def reach(node: Any, path: list[str]) -> Iterator[Any]:
    """Every value at a path; a list counts by its items."""
    if isinstance(node, list):
        for item in node:
            yield from reach(item, path)
    elif not path:
        if node is not None:
            yield node
    elif isinstance(node, dict):
        yield from reach(node.get(path[0]), path[1:])


def paths(record: Record, path: str) -> list[list[str]]:
    """The paths that `value[x]` or a plain path stands for."""
    *above, last = path.split(".")
    if not last.endswith("[x]"):
        return [[*above, last]]
    start = last[:-3]
    keys = {key for node in reach(record, above) for key in node if key.startswith(start) and key[len(start)].isupper()}
    return [[*above, key] for key in sorted(keys)]


def has_value(node: Any) -> bool:
    if isinstance(node, list):
        return any(has_value(item) for item in node)
    if isinstance(node, dict):
        if "code" in node and any(str(node.get("system", "")).endswith(end) for end in REASONS):
            return False
        return any(has_value(value) for key, value in node.items() if key != "extension" and key[0] != "_")
    return node not in (None, "")


def has_reason(node: Any, path: list[str]) -> bool:
    """Whether an extension stands at the path or above it, or a code that says why there is no value."""
    if isinstance(node, list):
        return any(has_reason(item, path) for item in node)
    if not isinstance(node, dict):
        return False
    if not path:
        codings = node.get("coding", [node])
        coded = any(str(one.get("system", "")).endswith(REASONS) for one in codings if isinstance(one, dict))
        return coded or any("url" in one for one in node.get("extension", []))
    beside = any(isinstance(one, dict) and one.get("extension") for one in _listed(node.get(f"_{path[0]}")))
    above = any(isinstance(one, dict) and one.get("extension") for one in _listed(node.get(path[0])))
    return beside or above or has_reason(node.get(path[0]), path[1:])


def _listed(node: Any) -> list[Any]:
    return node if isinstance(node, list) else [node]


def days(text: str) -> tuple[datetime.date, datetime.date] | None:
    """The first and the last day that a date may mean, None where there is no such day."""
    try:
        year, month, day = (int(part) for part in (text + "-0-0").split("T")[0].split("-")[:3])
        last = calendar.monthrange(year, month)[1] if month else 31
        return datetime.date(year, month or 1, day or 1), datetime.date(year, month or 12, day or last)
    except ValueError:
        return None


def is_date(text: str, kind: str) -> bool:
    day, _, time = text.partition("T")
    parts = day.split("-")
    if [len(part) for part in parts] not in ([4], [4, 2], [4, 2, 2]) or not "".join(parts).isdecimal() or not days(day):
        return False
    if kind == "date":
        return not time and "T" not in text
    if "T" not in text:
        return kind == "dateTime"
    clock = re.fullmatch(r"(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", time)
    return len(parts) == 3 and clock is not None and int(clock[1]) < 24 and int(clock[2]) < 60 and int(clock[3]) <= 60


def seconds(period: Record) -> float | None:
    """How long a period lasts at most."""
    start, end = period.get("start"), period.get("end")
    if not start or not end or not days(start) or not days(end):
        return None
    if len(start) > 10 and len(end) > 10:
        moments = [datetime.datetime.fromisoformat(one.replace("Z", "+00:00")) for one in (start, end)]
        return (moments[1] - moments[0]).total_seconds()
    return 86400.0 * (days(end)[1] - days(start)[0]).days


def key(reference: Record) -> str | None:
    """What a reference points at: `Type/id`, or nothing where it says no more than a text."""
    text = reference.get("reference")
    if not text:
        return "" if reference.get("display") else None
    return "/".join(text.split("/_history/")[0].split("/")[-2:])


class Hospital:
    """The records of a silo's delivery by type, as JSON, with what they can refer to."""

    def __init__(self, records: Mapping[str, list[Record]], refused: set[str] = frozenset()) -> None:
        self.records = records
        self.known = {f"{name}/{one.get('id')}" for name, of in records.items() for one in of} - {
            f"Patient/{patient}" for patient in refused
        }
        self.identified = {
            f"{name}?identifier={one.get('system', '')}|{one.get('value')}"
            for name, of in records.items()
            for record in of
            for one in record.get("identifier", [])
        }
        self.patients = {f"Patient/{one['id']}": one for one in records.get("Patient", []) if one["id"] not in refused}

    def recount(self, check: Check) -> tuple[int, int, int]:
        """How many records a check of rows looks at, and of how many its value is missing, and bad."""
        answers = [self.answer(check, record) for record in self.records[check.table]]
        if isinstance(check.rule, Present | ValueOrReason):
            return len(answers), answers.count(False), answers.count(False)
        return len(answers), answers.count(None), answers.count(False)

    def answer(self, check: Check, record: Record) -> Answer:
        rule, path = check.rule, check.element
        found = [value for one in paths(record, path) for value in reach(record, one) if has_value(value)]
        if isinstance(rule, Present):
            return bool(found)
        if isinstance(rule, ValueOrReason):
            named = paths(record, path) or [[path]]
            return any(map(has_value, found)) or any(has_reason(record, one) for one in named)
        if isinstance(rule, OneOf):
            return _all(_coded(value, rule) for value in found)
        if isinstance(rule, Matches):
            return _all(re.fullmatch(rule.pattern, value) is not None for value in found)
        if isinstance(rule, WellFormed):
            return _all(is_date(value, rule.type) for value in found)
        if isinstance(rule, Ordered):
            lasting = [seconds(value) for value in found]
            return None if not lasting or lasting[0] is None else lasting[0] >= 0
        if isinstance(rule, Resolves):
            return _all(self._resolves(value, path) for value in found)
        if isinstance(rule, InLife):
            return self._in_life(record, found, rule)
        return self._form(check, record)

    def _resolves(self, reference: Record, path: str) -> bool:
        to = key(reference)
        if to is None:
            return True
        if path not in ("subject", "patient") and to == "":
            return True
        if to.partition("/")[0].partition("?")[0] not in {*self.records, "", "Patient"}:
            return True  # silver may not hold the type
        return to in self.known or to in self.identified

    def _in_life(self, record: Record, found: list[str], rule: InLife) -> Answer:
        if not found:
            return None
        patient = self.patients.get(key(record.get("subject") or record.get("patient") or {}) or "")
        for text in found:
            at = days(text)
            edge = patient and patient.get("birthDate" if rule.edge == "birth" else "deceasedDateTime")
            bounds = days(edge) if edge else None
            if at and bounds and rule.edge == "birth" and at[1] < bounds[0] - datetime.timedelta(rule.days):
                return False
            if at and bounds and rule.edge == "death" and at[0] > bounds[1] + datetime.timedelta(rule.days):
                return False
        return True

    def _form(self, check: Check, record: Record) -> bool:
        rule, at = check.rule, check.element.split(".")
        if isinstance(rule, NoEmptyList):
            return "[]" not in str(record).replace(" ", "")
        if isinstance(rule, ValuesWellFormed):
            return all(_has_form(value, rule.type) for value in _typed(record, check.table, rule.type))
        if isinstance(rule, HasRequired):
            return all(
                any(has_value(node.get(one[0])) for one in paths(node, name)) if node else True
                for node in reach(record, at)
                for name in rule.elements
            )
        if isinstance(rule, OneType):
            above = list(reach(record, at[:-1]))
            return all(sum(has_value(node.get(one[0])) for one in paths(node, at[-1])) < 2 for node in above)
        if isinstance(rule, Refers):
            return all(_refers(value.get("reference"), rule.targets) for value in reach(record, at))
        raise TypeError(type(rule).__name__)


def _all(answers: Iterator[bool]) -> Answer:
    listed = list(answers)
    return all(listed) if listed else None


def _coded(value: Any, rule: OneOf) -> bool:
    if not isinstance(value, dict):
        return value in rule.codes
    codes = [one.get("code") for one in value.get("coding", [value])]
    return any(code in rule.codes for code in codes) or not any(codes)


def _refers(text: str | None, targets: tuple[str, ...]) -> bool:
    if text is None or text.startswith("#") or re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:.", text):
        return text is None or " " not in text
    kind, slash, rest = text.partition("/")
    kind = kind.partition("?")[0]
    known = kind in targets or ((not targets or "Resource" in targets) and kind.isalpha() and kind[0].isupper())
    return bool(known and " " not in text and (rest if slash else "?" in text))


def _typed(node: Any, kind: str, wanted: str, name: str = "") -> Iterator[Any]:
    """Every value of a primitive type in a record; the record's own id has a check of its own."""
    if isinstance(node, list):
        for item in node:
            yield from _typed(item, kind, wanted, name)
    elif isinstance(node, dict):
        known = elements(kind)
        for child, value in node.items():
            if child in known and child not in ("extension", "contained") and not (child == "id" and not name):
                yield from _typed(value, known[child].type, wanted, child)
    elif kind == wanted and name != "reference":
        yield node


def _has_form(value: Any, kind: str) -> bool:
    if kind in ("positiveInt", "unsignedInt"):
        return int(value) >= (kind == "positiveInt")
    blanks = [sign for sign in value if sign in " \t\r\n"]
    if kind in ("uri", "url", "canonical"):
        return bool(value) and not blanks
    if kind == "code":
        return bool(value) and value == value.strip(" \t\r\n") and all(re.split("[ \t\r\n]", value))
    if kind == "id":
        return re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", value) is not None
    if kind == "base64Binary":
        text = "".join(sign for sign in value if sign not in " \t\r\n")
        return bool(text) and len(text) % 4 == 0 and re.fullmatch("[0-9A-Za-z+/=]+", text) is not None
    return True
