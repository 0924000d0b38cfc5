"""What a silo's concept maps make of a concept's codings, and JSON whose numbers stay as they were written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cohortlake.core.terminology.concept_maps import NOTHING, ConceptMap, Group, Target

# What is true of the source concept is true of the target; the others would say more than the source did.
ADDED = frozenset({"equivalent", "equal", "wider", "subsumes"})
# On a Coding that a map has added: which one, as `url|version`. R4 has no extension for it.
EXTENSION = "urn:cohortlake:extension:concept-map"


@dataclass
class Translated:
    """How often each map, by its label, added a coding, and the codes (label, code) that it lacks."""

    added: Counter[str] = field(default_factory=Counter)
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Translator:
    """The maps of a silo."""

    maps: tuple[ConceptMap, ...]

    @property
    def systems(self) -> list[str]:
        """The code systems that the maps read."""
        return sorted({group.source for one in self.maps for group in one.groups})

    def codings(self, codings: Iterable[Mapping[str, Any]], said: Translated) -> list[dict[str, Any]]:
        """The codings that the maps add to a concept's own, each saying which map made it.

        A concept that has a coding of the target system already is left as it is: the source's own word stands.
        """
        own = [coding for coding in codings if coding]
        systems = {coding.get("system") for coding in own}
        made: list[dict[str, Any]] = []
        for one in self.maps:
            for group in one.groups:
                for coding in own:
                    if coding.get("system") != group.source or coding.get("code") is None:
                        continue
                    target = group.codes.get(str(coding["code"]))
                    if target is None or target.equivalence not in ADDED | NOTHING:
                        said.unknown[one.label, str(coding["code"])] += 1
                    elif target.equivalence in ADDED and group.target not in systems:
                        systems.add(group.target)
                        said.added[one.label] += 1
                        made.append(_coding(one, group, target))
        return made


def _coding(one: ConceptMap, group: Group, target: Target) -> dict[str, Any]:
    coding: dict[str, Any] = {"extension": [{"url": EXTENSION, "valueCanonical": one.canonical}]}
    coding |= {"system": group.target, "code": target.code}
    return coding | ({"display": target.display} if target.display else {})


def dumps_exact(value: Any) -> str:
    """JSON text of what `loads_exact` read, numbers as they were written."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace('"\\u0000', "").replace('\\u0000"', "")


def loads_exact(text: str) -> Any:
    """JSON whose numbers stay as they were written; `dumps_exact` writes them again."""
    return json.loads(text, parse_float=_marked, parse_int=_marked)


def _marked(number: str) -> str:
    return f"\x00{number}\x00"
