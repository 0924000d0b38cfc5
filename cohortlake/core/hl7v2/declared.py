"""How HL7 v2 becomes FHIR, as `catalog/formats/hl7v2` declares it; docs/hl7v2.md tells it by example.

`resources/PID.Patient.yaml` is the guide's segment map `PID[Patient]`, `datatypes/CX.Identifier.yaml` its datatype map
`CX[Identifier]`, `maps/0001.yaml` a concept map, `messages/ADT.yaml` a message map. `groups.yaml` says which segments
belong together, `names.yaml` what the names of code systems and assigning authorities are as URIs.

Source: HL7 Version 2 to FHIR implementation guide (STU 1), http://hl7.org/fhir/uv/v2mappings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cohortlake.core.catalog.source import Declaration, load
from cohortlake.core.fhir.definitions import elements
from cohortlake.core.language import declared as language

FOLDER = language.FORMATS / "hl7v2"
Key = Annotated[list[list[Any]], Field(min_length=1)]


class SegmentMap(language.ResourceMap):
    """A resource made of each `segment` that heads or is a member of a group.

    `key` are alternatives; the first whose first part has a value is the resource's identity, from which its id is
    derived. `is_repeatable` facts with one identity in one message are told apart by their order; others are one
    resource. `left_out` fields are not carried, for the reason given.
    """

    segment: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{2}$")]
    key: Key
    is_repeatable: bool = False
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
class Hl7v2(language.Declared[SegmentMap, language.Shared]):
    """The declarations by name; `maps` are the tables."""

    datatypes: dict[str, DatatypeMap]
    messages: dict[str, MessageMap]
    groups: dict[str, Group]
    names: Names


@cache
def load_hl7v2(folder: Path = FOLDER) -> Hl7v2:
    """Read the declarations. Raises CatalogError naming file, line and what is expected."""
    declared = Hl7v2(
        **vars(language.read_declared(folder, SegmentMap, language.Shared)),
        datatypes=language.read_all(folder / "datatypes", DatatypeMap),
        messages=language.read_all(folder / "messages", MessageMap),
        groups=load(folder / "groups.yaml", Groups).groups,
        names=load(folder / "names.yaml", Names),
    )
    for name, datatype in declared.datatypes.items():
        try:
            elements(datatype.fhir)
        except KeyError as error:
            raise declared.fail(name, ("fhir",), f"R4 has no type {datatype.fhir!r}", "datatypes") from error
    for name, message in declared.messages.items():
        made = [message.makes, message.refers_to]
        made += [each or [] for trigger in message.triggers.values() for each in (trigger.makes, trigger.refers_to)]
        declared.check_made(chain(*made), folder / f"messages/{name}.yaml")
    for name, group in declared.groups.items():
        for inner in set(group.groups) - declared.groups.keys():
            reason = f"{name} names a group {inner!r} that is not declared"
            raise declared.fail("groups", ("groups", name), reason, "")
    return declared
