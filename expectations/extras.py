"""Checks that FHIR and the protocols do not say: written by hand, a file a resource type, in `extras/`.

```yaml
define:                       # DuckDB's SQL over a staged row, by name, for the expressions below
  _loinc: "list_filter(code.coding, lambda c: c.system = 'http://loinc.org')[1].code"
events:                       # dates of what happened to the patient: after birth, before death, not in the future
  - element: effectiveDateTime
    planned: status = 'planned'          # rows whose date may lie ahead
    after_death_days: 365                # how long after death such a record may still come; 30 unless said
values:                       # measured values (Observation), by LOINC code, in its unit of catalog/units/codes.yaml
  - {loinc: 8867-4, name: heart rate, possible: [0, 500], plausible: [20, 300], reason: ...}
checks:                       # anything else: `holds` is a condition, or `value` lies between `minimum` and `maximum`
  - {name: is not older than 120 years, kind: plausibility, severity: warn, value: ..., maximum: 120, reason: ...}
```

A value that cannot be (outside `possible`) is quarantined; one that is unlikely (outside `plausible`) is a warning. A
value in another unit is converted before it is judged; one whose unit cannot be converted is not judged, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from cohortlake.core.catalog import Node
from cohortlake.core.catalog.silo import Severity
from cohortlake.core.catalog.source import Declaration, line_of, load, read_yaml
from cohortlake.core.checks import PATIENT_ELEMENTS
from cohortlake.core.errors import CatalogError
from cohortlake.core.rules import Check, Holds, InLife, Kind, Within
from cohortlake.core.sql import literal
from expectations.paths import element_sql, first_day
from spark_jobs.units import Conversion, Converter, Seen

FOLDER = Path(__file__).parent / "extras"
# A birth date is a local day and an event's time is often UTC, so that the two may differ by a day.
DAYS_BEFORE_BIRTH = 1
DAYS_AHEAD = 1
Bounds = tuple[float | None, float | None]
# Decimals of a converted value: bounds are met in spite of the noise of binary fractions.
PLACES = 9
# Data Docs show a condition, and units as they came are values of rows; so the condition is a column with them in it.
KNOWN = "_unit_is_known"


class Event(Declaration):
    """A date of something that happened to the patient."""

    element: str
    planned: str = "false"
    after_death_days: Annotated[int, Field(ge=0)] = 30


class Value(Declaration):
    """What a LOINC code's value can be, and is likely to be, in its unit; `in_components` if panels hold it too."""

    loinc: str
    name: str
    possible: Bounds = (None, None)
    plausible: Bounds = (None, None)
    in_components: bool = False
    reason: str


class Written(Declaration):
    """A check in SQL: a condition that holds, or a number between two bounds."""

    name: str
    kind: Kind
    severity: Severity
    reason: str
    holds: str | None = None
    value: str | None = None
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Written:
        if (self.holds is None) == (self.value is None):
            raise ValueError("a check has either `holds` or `value`")
        if self.value is not None and self.minimum is None and self.maximum is None:
            raise ValueError("a check of a value has a minimum, a maximum or both")
        return self


class Sheet(Declaration):
    """A file of `extras/`."""

    define: dict[str, str] = Field(default={})
    events: list[Event] = Field(default=[])
    values: list[Value] = Field(default=[])
    checks: list[Written] = Field(default=[])


@dataclass(frozen=True)
class Extras:
    """A resource type's written checks, and the columns that their SQL builds on."""

    define: dict[str, str] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()


@cache
def _sheets(folder: Path) -> dict[str, Sheet]:
    return {path.stem: load(path, Sheet) for path in sorted(folder.glob("*.yaml"))}


def extras(tree: Node, converter: Converter, seen: Sequence[Seen] = (), folder: Path = FOLDER) -> Extras:
    """The written checks of a resource type, for a batch that has the units `seen`.

    Raises CatalogError for a wrong file.
    """
    sheet = _sheets(folder).get(tree.name)
    if sheet is None:
        return Extras()
    for value in sheet.values:
        if value.loinc not in converter.units.codes:
            path = folder / f"{tree.name}.yaml"
            raise CatalogError(
                f"{path}:{_line(path, value.loinc)}: values: {value.loinc} has no unit in catalog/units/codes.yaml",
                "Declare its unit there; the bounds here are in it.",
            )
    known = _known(converter, seen)
    checks = [*_events(tree, sheet), *_values(tree, sheet, converter, known), *_written(tree, sheet)]
    define = {**sheet.define, KNOWN: _is_known_sql(converter, seen, known)} if sheet.values else sheet.define
    return Extras(define, tuple(checks))


def _known(converter: Converter, seen: Sequence[Seen]) -> dict[str, dict[str, Conversion]]:
    """The conversions of a batch's units: by LOINC code, then by the unit as it came."""
    known: dict[str, dict[str, Conversion]] = {}
    for one in seen:
        conversion = converter.standard(one)
        if conversion is not None and one.loinc in converter.units.codes:
            known.setdefault(str(one.loinc), {})[unit_key(one)] = conversion
    return known


def _is_known_sql(converter: Converter, seen: Sequence[Seen], known: Mapping[str, Mapping[str, Conversion]]) -> str:
    """SQL of whether a value's unit can be converted, null where its code has no declared unit."""
    came = {one.loinc for one in seen if one.loinc in converter.units.codes}
    pairs = [literal(f"{code} {unit}") for code, units in known.items() for unit in units]
    is_known = f"concat_ws(' ', _loinc, _unit) IN ({', '.join(sorted(pairs))})" if pairs else "false"
    is_due = f"_value IS NOT NULL AND _loinc IN ({', '.join(sorted(map(literal, came)))})" if came else "false"
    return f"CASE WHEN {is_due} THEN {is_known} END"


def _line(path: Path, loinc: str) -> int:
    content, lines = read_yaml(path)
    place = next(at for at, value in enumerate(content["values"]) if value["loinc"] == loinc)
    return line_of(lines, ("values", place, "loinc"))


def _events(tree: Node, sheet: Sheet) -> Iterator[Check]:
    table, reason = tree.name, "temporal plausibility, Kahn et al. 2016"
    has_patient = any(name in tree.children for name in PATIENT_ELEMENTS)
    for event in sheet.events:
        path = event.element
        name = f"{table}.{path}"
        if has_patient:
            born, died = InLife("birth", DAYS_BEFORE_BIRTH), InLife("death", event.after_death_days)
            yield Check(table, f"{name} is not before birth", "plausibility", "quarantine", born, path, reason)
            yield Check(table, f"{name} is not long after death", "plausibility", "warn", died, path, reason)
        days = f"date_diff('day', current_date, {first_day(element_sql(tree, path)[0])})"
        sql = f"CASE WHEN coalesce({event.planned}, false) THEN 0 ELSE {days} END"
        soon, column = Within(None, DAYS_AHEAD), f"{path} days ahead"
        yield Check(table, f"{name} is not in the future", "plausibility", "quarantine", soon, column, reason, sql)


def unit_key(seen: Seen) -> str:
    """A unit as `define` names it in `_unit`: its code and its words."""
    return f"{seen.code or ''}|{seen.unit or ''}"


def _in_standard_unit(units: Mapping[str, Conversion], unit: str, value: str) -> str:
    """SQL of a value in its standard unit, by the unit that it came in; null for any other unit."""
    branches = "".join(
        f" WHEN {literal(came)} THEN {value if one.is_identity else _line_sql(one, value)}"
        for came, one in units.items()
    )
    return f"CASE {unit}{branches} END" if branches else "CAST(NULL AS DOUBLE)"


def _line_sql(one: Conversion, value: str) -> str:
    return f"round({value} * {one.factor!r} + {one.offset!r}, {PLACES})"


def _values(
    tree: Node, sheet: Sheet, converter: Converter, known: Mapping[str, Mapping[str, Conversion]]
) -> Iterator[Check]:
    """Two checks a code at most; `define` gives `_loinc`, `_unit`, `_value` and, for panels, `_parts`."""
    table = tree.name
    for value in sheet.values:
        units = known.get(value.loinc, {})
        sql = f"CASE WHEN _loinc = {literal(value.loinc)} THEN {_in_standard_unit(units, '_unit', '_value')} END"
        if value.in_components:
            part = _in_standard_unit(units, "p.unit", "p.value")
            judged = f"list_filter(_parts, lambda p: p.loinc = {literal(value.loinc)} AND {part} IS NOT NULL)"
            sql = f"coalesce({sql}, list_transform({judged}, lambda p: {part})[1])"
        column = f"{value.name} ({value.loinc}, {converter.units.codes[value.loinc].unit})"
        bounds: list[tuple[str, Severity, Bounds]] = [
            ("possible", "quarantine", value.possible),
            ("plausible", "warn", value.plausible),
        ]
        for word, severity, ends in bounds:
            if ends != (None, None):
                name, within = f"{table} {column} is {word}", Within(*ends)
                yield Check(table, name, "plausibility", severity, within, column, value.reason, sql)
    if sheet.values:
        name, reason = f"{table} unit is known for its code", "the units of catalog/units"
        yield Check(table, name, "conformance", "warn", Holds(), "unit", reason, KNOWN)


def _written(tree: Node, sheet: Sheet) -> Iterator[Check]:
    for check in sheet.checks:
        rule = Holds() if check.holds is not None else Within(check.minimum, check.maximum)
        sql = str(check.holds if check.holds is not None else check.value)
        name = f"{tree.name} {check.name}"
        yield Check(tree.name, name, check.kind, check.severity, rule, check.name, check.reason, sql)
