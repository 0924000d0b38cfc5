"""Two converters' resources of one source, field by field.

A field is an element's path within a pair of resources that tell one fact (`Patient.name.family`), without indices; its
value is all values at that path.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Resource = Mapping[str, Any]
Fields = dict[str, frozenset[str]]
# What each converter makes up, what is for the eye, and what another resource says.
SKIPPED = frozenset(("id", "meta", "display", "resourceType", "contained"))
# Fields in which a pair must agree, beside their type, to be one fact: a share of those of the smaller one.
LIKENESS = 0.3


def fields(resource: Resource) -> Fields:
    """A resource's fields with their values, comparable as texts."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, value in _leaves(resource, str(resource["resourceType"])):
        found[path].add(value)
    return {path: frozenset(values) for path, values in found.items()}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if "url" in value and path.endswith("xtension"):
            path = f"{path}({str(value['url']).rsplit('/', 1)[-1]})"
            value = {name: inner for name, inner in value.items() if name != "url"}
        for name, inner in value.items():
            if name not in SKIPPED and not (name == "text" and isinstance(inner, Mapping)):
                yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif path.endswith(".reference"):
        yield path, str(value).partition("/")[0]
    elif value is not None:
        yield path, _text(value)


def _text(value: Any) -> str:
    """A value as text: a time as the moment that it names, a number without its zeros, a text without its blanks."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{float(value):g}"
    text = " ".join(str(value).split())
    if len(text) > 10 and text[4:5] == "-" and "T" in text:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        return moment.astimezone(UTC).isoformat() if moment.tzinfo else text
    return text


@dataclass(frozen=True)
class Pair:
    """One fact by both."""

    theirs: Resource
    ours: Resource


def pairs(theirs: Iterable[Resource], ours: Iterable[Resource], same_type: Mapping[str, str]) -> list[Pair]:
    """The resources that tell one fact: of one type, the likest first, each once. `same_type` renames their types."""
    rated = []
    left, right = list(theirs), list(ours)
    told = [fields(one) for one in right]
    for n, one in enumerate(left):
        kind = same_type.get(one["resourceType"], one["resourceType"])
        mine = fields(one)
        for m, other in enumerate(right):
            if other["resourceType"] == kind:
                shared, either = _alike(mine, told[m])
                if shared and shared / either >= LIKENESS:
                    rated.append((-shared / either, -shared, n, m))
    found: list[Pair] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for *_, n, m in sorted(rated):
        if n not in used[0] and m not in used[1]:
            used[0].add(n)
            used[1].add(m)
            found.append(Pair(left[n], right[m]))
    return found


def _alike(one: Fields, other: Fields) -> tuple[int, int]:
    """How many fields share a value, and how many the smaller of the two has; their types' names aside."""
    short = {path.partition(".")[2]: values for path, values in one.items()}
    long = {path.partition(".")[2]: values for path, values in other.items()}
    shared = sum(bool(values & long.get(path, frozenset())) for path, values in short.items())
    return shared, max(1, min(len(short), len(long)))


DISAGREE = ("differing", "ours only", "theirs only")
KINDS = ("agreed", *DISAGREE)


@dataclass
class Tally:
    """The fields of pairs, counted by what became of them: KINDS. `classes` counts disagreements by path and kind."""

    pairs: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    classes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        """Count a pair's fields."""
        self.pairs += 1
        ours, theirs = fields(pair.ours), _renamed(fields(pair.theirs), pair)
        for path in ours.keys() | theirs.keys():
            kind = _kind(ours.get(path), theirs.get(path))
            self.kinds[kind] += 1
            if kind != "agreed":
                self.classes[path, kind] += 1

    @property
    def compared(self) -> int:
        return self.kinds.total()


def _renamed(found: Fields, pair: Pair) -> Fields:
    kind = str(pair.ours["resourceType"])
    return {".".join((kind, *path.split(".")[1:])): values for path, values in found.items()}


def _kind(ours: frozenset[str] | None, theirs: frozenset[str] | None) -> str:
    if ours is None:
        return "theirs only"
    if theirs is None:
        return "ours only"
    return "agreed" if ours == theirs else "differing"
