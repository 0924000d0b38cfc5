"""A SQL on FHIR v2 ViewDefinition as it stands in JSON: read, and checked for its form.

Source: https://build.fhir.org/ig/HL7/sql-on-fhir/en/StructureDefinition-ViewDefinition.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from cohortlake.core.errors import ViewError
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.views.dates import sortable_date, sortable_time
from cohortlake.core.views.types import CONSTANT_TYPES, Kind, kind

# What a ViewDefinition inherits from FHIR's CanonicalResource: documentation, without effect on the rows.
METADATA = frozenset(
    "resourceType id meta implicitRules language text extension url identifier version versionAlgorithmString "  # noqa: SIM905 (a name a line would bury the rest)
    "versionAlgorithmCoding title status experimental date publisher contact description useContext jurisdiction "
    "purpose copyright copyrightLabel approvalDate lastReviewDate effectivePeriod topic author editor reviewer "
    "endorser relatedArtifact profile fhirVersion".split()
)
HINT = "Mend the ViewDefinition at that path."

SqlName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Path = Annotated[StrictStr, Field(min_length=1)]


class Element(BaseModel):
    """Base of a view's parts: frozen, and an element that the specification does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    ignored: ClassVar[frozenset[str]] = frozenset(("id", "extension"))

    @model_validator(mode="before")
    @classmethod
    def _knows_every_element(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            for name in content:
                # `_name` holds what FHIR's JSON says about `name` beside its value: an id, extensions.
                if name.removeprefix("_") not in (*allowed, *cls.ignored):
                    raise _wrong(repr(name), ", ".join(sorted(allowed)))
        return content


class Tag(Element):
    """A hint to an implementation; `ansi/type` names the SQL type of the column."""

    name: StrictStr
    value: StrictStr


class Column(Element):
    name: SqlName
    path: Path
    type: StrictStr | None = None
    collection: StrictBool = False
    description: StrictStr | None = None
    tag: tuple[Tag, ...] = ()


class Select(Element):
    """Columns, nested selects and a union, for the focus or for each item of an iteration."""

    column: tuple[Column, ...] = ()
    select: tuple[Select, ...] = ()
    union_all: Annotated[tuple[Select, ...], Field(alias="unionAll")] = ()
    for_each: Annotated[Path | None, Field(alias="forEach")] = None
    for_each_or_null: Annotated[Path | None, Field(alias="forEachOrNull")] = None
    # Without paths it reaches nothing, and so gives no rows.
    repeat: tuple[Path, ...] | None = None

    @model_validator(mode="after")
    def _iterates_once_and_selects_something(self) -> Select:
        given = {"forEach": self.for_each, "forEachOrNull": self.for_each_or_null, "repeat": self.repeat}
        iterations = [name for name, value in given.items() if value is not None]
        if len(iterations) > 1:
            raise _wrong(" and ".join(iterations), "at most one of forEach, forEachOrNull, repeat")
        if not (self.column or self.select or self.union_all):
            raise _wrong("a select without content", "one with column, select or unionAll")
        return self


class Constant(Element):
    """A value for `%name`, of the FHIR `type` that its JSON name says (`valueCode`)."""

    name: SqlName
    type: StrictStr
    value: bool | int | Decimal | str

    @model_validator(mode="before")
    @classmethod
    def _knows_every_element(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        beside = {f"_{name}" for name in CONSTANT_TYPES} | {"name", "_name", *cls.ignored}
        given = [name for name in content if name not in beside]
        if len(given) != 1 or given[0] not in CONSTANT_TYPES:
            raise _wrong(", ".join(map(repr, given)) or "no value", f"one of {', '.join(CONSTANT_TYPES)}")
        fhir_type, value = CONSTANT_TYPES[given[0]], content[given[0]]
        return {"name": content.get("name"), "type": fhir_type, "value": _constant(fhir_type, value)}


def _constant(fhir_type: str, value: Any) -> bool | int | Decimal | str:
    """A constant's JSON value. R5 writes a 64-bit integer as a string of digits."""
    match kind(fhir_type), value:
        case Kind.BOOLEAN, bool():
            return value
        case _, bool():
            pass
        case Kind.INTEGER, int():
            return value
        case Kind.INTEGER, str() if fhir_type == "integer64" and re.fullmatch(r"-?\d+", value):
            return int(value)
        case Kind.DECIMAL, int() | float() | Decimal():
            return Decimal(str(value))
        case (Kind.STRING, str()):
            return value
        case (Kind.DATE, str()) if sortable_date(value):
            return value
        case (Kind.TIME, str()) if sortable_time(value):
            return value
    raise _wrong(repr(value), f"a JSON value of type {fhir_type}")


class Where(Element):
    path: Path
    description: StrictStr | None = None


class View(Element):
    """A ViewDefinition: one resource type, and the rows that each of its resources gives."""

    ignored = METADATA

    resource: StrictStr
    select: Annotated[tuple[Select, ...], Field(min_length=1)]
    name: SqlName | None = None
    where: tuple[Where, ...] = ()
    constant: tuple[Constant, ...] = ()

    @model_validator(mode="after")
    def _resource_is_known(self) -> View:
        if self.resource not in resource_types():
            raise _wrong(f"resource {self.resource!r}", "a resource type of FHIR R4, such as Patient")
        return self


def parse_view(content: Mapping[str, Any]) -> View:
    """Read a ViewDefinition's JSON. Raises ViewError, every problem on a line of its own, for a wrong form."""
    try:
        return View.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        # A list whose items are wrong is reported as too short as well: only the innermost places are news.
        around = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
        said = [_say(problem) for problem in problems if problem["loc"] not in around]
        raise ViewError("\n".join(said), HINT) from error


def placed(at: str, path: str) -> str:
    """A place in a view with the path that stands there, as errors name it."""
    return f"{at} ({path})"


def refusal(at: str, found: str, allowed: str) -> ViewError:
    """The error for what stands at a place of a view."""
    return ViewError(f"{at}: found {found}; allowed: {allowed}", HINT)


def _wrong(found: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError("view", "found {found}; allowed: {allowed}", {"found": found, "allowed": allowed})


def _say(problem: ErrorDetails) -> str:
    place = ""
    for part in problem["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    place = place.lstrip(".") or "the view"
    if problem["type"] == "view":
        return f"{place}: {problem['msg']}"
    if problem["type"] == "missing":
        return f"{place}: found nothing; allowed: a value, for it is required"
    expected = problem["msg"].removeprefix("Input should be ").removeprefix("String should ")
    return f"{place}: found {problem['input']!r:.80}; allowed: {expected}"
