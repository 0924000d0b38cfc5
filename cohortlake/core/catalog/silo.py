"""A silo's data-collection protocol: what engineers and clinical informaticists agree on before data flow."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cohortlake.core.catalog.completeness import Completeness
from cohortlake.core.catalog.doors import SameFacts
from cohortlake.core.catalog.origin import BulkFhir, Postgresql, Source
from cohortlake.core.catalog.source import Declaration
from cohortlake.core.convert import Options
from cohortlake.core.errors import UnsignedProtocolError
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.readers.hl7v2_fields import misplaced

Severity = Literal["fail", "quarantine", "warn"]
Format = Literal["fhir_ndjson", "csv", "hl7v2", "ccda", "cpcds", "rif", "x12"]


class Protocol(Declaration):
    """The agreement itself. Without `signed_off` a silo does not run unless forced."""

    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$", description="semantic version of the protocol")]
    signed_off: datetime.date | None = None
    signed_by: list[str] = Field(default=[], description="roles, not people")
    review_by: datetime.date | None = None


class Freshness(Declaration):
    """How old the newest record may be at a run, in days."""

    max_age_days: Annotated[int, Field(gt=0)]
    severity: Severity = "warn"


class Volume(Declaration):
    """How many rows a delivery of a feed may hold, and how far below the last one it may fall, in percent."""

    min_rows: Annotated[int, Field(ge=0)] = 0
    max_drop_percent: Annotated[float, Field(ge=0, le=100)] = 90.0
    severity: Severity = "warn"


class Feed(Declaration):
    """One kind of file: its name patterns, its key, and what every record must and should hold.

    `required` elements (FHIR) or columns (CSV) hold for each record: a record without one is quarantined, unless (FHIR)
    it says why it has none; then it is counted. `expected` ones are counted where they are missing. `value_sets` gives
    the codes allowed in an element or a column. The texts `null_values` (CSV) say that there is no value, as an empty
    one does.

    A feed with `deletes` says what is gone at the source: `bundles` of DELETE requests (FHIR), or the name of the feed
    whose key columns it holds (CSV).
    """

    files: list[str] = []
    resource: str | None = None
    key: list[str] = ["id"]
    columns: list[str] = []
    optional_columns: list[str] = []
    required: list[str] = []
    expected: list[str] = []
    value_sets: dict[str, list[str]] = {}
    null_values: list[str] = []
    volume: Volume = Volume()
    deletes: str | None = None

    @model_validator(mode="after")
    def _resource_is_known(self) -> Feed:
        if self.resource is not None and self.resource not in resource_types():
            raise ValueError(f"resource must be an R4 resource type; {self.resource!r} is not one")
        return self


class Silo(Declaration):
    """A silo: who answers for it, why it may be used, how it arrives, and how it becomes FHIR."""

    name: str
    title: str
    owner: Annotated[str, Field(description="the role that answers for the data at the source")]
    steward: Annotated[str, Field(description="the role that answers for it here")]
    protocol: Protocol
    purpose: str
    legal_basis: str
    format: Format
    folder: Annotated[str, Field(description="the silo's folder under the data folder")]
    left_out: Annotated[dict[str, str], Field(description="patterns of files that no feed takes, and why")] = {}
    zone: Annotated[str, Field(description="the IANA name of the zone of times that carry none")] = "UTC"
    authorities: Annotated[dict[str, str], Field(description="URIs of the sender's own assigning authorities")] = {}
    field_places: Annotated[
        dict[str, str], Field(description="fields of HL7 v2 by the place where the sender has them: {OBR-22: OBR-21}")
    ] = {}
    concept_maps: Annotated[list[str], Field(description="maps of catalog/conceptmaps that apply to its codings")] = []
    max_record_bytes: Annotated[int, Field(gt=0)] = 64 * 1024 * 1024
    source: Source | None = None
    freshness: Freshness
    feeds: Annotated[dict[str, Feed], Field(min_length=1)]
    same_facts: SameFacts | None = None
    completeness: Annotated[
        dict[str, Completeness], Field(description="floors and known gaps of elements: {Encounter.class: ...}")
    ] = {}
    quirks: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _fhir_feeds_name_their_resource(cls, content: Any) -> Any:
        """A FHIR feed is named after its resource type, and its files after the feed, unless it says otherwise."""
        if isinstance(content, dict) and isinstance(content.get("feeds"), dict):
            suffix = {"fhir_ndjson": "ndjson", "csv": "csv"}.get(str(content.get("format")), "*")
            feeds = {}
            for name, feed in content["feeds"].items():
                filled = dict(feed) if isinstance(feed, dict) else ({} if feed is None else feed)
                if isinstance(filled, dict):
                    filled.setdefault("files", [f"{name}.{suffix}*", f"{name}.*.{suffix}*"])
                    if content.get("format") == "fhir_ndjson" and "deletes" not in filled:
                        filled.setdefault("resource", name)
                feeds[name] = filled
            content = {**content, "feeds": feeds}
        return content

    @model_validator(mode="after")
    def _csv_feeds_have_columns(self) -> Silo:
        if self.format == "csv":
            for name, feed in self.feeds.items():
                if not feed.columns:
                    raise ValueError(f"feeds.{name}.columns must list the columns of the extract")
        return self

    @model_validator(mode="after")
    def _deletes_are_of_something(self) -> Silo:
        for name, feed in self.feeds.items():
            others = [other for other in self.feeds if other != name]
            allowed = {"csv": others, "fhir_ndjson": ["bundles"]}.get(self.format, [])
            if feed.deletes is not None and feed.deletes not in allowed:
                raise ValueError(f"feeds.{name}.deletes must be one of {', '.join(allowed) or 'none'}")
        return self

    @model_validator(mode="after")
    def _source_gives_what_the_feeds_take(self) -> Silo:
        if isinstance(self.source, BulkFhir) and self.format != "fhir_ndjson":
            raise ValueError("source.kind bulk_fhir gives FHIR: format must be fhir_ndjson")
        if isinstance(self.source, Postgresql):
            if self.format != "csv":
                raise ValueError("source.kind postgresql gives rows: format must be csv")
            unknown = [name for name in self.source.tables if name not in self.feeds]
            if unknown:
                raise ValueError(f"source.tables.{unknown[0]} is no feed; there are {', '.join(self.feeds)}")
        return self

    @model_validator(mode="after")
    def _field_places_are_fields(self) -> Silo:
        if self.field_places and self.format != "hl7v2":
            raise ValueError("field_places are for format hl7v2")
        if problem := misplaced(self.field_places):
            raise ValueError(f"field_places: {problem}")
        return self

    @property
    def is_converted(self) -> bool:
        """Whether a format's own module makes FHIR of its records (`cohortlake.core.convert`)."""
        return self.format not in ("fhir_ndjson", "csv")

    @property
    def options(self) -> Options:
        """What the formats' own modules are told of the sender."""
        return Options(self.zone, tuple(sorted(self.authorities.items())), tuple(self.field_places.items()))

    @property
    def is_signed(self) -> bool:
        return self.protocol.signed_off is not None and bool(self.protocol.signed_by)


def check_signed(silo: Silo, force: bool) -> None:
    """Raises UnsignedProtocolError for a protocol that nobody signed, unless forced."""
    if not silo.is_signed and not force:
        raise UnsignedProtocolError(
            f"silo {silo.name}: its protocol {silo.protocol.version} is not signed off",
            f"Have it signed: signed_off and signed_by in catalog/silos/{silo.name}/silo.yaml. Or run with --force.",
        )
