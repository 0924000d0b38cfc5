"""The manifest of a completed export: which files there are to fetch, and what they should hold."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

Kind = Literal["output", "deleted", "error"]
KINDS: tuple[Kind, ...] = ("output", "deleted", "error")
TYPE_NAME = re.compile(r"[A-Z][A-Za-z]+")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class WrongManifestError(ValueError):
    """The manifest is not as the specification has it; the message names the field."""


@dataclass(frozen=True)
class OutputFile:
    """One file of an export. `name` is ours, without suffix; `count` is what the server says of its lines, or None."""

    name: str
    kind: Kind
    type: str
    url: str
    count: int | None


@dataclass(frozen=True)
class Manifest:
    """`transaction_time` is the server's instant as it wrote it: all that changed up to it is in the files."""

    transaction_time: str
    requires_token: bool
    files: tuple[OutputFile, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Manifest:
        return cls(**{**content, "files": tuple(OutputFile(**file) for file in content["files"])})


def next_page(body: dict[str, Any], url: str) -> str | None:
    """Where the manifest goes on, if it has pages."""
    links = body.get("link")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return urljoin(url, str(link["url"]))
    return None


def read_manifest(pages: list[tuple[str, Any]]) -> Manifest:
    """A manifest from its pages, each with its URL. Raises WrongManifestError."""
    entries = [(kind, entry) for url, body in pages for kind in KINDS for entry in _entries(body, kind, url)]
    _, first = pages[0]
    moment, token = first.get("transactionTime"), first.get("requiresAccessToken")
    if not isinstance(moment, str) or not INSTANT.fullmatch(moment):
        raise WrongManifestError("transactionTime is not an instant")
    if not isinstance(token, bool):
        raise WrongManifestError("requiresAccessToken is not true or false")
    seen: Counter[str] = Counter()
    files = []
    for kind, (resource_type, url, count) in entries:
        stem = {"output": resource_type, "deleted": "deleted", "error": "_error"}[kind]
        seen[stem] += 1
        files.append(OutputFile(f"{stem}.{seen[stem]:06d}", kind, resource_type, url, count))
    return Manifest(moment, token, tuple(files))


def _entries(body: Any, kind: Kind, page: str) -> list[tuple[str, str, int | None]]:
    if not isinstance(body, dict):
        raise WrongManifestError("it is not a JSON object")
    listed = body.get(kind)
    if listed is None and kind != "output":
        return []
    if not isinstance(listed, list):
        raise WrongManifestError(f"{kind} is not a list")
    found = []
    for index, entry in enumerate(listed):
        place = f"{kind}[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
            raise WrongManifestError(f"{place} has no url")
        default = {"output": None, "deleted": "Bundle", "error": "OperationOutcome"}[kind]
        resource_type, count = entry.get("type", default), entry.get("count")
        if not isinstance(resource_type, str) or not TYPE_NAME.fullmatch(resource_type):
            raise WrongManifestError(f"{place}.type is not a resource type")
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
            raise WrongManifestError(f"{place}.count is not a number of resources")
        found.append((resource_type, urljoin(page, entry["url"]), count))
    return found


def without_query(url: str) -> str:
    """A URL as it may be kept and shown: what follows `?` may be a signature that opens the file."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))
