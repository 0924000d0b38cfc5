"""Resources out of JSON files that are not NDJSON: a resource, a Bundle of them, a list. Texts stay as written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def resource_lines(text: str) -> Iterator[str]:
    """The resources of a JSON file, a line of JSON each, with decimals as they were written.

    A Bundle gives the resources of its entries, and so does a list of resources; an entry without one gives none.
    What is not JSON comes out as it is, on one line, for the reader to count.
    """
    text = text.removeprefix("\ufeff")
    return map(on_one_line, _resources(text))


def on_one_line(text: str) -> str:
    """JSON text without line ends. Its strings hold none, so that one is white space."""
    return text.replace("\r", " ").replace("\n", " ")


def items_of(text: str, name: str) -> Iterator[str]:
    """The items of a member of a JSON object that is a list, each as it was written; none where it is no list.

    Raises ValueError where the text is not JSON.
    """
    for found, value in _members(text, _skip(text, 0)):
        if found == name and value.startswith("["):
            yield from _items(value, 0)


def _resources(text: str) -> list[str]:
    try:
        whole = json.loads(text)
    except ValueError:
        return [text.strip()]
    if isinstance(whole, list):
        return list(_items(text, _skip(text, 0)))
    if isinstance(whole, dict) and whole.get("resourceType") == "Bundle":
        return [resource for entry in items_of(text, "entry") for resource in _resource_of(entry)]
    return [text.strip()]


def _resource_of(entry: str) -> list[str]:
    if not entry.startswith("{"):
        return [entry]
    return [resource for name, resource in _members(entry, 0) if name == "resource"]


def _skip(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start


def _members(text: str, start: int) -> Iterator[tuple[str, str]]:
    """The members of the object that starts there: name and text."""
    place = _skip(text, start + 1)
    while text[place] != "}":
        name, place = _DECODER.raw_decode(text, place)
        place = _skip(text, _skip(text, place) + 1)
        _, end = _DECODER.raw_decode(text, place)
        yield name, text[place:end]
        place = _next(text, end)


def _items(text: str, start: int) -> Iterator[str]:
    """The items of the array that starts there, as text."""
    place = _skip(text, start + 1)
    while text[place] != "]":
        _, end = _DECODER.raw_decode(text, place)
        yield text[place:end]
        place = _next(text, end)


def _next(text: str, end: int) -> int:
    """Where the member or item after one that ended begins, or its container ends."""
    place = _skip(text, end)
    return _skip(text, place + 1) if text[place] == "," else place
