"""The kick-off request of a `$export`."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from cohortlake.core.catalog.origin import BulkFhir

NDJSON = "application/fhir+ndjson"
KICK_OFF_HEADERS = {"Accept": "application/fhir+json", "Prefer": "respond-async"}
STATUS_HEADERS = {"Accept": "application/json"}
# A gzip file is kept as it comes: it is smaller, and its end tells whether it is whole.
FILE_HEADERS = {"Accept": NDJSON, "Accept-Encoding": "gzip"}


def kick_off_url(source: BulkFhir, since: str | None = None) -> str:
    """The URL that begins an export; `since` is an instant as the server wrote it."""
    place = {"system": "", "patient": "/Patient", "group": f"/Group/{source.group}"}[source.level]
    asked = [("_outputFormat", NDJSON)]
    if source.types:
        asked.append(("_type", ",".join(source.types)))
    # Each filter is a parameter of its own: servers differ in how they divide at commas.
    asked += [("_typeFilter", text) for text in source.type_filters]
    if since:
        asked.append(("_since", since))
    return f"{source.url}{place}/$export?{urlencode(asked, quote_via=quote, safe=',')}"


def smart_configuration_url(source: BulkFhir) -> str:
    """Where a server says what its token endpoint is."""
    return f"{source.url}/.well-known/smart-configuration"
