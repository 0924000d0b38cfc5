"""What a check is: the rules that rows and facts are held to, and the forms of FHIR's primitive types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cohortlake.core.catalog.silo import Severity

Kind = Literal["conformance", "completeness", "plausibility"]

# https://hl7.org/fhir/R4/datatypes.html#primitive
FHIR_ID = r"[A-Za-z0-9\-.]{1,64}"
_YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_MONTH, _DAY = r"(0[1-9]|1[0-2])", r"(0[1-9]|[1-2][0-9]|3[0-1])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
FHIR_DATES = {
    "date": rf"{_YEAR}(-{_MONTH}(-{_DAY})?)?",
    "dateTime": rf"{_YEAR}(-{_MONTH}(-{_DAY}(T{_TIME}{_ZONE})?)?)?",
    "instant": rf"{_YEAR}-{_MONTH}-{_DAY}T{_TIME}{_ZONE}",
}
# What is written there as \s and \S: XML's four blanks, named here since engines differ on the rest. A no-break space
# is none of them, so that a URI may hold one (RFC 3987, ucschar).
BLANK = r"[ \t\r\n]"
INK = r"[^ \t\r\n]+"
FHIR_FORMS = {
    "base64Binary": rf"({BLANK}*[0-9a-zA-Z+/=]{{4}}{BLANK}*)+",
    "canonical": INK,
    "code": rf"{INK}({BLANK}{INK})*",
    "id": FHIR_ID,
    "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
    "time": _TIME,
    "uri": INK,
    "url": INK,
    "uuid": r"urn:uuid:[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
}
# The least value of a number.
FHIR_LEAST = {"positiveInt": 1, "unsignedInt": 0}


@dataclass(frozen=True)
class Present:
    """There is a value. A reason why there is none is no value, nor is a code that says only that."""


@dataclass(frozen=True)
class ValueOrReason:
    """There is a value, or an extension in its place, as R4's minimum of 1 asks.

    So no record is rejected that says why it has no value (https://hl7.org/fhir/R4/extension-data-absent-reason.html).
    """


@dataclass(frozen=True)
class OneOf:
    """The value (of a list: each of them) is one of the codes; of an element that is a number, one of the numbers."""

    codes: tuple[str | float, ...]


@dataclass(frozen=True)
class Matches:
    """The whole text matches a regular expression."""

    pattern: str


@dataclass(frozen=True)
class WellFormed:
    """The text is a FHIR date, dateTime or instant, and a day that exists."""

    type: str


@dataclass(frozen=True)
class Within:
    """The number lies between two bounds, which belong to it; None is no bound."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Holds:
    """The condition is true; null is no answer, and passes."""


@dataclass(frozen=True)
class Ordered:
    """The period does not end before it starts."""


@dataclass(frozen=True)
class Resolves:
    """Each reference points at a resource that is staged or live. `targets` are the types that R4 allows."""

    targets: tuple[str, ...]


@dataclass(frozen=True)
class InLife:
    """The date lies in the patient's life: not more than `days` before birth, or after death."""

    edge: Literal["birth", "death"]
    days: int


@dataclass(frozen=True)
class ValuesWellFormed:
    """Every value of a primitive type in the record has the type's form."""

    type: str


@dataclass(frozen=True)
class HasRequired:
    """The element, where it is there, holds the elements that R4 requires in it (`value[x]` for a choice)."""

    elements: tuple[str, ...]


@dataclass(frozen=True)
class OneType:
    """A choice of types is made once at most."""


@dataclass(frozen=True)
class Refers:
    """A Reference's text has a form that R4 allows; where it names a resource type, it is one of the targets."""

    targets: tuple[str, ...]


@dataclass(frozen=True)
class Unique:
    """No two rows have the same values in all of the columns."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """The table has these columns and no other one."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Brought:
    """An expectation that a user brought (`expectations/own`), run as given; `type` is what it is called there."""

    type: str


@dataclass(frozen=True)
class NoEmptyList:
    """No list in the record is empty."""


Form = ValuesWellFormed | HasRequired | OneType | Refers | NoEmptyList
OfRows = Present | ValueOrReason | OneOf | Matches | WellFormed | Within | Holds | Ordered | Resolves | InLife | Form
Rule = OfRows | Unique | Columns | Brought


@dataclass(frozen=True)
class Check:
    """One check. `name` is stable: quarantine and Data Docs show it.

    `element` is a FHIR path below the resource type (`medication[x]` for a choice), a gold column, or a fact's name.
    `sql`, where set, is DuckDB's SQL over a row that gives the value judged, and `element` its name. `reason` is a
    source.
    """

    table: str
    name: str
    kind: Kind
    severity: Severity
    rule: Rule
    element: str = ""
    reason: str = ""
    sql: str = ""
    is_fact: bool = False
