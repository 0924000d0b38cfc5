"""What a source says is gone: the records of a feed `deleted`, in the two forms in which they come.

* A FHIR server's: a transaction Bundle a line, each entry with `request.method` DELETE and `request.url` `Type/id`
  (Bulk Data export, `deleted`).
* A database's: `{"table": feed, "key": {column: text or null, …}, "deleted_at": instant}` a line. The key holds the
  columns of the feed's declared key, as the feed's own CSV writes them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

REQUEST = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")


class WrongDeleteError(ValueError):
    """The line is neither form; the message says what is amiss, without values."""


@dataclass(frozen=True)
class ResourceGone:
    """A FHIR resource that was deleted."""

    resource_type: str
    id: str


@dataclass(frozen=True)
class RowGone:
    """A row that was deleted; `deleted_at` is when we found it gone, an instant of the database's clock."""

    table: str
    key: dict[str, str | None]
    deleted_at: str


def write_row(gone: RowGone) -> str:
    """A deleted row as a line."""
    return json.dumps({"table": gone.table, "key": gone.key, "deleted_at": gone.deleted_at}, ensure_ascii=False)


def read_deletes(line: str) -> list[ResourceGone] | list[RowGone]:
    """What one line says is gone. Raises WrongDeleteError."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise WrongDeleteError("not JSON") from error
    if not isinstance(found, dict):
        raise WrongDeleteError("not an object")
    if found.get("resourceType") == "Bundle":
        entries = found.get("entry")
        return [_entry(entry) for entry in entries] if isinstance(entries, list) else []
    table, key, moment = (found.get(name) for name in ("table", "key", "deleted_at"))
    if not (isinstance(table, str) and isinstance(key, dict) and key and isinstance(moment, str)):
        raise WrongDeleteError("neither a Bundle nor a table with its key and deleted_at")
    if not all(value is None or isinstance(value, str) for value in key.values()):
        raise WrongDeleteError("a key's values must be text or null")
    return [RowGone(table, key, moment)]


def _entry(entry: object) -> ResourceGone:
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict) or request.get("method") != "DELETE":
        raise WrongDeleteError("an entry is no DELETE")
    # A server may write the whole address of the resource.
    named = REQUEST.fullmatch("/".join(str(request.get("url")).split("/")[-2:]))
    if named is None:
        raise WrongDeleteError("an entry's request.url is not Type/id")
    return ResourceGone(named[1], named[2])
