"""A silo's part of the report: its files to bronze, bronze to silver, and what was met on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cohortlake.plan import SILO_STEPS
from cohortlake.report import facts
from cohortlake.report.live import Live
from cohortlake.report.records import DONE, Run, StepRecord

WHOLE_FILES = "files"
BRONZE = "bronze."


@dataclass(frozen=True)
class Feed:
    """A feed's files and records: in = landed + quarantined. `is_mapped` is no where it stays in bronze."""

    name: str
    files: int
    records: int
    landed: int
    quarantined: int
    is_mapped: bool


@dataclass
class Resource:
    """A resource type's rows on the way to silver; `live` is None where it is not known."""

    name: str
    records: int = 0
    rejected: int = 0
    gated: int = 0
    superseded: int = 0
    published: int = 0
    live: int | None = None

    @property
    def quarantined(self) -> int:
        return self.rejected + self.gated


@dataclass(frozen=True)
class Unexpected:
    """A field or column that nobody declared, and in how many records it came."""

    where: str
    path: str
    records: int


@dataclass(frozen=True)
class Unmapped:
    """A code map that lacks codes: how many, and in how many records. The codes themselves are values."""

    code_map: str
    codes: int
    records: int


@dataclass(frozen=True)
class ConceptMap:
    """A concept map in the version that was applied, and how many codings it added."""

    label: str
    codings: int


@dataclass(frozen=True)
class Silo:
    """What a run did with a silo."""

    name: str
    steps: tuple[StepRecord, ...]
    batch: str
    files: int
    files_new: int
    bytes: int
    feeds: tuple[Feed, ...]
    resources: tuple[Resource, ...]
    unexpected: tuple[Unexpected, ...]
    unmapped: tuple[Unmapped, ...]
    concept_maps: tuple[ConceptMap, ...]
    rejected_files: dict[str, str]
    absent_folder: str
    deferred_files: tuple[str, ...]
    empty_files: tuple[str, ...]
    replayed: int
    released: int

    @property
    def records(self) -> int:
        return sum(feed.records for feed in self.feeds)

    @property
    def judged(self) -> int:
        """Records, or the rows that were made of them where those are more: a message or a document makes many."""
        return max(self.records, self.published + self.superseded + self.quarantined())

    @property
    def landed(self) -> int:
        return sum(feed.landed for feed in self.feeds)

    @property
    def published(self) -> int:
        return sum(resource.published for resource in self.resources)

    @property
    def superseded(self) -> int:
        return sum(resource.superseded for resource in self.resources)

    @property
    def live(self) -> int | None:
        """Rows live in silver, or None where they could not be counted."""
        known = [resource.live for resource in self.resources if resource.live is not None]
        return sum(known) if known else None

    @property
    def is_new(self) -> bool:
        """Whether the run brought anything, or tried to."""
        return bool(self.files_new or self.feeds or self.published) or any(step.status != DONE for step in self.steps)

    def quarantined(self, *kinds: str) -> int:
        """Records (and whole files) that steps of these kinds, or all, put into quarantine."""
        return sum(step.total("quarantined") for step in self.steps if not kinds or step.kind in kinds)


def read_silo(run: Run, name: str, live: Live) -> Silo:
    """A silo's part of a run; empty where the records are."""
    steps = {kind: run.step(kind, name) for kind in SILO_STEPS}
    land, standardise = steps["land"].facts, steps["standardise"].facts
    not_mapped = facts.mapping(standardise.get("not_mapped"))
    return Silo(
        name=name,
        steps=tuple(steps.values()),
        batch=facts.text(land.get("batch")) or facts.text(standardise.get("batch")),
        files=facts.whole(land.get("files")),
        files_new=facts.whole(land.get("files_new")),
        bytes=facts.whole(land.get("bytes")),
        feeds=tuple(_feeds(steps["land"], not_mapped)),
        resources=tuple(_resources(steps, live.silver.get(name, {}))),
        unexpected=tuple(_unexpected(land, standardise)),
        unmapped=tuple(_unmapped(standardise)),
        concept_maps=tuple(ConceptMap(*told) for told in sorted(facts.tally(standardise.get("mapped")).items())),
        rejected_files={file: facts.text(why) for file, why in facts.mapping(land.get("files_rejected")).items()},
        absent_folder=facts.text(land.get("absent_folder")),
        deferred_files=_names(land.get("files_deferred")),
        empty_files=_names(land.get("empty_files")),
        replayed=facts.whole(standardise.get("replayed")),
        released=facts.whole(steps["publish"].facts.get("released")),
    )


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in facts.items(value) if isinstance(name, str))


def _feeds(land: StepRecord, not_mapped: dict[str, Any]) -> list[Feed]:
    told = facts.mapping(land.facts.get("feeds"))
    found = []
    for book in land.books:
        if book.table != WHOLE_FILES:
            name = book.table.removeprefix(BRONZE)
            files = facts.whole(facts.mapping(told.get(name)).get("files"))
            counts = (files, book.rows_in, book.rows_out, book.quarantined)
            found.append(Feed(name, *counts, is_mapped=name not in not_mapped))
    return sorted(found, key=lambda feed: feed.name.lower())


def _resources(steps: dict[str, StepRecord], live: dict[str, int]) -> list[Resource]:
    """Rows by resource type. A type may be made by several mappings, named `Type` or `Type.variant`."""
    found = {name: Resource(name, live=rows) for name, rows in live.items()}
    for kind in ("standardise", "gate", "publish"):
        for book in steps[kind].books:
            if book.table.startswith(BRONZE):
                continue
            name = book.table.partition(".")[0]
            resource = found.setdefault(name, Resource(name))
            if kind == "standardise":
                resource.records += book.rows_in
                resource.rejected += book.quarantined
            elif kind == "gate":
                resource.gated += book.quarantined
            else:
                resource.superseded += book.superseded
                resource.published += book.rows_out
    return sorted(found.values(), key=lambda resource: resource.name)


def _unexpected(land: dict[str, Any], standardise: dict[str, Any]) -> list[Unexpected]:
    found = [
        Unexpected(where, path, records)
        for where, paths in facts.mapping(standardise.get("unexpected")).items()
        for path, records in facts.tally(paths).items()
    ]
    for feed, told in facts.mapping(land.get("feeds")).items():
        columns = facts.tally(facts.mapping(told).get("extra_columns"))
        found += [Unexpected(feed, column, records) for column, records in columns.items()]
    return sorted(found, key=lambda field: (-field.records, field.where, field.path))


def _unmapped(standardise: dict[str, Any]) -> list[Unmapped]:
    codes = facts.tally(standardise.get("unmapped_codes"))
    return [Unmapped(name, codes.get(name, 0), rows) for name, rows in facts.tally(standardise.get("unmapped")).items()]
