"""A cell of the completeness profile: one column of one table, in the rows of one silo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Zone = Literal["delivery", "silver", "gold"]

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
NULL_FLAVOR_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
# https://hl7.org/fhir/R4/codesystem-data-absent-reason.html
REASONS = (
    "unknown", "asked-unknown", "temp-unknown", "not-asked", "asked-declined", "masked", "not-applicable",
    "unsupported", "as-text", "error", "not-a-number", "negative-infinity", "positive-infinity", "not-performed",
    "not-permitted",
)  # fmt: skip
# A null flavor's reason, after the map of C-CDA on FHIR (catalog/formats/ccda/maps/null_flavor.yaml).
FLAVORS = {
    "UNK": "unknown", "NI": "unknown", "NA": "not-applicable", "NASK": "not-asked", "ASKU": "asked-unknown",
    "NAV": "temp-unknown", "MSK": "masked", "NINF": "negative-infinity", "PINF": "positive-infinity", "NP": "unknown",
    "OTH": "unsupported",
}  # fmt: skip
# Any reason that neither has: a text of the sender's is not shown.
OTHER = "other"


@dataclass(frozen=True)
class Cell:
    """How many of a silo's rows have a value in a column, by zone: a delivery as staged, silver or gold as live.

    `rows` = `present` + the sum of `absent` (rows by reason code) + `nulls` (rows that say nothing). `distinct` counts
    the different codes of a column of codes. Of one that should be in a code system, `coded` rows have a code in any
    system and `mapped` have one in that system.
    """

    zone: Zone
    silo: str
    table: str
    column: str
    rows: int
    present: int
    absent: Mapping[str, int] = field(default_factory=dict)
    distinct: int | None = None
    coded: int | None = None
    mapped: int | None = None

    @property
    def name(self) -> str:
        """`table.column`, or `ResourceType.element`."""
        return f"{self.table}.{self.column}"

    @property
    def nulls(self) -> int:
        """Rows that have no value and no reason for that."""
        return self.rows - self.present - sum(self.absent.values())

    @property
    def known(self) -> int:
        """Rows whose value can be used: of a code with a system of its own, those in that system."""
        return self.present if self.mapped is None else self.mapped

    @property
    def known_percent(self) -> float:
        """Rows whose value can be used, in percent; 0 where there are no rows."""
        return percent(self.known, self.rows)

    @property
    def mapped_percent(self) -> float | None:
        """Codes in the expected system, in percent of all codes; None where no system is expected or no code came."""
        return None if self.mapped is None or not self.coded else percent(self.mapped, self.coded)


def percent(part: int, whole: int) -> float:
    """A part of a whole in percent, to three digits; of nothing, 0."""
    return round(100 * part / whole, 3) if whole else 0.0
