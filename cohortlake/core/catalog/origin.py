"""Where a silo's deliveries are fetched from: the `source:` block of its declaration.

No secret stands in a declaration: it names the environment variable that holds the path of a key file.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from cohortlake.core.catalog.source import Declaration

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="an environment variable's name")]
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_private(url: str) -> bool:
    """Whether what is sent to a URL cannot be read on the way: https, or this machine's own loopback."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def _private(url: str) -> str:
    if not is_private(url):
        raise ValueError("must begin with https:// (http:// is for loopback only)")
    return url


class Client(Declaration):
    """How we prove who we are: SMART Backend Services, a client assertion signed with our private key.

    https://hl7.org/fhir/smart-app-launch/backend-services.html. Without `token_url` the server is asked for it
    (`.well-known/smart-configuration`). RSA keys sign RS384, EC keys on P-384 sign ES384.
    """

    id: str
    key_file_variable: Annotated[Variable, Field(description="the variable that holds the path of the PEM key")]
    key_id: Annotated[str, Field(description="`kid` of the public key that was registered with the server")]
    scopes: Annotated[list[str], Field(min_length=1)] = ["system/*.read"]
    token_url: str | None = None

    @field_validator("token_url")
    @classmethod
    def _token_url_is_private(cls, url: str | None) -> str | None:
        return None if url is None else _private(url)


class BulkFhir(Declaration):
    """A FHIR server's Bulk Data `$export`: https://hl7.org/fhir/uv/bulkdata/STU2/export.html.

    Without `types` all that the server gives is asked for. `incremental` asks for changes since the last delivery
    (`_since`); by default a group is fetched whole each time, since a server may leave out the earlier records of
    patients who joined the group meanwhile. `wrong_counts` says whether a file whose lines are not as many as the
    server said stops the delivery.
    """

    kind: Literal["bulk_fhir"]
    url: Annotated[str, Field(description="the server's FHIR base URL")]
    level: Literal["system", "patient", "group"] = "patient"
    group: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9\-.]{1,64}$", description="the Group's id")] = None
    types: list[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$")]] = []
    type_filters: list[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+\?.+$")]] = []
    incremental: bool | None = None
    client: Client | None = None
    give_up_hours: Annotated[float, Field(gt=0, description="after the kick-off")] = 24
    wrong_counts: Literal["fail", "warn"] = "fail"
    downloads: Annotated[int, Field(ge=1, le=16, description="files at a time")] = 4

    @field_validator("url")
    @classmethod
    def _url_is_private(cls, url: str) -> str:
        return _private(url).rstrip("/")

    @model_validator(mode="after")
    def _group_goes_with_its_level(self) -> BulkFhir:
        if (self.level == "group") != (self.group is not None):
            raise ValueError("group must be given where level is group, and only there")
        return self

    @property
    def is_incremental(self) -> bool:
        return self.level != "group" if self.incremental is None else self.incremental


class DatabaseTable(Declaration):
    """One table, or view, that is a feed. Its columns are the feed's.

    `watermark` is a column that each change of a row moves forward: a time, a date or a whole number. Without one the
    table is read whole and compared. `key` is the feed's unless it is given.
    """

    table: Annotated[str | None, Field(description="`schema.table`; by default the feed's name in schema public")] = (
        None
    )
    watermark: str | None = None
    key: list[str] = []


class Postgresql(Declaration):
    """A PostgreSQL database, read in one snapshot: rows that changed, and keys that are gone.

    `zone` is the zone (an IANA name) of times that carry none. A watermark is read again `overlap_minutes` back, for
    transactions that committed late; a table with one is compared whole every `compare_days`, for changes that did not
    move it. A table that lost more than `max_gone_percent` of its rows stops the delivery.
    """

    kind: Literal["postgresql"]
    host: str
    port: Annotated[int, Field(gt=0, lt=65536)] = 5432
    database: str
    user: str
    password_variable: Variable
    tls: Annotated[Literal["verify-full", "require", "disable"], Field(description="disable: loopback only")] = (
        "verify-full"
    )
    ca_file: Annotated[str | None, Field(description="the authority that signed the server's certificate, PEM")] = None
    zone: str | None = None
    overlap_minutes: Annotated[int, Field(ge=0)] = 120
    compare_days: Annotated[float, Field(ge=0)] = 7
    max_gone_percent: Annotated[float, Field(ge=0, le=100)] = 50
    connections: Annotated[int, Field(ge=1, le=32, description="for one large table")] = 2
    tables: Annotated[dict[str, DatabaseTable], Field(min_length=1)]

    @model_validator(mode="after")
    def _travels_in_private(self) -> Postgresql:
        if self.tls == "disable" and self.host not in LOOPBACK:
            raise ValueError("tls may be disabled on loopback only")
        return self

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError("must be an IANA time zone, as Europe/Berlin or America/Chicago")
        return zone


Source = Annotated[BulkFhir | Postgresql, Field(discriminator="kind")]
