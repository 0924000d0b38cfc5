"""The maps of local codes in `catalog/conceptmaps`: a short YAML, or a FHIR R4 ConceptMap as JSON.

A silo names those that apply to it (`concept_maps`). Source: https://hl7.org/fhir/R4/conceptmap.html.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration, line_of, load, load_content, read_yaml
from cohortlake.core.errors import CatalogError, UnsignedProtocolError

Equivalence = Literal[
    "relatedto",
    "equivalent",
    "equal",
    "wider",
    "subsumes",
    "narrower",
    "specializes",
    "inexact",
    "unmatched",
    "disjoint",
]
R4 = "See https://hl7.org/fhir/R4/conceptmap.html."
# Someone looked and found that the target has nothing for it, so there is nothing to map.
NOTHING = frozenset({"unmatched", "disjoint"})


class Target(Declaration):
    """What a code means in the target system; `unmatched` needs no code."""

    code: str | None = None
    display: str | None = None
    equivalence: Equivalence = "equivalent"

    @model_validator(mode="after")
    def _a_match_has_a_code(self) -> Target:
        if self.code is None and self.equivalence not in NOTHING:
            raise ValueError(f"a target that is {self.equivalence} has a code")
        return self


class Group(Declaration):
    """Codes of one system in terms of another; systems are URIs."""

    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.\-]*:\S+$")]
    target: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.\-]*:\S+$")]
    codes: Annotated[dict[str, Target], Field(min_length=1)]


class ConceptMap(Declaration):
    """A map with its version, who keeps it, and when it was signed; an unsigned one is not applied."""

    name: str
    url: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.\-]*:[^\s|]+$")]
    title: str
    version: Annotated[str, Field(pattern=r"^[^\s|]+$")]
    date: datetime.date
    steward: Annotated[str, Field(description="the role that keeps it")]
    signed_off: datetime.date | None = None
    groups: Annotated[list[Group], Field(min_length=1)]

    @property
    def canonical(self) -> str:
        """The version-specific canonical URL."""
        return f"{self.url}|{self.version}"

    @property
    def label(self) -> str:
        """As lists of codes name it."""
        return f"{self.name} {self.version}"


def load_concept_maps(folder: Path) -> dict[str, ConceptMap]:
    """The maps by name, which is their file's. Raises CatalogError naming file, line and what is expected."""
    found: dict[str, ConceptMap] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.json")]):
        if path.stem in found:
            raise CatalogError(f"{path}:1: there is a map of the name {path.stem!r} already", "Give it another name.")
        if path.suffix == ".yaml":
            found[path.stem] = load(path, ConceptMap, name=path.stem)
            continue
        try:
            found[path.stem] = _of_fhir(path)
        except (AttributeError, KeyError, TypeError) as error:
            raise CatalogError(f"{path}:1: an element has not the type that R4 gives it: {error}", R4) from error
    return found


def _of_fhir(path: Path) -> ConceptMap:
    """A FHIR R4 ConceptMap; one whose `status` is active counts as signed off on its `date`."""
    content, lines = read_yaml(path)  # (JSON is YAML, and so has lines)

    def wrong(problem: str, *at: str | int) -> CatalogError:
        return CatalogError(f"{path}:{line_of(lines, at)}: {problem}", R4)

    if not isinstance(content, dict) or content.get("resourceType") != "ConceptMap":
        raise wrong("expected a FHIR resource of type ConceptMap")
    groups: list[dict[str, Any]] = []
    places: dict[tuple[str | int, ...], int] = {}
    for number, group in enumerate(content.get("group") or []):
        codes: dict[str, Any] = {}
        if group.get("unmapped"):
            raise wrong(
                "group.unmapped is not supported here: such codes are kept and counted", "group", number, "unmapped"
            )
        for row, element in enumerate(group.get("element") or []):
            at = ("group", number, "element", row)
            targets = element.get("target") or [{"equivalence": "unmatched"}]
            if len(targets) > 1 or any(target.get("dependsOn") for target in targets):
                raise wrong("a code has one target here, which depends on nothing", *at, "target")
            if element.get("code") in codes:
                raise wrong(f"the code {element['code']!r} stands here a second time", *at)
            told = {name: targets[0][name] for name in ("code", "display", "equivalence") if name in targets[0]}
            codes[element.get("code")] = told
            places["groups", number, "codes", element.get("code")] = line_of(lines, at)
        groups.append({"source": group.get("source"), "target": group.get("target"), "codes": codes})
        places |= {("groups", number, key): line_of(lines, ("group", number, key)) for key in ("source", "target")}
    date = str(content.get("date", ""))[:10]
    made = {
        "url": content.get("url"), "version": content.get("version"), "date": date, "groups": groups,
        "title": content.get("title") or content.get("name"), "steward": content.get("publisher"),
    }  # fmt: skip
    made["signed_off"] = date if content.get("status") == "active" else None
    places |= {(key,): line_of(lines, (key,)) for key in made}
    content = {"name": path.stem, **{key: value for key, value in made.items() if value is not None}}
    return load_content(path, content, places, ConceptMap)


def check_maps_signed(maps: Iterable[ConceptMap], force: bool) -> None:
    """Raises UnsignedProtocolError for a map that nobody signed, unless forced."""
    for one in maps:
        if one.signed_off is None and not force:
            raise UnsignedProtocolError(
                f"concept map {one.name}: its version {one.version} is not signed off",
                f"Have it signed: signed_off in catalog/conceptmaps/{one.name}.yaml. Or run with --force.",
            )


def check_maps(path: Path, names: Iterable[str], maps: Mapping[str, ConceptMap]) -> None:
    """Raises CatalogError where a silo names a map that is not there, or says what another one says."""
    _, lines = read_yaml(path)
    systems: dict[tuple[str, str], str] = {}
    for number, name in enumerate(names):
        place = f"{path}:{line_of(lines, ('concept_maps', number))}: concept_maps: {name!r}"
        if name not in maps:
            known = ", ".join(maps) or "none"
            raise CatalogError(f"{place} is not in catalog/conceptmaps; there are {known}")
        if maps[name].signed_off is None:
            raise CatalogError(
                f"{place} is not signed off", f"Have it signed: signed_off in catalog/conceptmaps/{name}."
            )
        for group in maps[name].groups:
            other = systems.setdefault((group.source, group.target), name)
            if other != name:
                raise CatalogError(f"{place} maps {group.source} to {group.target}, and so does {other!r}")
