"""How HL7 v2 becomes FHIR, as `catalog/formats/hl7v2` declares it; docs/hl7v2.md tells it by example.

`segments/PID.Patient.yaml` is the guide's segment map `PID[Patient]`, `datatypes/CX.Identifier.yaml` its datatype map
`CX[Identifier]`, `tables/0001.yaml` a concept map, `messages/ADT.yaml` a message map. `groups.yaml` says which segments
belong together, `names.yaml` what the names of code systems and assigning authorities are as URIs.

Source: HL7 Version 2 to FHIR implementation guide (STU 1), http://hl7.org/fhir/uv/v2mappings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field

from cohortlake.core.catalog.mapping import CodeMap
from cohortlake.core.catalog.source import Declaration, load
from cohortlake.core.errors import CatalogError
from cohortlake.core.fhir.definitions import elements, resource_types

FOLDER = Path(__file__).parent.parent.parent.parent / "catalog/formats/hl7v2"
Key = Annotated[list[list[Any]], Field(min_length=1)]
Declared = TypeVar("Declared", bound=Declaration)


class SegmentMap(Declaration):
    """A resource made of each `segment` that heads or is a member of a group.

    `key` are alternatives; the first whose first part has a value is the resource's identity, from which its id is
    derived. `is_repeatable` facts with one identity in one message are told apart by their order; others are one
    resource. `left_out` fields are not carried, for the reason given.
    """

    name: str
    segment: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{2}$")]
    resource: str
    when: str | None = None
    key: Key
    is_repeatable: bool = False
    elements: dict[str, Any]
    left_out: dict[str, str] = {}


class DatatypeMap(Declaration):
    """A v2 datatype as a FHIR datatype, or, with a `key`, as a resource of its own and a reference to it.

    `display` is the template of that reference's display. `.4.2` is the value's fourth component's second subcomponent.
    """

    name: str
    fhir: str
    key: Key | None = None
    display: Any = None
    elements: dict[str, Any]


class Trigger(Declaration):
    """What an event means: `set` gives the values that templates name as `@name`.

    `makes` and `refers_to` replace the message's.
    """

    title: str
    set: dict[str, str] = {}
    makes: list[str] | None = None
    refers_to: list[str] | None = None


class MessageMap(Declaration):
    """The segment maps that a message type makes, and its events.

    What it only `refers_to` (the patient and visit of a result) is made and tagged as told in passing, so that it need
    not replace what a message on it says.
    """

    name: str
    makes: list[str]
    refers_to: list[str] = []
    set: dict[str, str] = {}
    triggers: dict[str, Trigger]


class Group(Declaration):
    """A group is begun by one of `opens`; `members` may follow; `groups` may stand within."""

    opens: list[str]
    members: list[str] = []
    groups: list[str] = []


class Groups(Declaration):
    """The groups by name; `message` is the outermost."""

    groups: dict[str, Group]


class Names(Declaration):
    """URIs by the names that v2 gives: `systems` as table 0396 names them, `authorities` as CX-4 does."""

    systems: dict[str, str]
    authorities: dict[str, str]


@dataclass(frozen=True)
class Hl7v2:
    """The declarations by name."""

    folder: Path
    segments: dict[str, SegmentMap]
    datatypes: dict[str, DatatypeMap]
    tables: dict[str, CodeMap]
    messages: dict[str, MessageMap]
    groups: dict[str, Group]
    names: Names


def _all(folder: Path, model: type[Declared]) -> dict[str, Declared]:
    return {path.stem: load(path, model, name=path.stem) for path in sorted(folder.glob("*.yaml"))}


@cache
def load_hl7v2(folder: Path = FOLDER) -> Hl7v2:
    """Read the declarations. Raises CatalogError naming file, line and what is expected."""
    declared = Hl7v2(
        folder,
        _all(folder / "segments", SegmentMap),
        _all(folder / "datatypes", DatatypeMap),
        _all(folder / "tables", CodeMap),
        _all(folder / "messages", MessageMap),
        load(folder / "groups.yaml", Groups).groups,
        load(folder / "names.yaml", Names),
    )
    _check(declared)
    return declared


def _check(declared: Hl7v2) -> None:
    folder, known = declared.folder, ", ".join(declared.segments)
    for name, segment in declared.segments.items():
        if segment.resource not in resource_types():
            raise CatalogError(f"{folder}/segments/{name}.yaml:1: {segment.resource!r} is not an R4 resource type")
    for name, datatype in declared.datatypes.items():
        try:
            elements(datatype.fhir)
        except KeyError as error:
            raise CatalogError(f"{folder}/datatypes/{name}.yaml:1: R4 has no type {datatype.fhir!r}") from error
    for name, message in declared.messages.items():
        for made in [
            *message.makes,
            *message.refers_to,
            *(m for t in message.triggers.values() for m in (*(t.makes or ()), *(t.refers_to or ()))),
        ]:
            if made not in declared.segments:
                raise CatalogError(
                    f"{folder}/messages/{name}.yaml:1: there is no segments/{made}.yaml; there are {known}"
                )
    for name, group in declared.groups.items():
        for inner in group.groups:
            if inner not in declared.groups:
                raise CatalogError(f"{folder}/groups.yaml:1: {name} names a group {inner!r} that is not declared")
