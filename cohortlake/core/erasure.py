"""Whose a record is, and what would give a person away: the rules of erasure, pure.

A record names things by `Type/id`. The right to erasure: Regulation (EU) 2016/679 (GDPR), article 17.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# https://hl7.org/fhir/R4/references.html#literal, and the ids that a bundle gives (urn:uuid).
REFERENCE = re.compile(
    r"(?<![A-Za-z])([A-Z][A-Za-z]{2,40}/[A-Za-z0-9\-.]{1,64})(?![A-Za-z0-9\-.])|urn:uuid:([0-9a-fA-F\-]{36})"
)
PATIENT = "Patient/"
BARE = "*/"
WORD = re.compile(r"[0-9A-Za-z]+")
HYPHENED = re.compile(r"[0-9A-Za-z]+(?:-[0-9A-Za-z]+)*")
# A shorter text is found anywhere.
SHORTEST = 6
HEX_DIGITS = 32


def references(text: str) -> set[str]:
    """What a text of JSON refers to, as `Type/id`; `*/id` where it says no type (urn:uuid)."""
    plain = text.replace("\\/", "/") if "\\/" in text else text
    return {found[1] or BARE + found[2] for found in REFERENCE.finditer(plain)}


def own_name(resource: Any) -> str | None:
    """A resource's own `Type/id`, or None where it has none."""
    if isinstance(resource, dict) and resource.get("resourceType") and resource.get("id"):
        return f"{resource['resourceType']}/{resource['id']}"
    return None


def named(name: str) -> set[str]:
    """The ways in which others refer to what is called `Type/id`."""
    return {name, BARE + name.partition("/")[2]}


def patients(names: Iterable[str]) -> set[str]:
    """The patients among what is referred to."""
    return {name for name in names if name.startswith(PATIENT)}


@dataclass(frozen=True)
class Traits:
    """What identifies a human in text: single values, and (given name, family name, birth date) together."""

    values: frozenset[str] = frozenset()
    people: frozenset[tuple[str, str, str]] = frozenset()

    def __or__(self, other: Traits) -> Traits:
        return Traits(self.values | other.values, self.people | other.people)

    def __sub__(self, other: Traits) -> Traits:
        return Traits(self.values - other.values, self.people - other.people)

    def __len__(self) -> int:
        return len(self.values) + len(self.people)


def traits(patient: Mapping[str, Any]) -> Traits:
    """The traits of a FHIR Patient: id, identifiers, telecoms; its names with its birth date."""
    values = {str(patient["id"])} if patient.get("id") else set()
    for element in ("identifier", "telecom"):
        values |= {str(one["value"]) for one in _objects(patient.get(element)) if one.get("value")}
    born = str(patient.get("birthDate") or "")
    people = {
        (str(given).lower(), str(name["family"]).lower(), born)
        for name in _objects(patient.get("name"))
        if name.get("family") and len(born) == len("2026-01-01")
        for given in (name.get("given") or [])[:1]
        if given
    }
    return Traits(frozenset(values), frozenset(people))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


class Search:
    """Looks for a person's traits in text. A value counts where it stands as a word, whatever stands beside it.

    Values of fewer than `SHORTEST` characters are looked for with a type before them only (`Patient/17`).
    """

    def __init__(self, wanted: Traits, names: Iterable[str] = ()) -> None:
        values = {value for value in wanted.values if len(value) >= SHORTEST}
        values |= {name if len(key) < SHORTEST else key for name in names for key in [name.partition("/")[2]]}
        self._by_word: dict[str, list[str]] = defaultdict(list)
        for value in values:
            words = WORD.findall(value)
            if words:
                self._by_word[max(words, key=len)].append(value)
        self._by_family: dict[str, list[tuple[str, str, set[str]]]] = defaultdict(list)
        for given, family, born in wanted.people:
            family_words = WORD.findall(family)
            if family_words:
                written = {born, born.replace("-", ""), f"{born[5:7]}/{born[8:]}/{born[:4]}"}
                self._by_family[max(family_words, key=len)].append((given, family, written))
        self.size = len(values) + len(wanted.people)

    def holds(self, text: str) -> bool:
        """Whether the text holds a trait."""
        words = set(WORD.findall(text))
        for word in words & self._by_word.keys():
            if any(_stands(value, text) for value in self._by_word[word]):
                return True
        if not self._by_family:
            return False
        low = text.lower()
        for word in {word.lower() for word in words} & self._by_family.keys():
            for given, family, born in self._by_family[word]:
                if _stands(family, low) and _stands(given, low) and any(date in low for date in born):
                    return True
        return False

    def overwritten(self, text: str) -> str:
        """The text with each value overwritten."""
        for word in set(WORD.findall(text)) & self._by_word.keys():
            for value in sorted(self._by_word[word], key=len, reverse=True):
                text = re.sub(_bounded(value), "erased", text)
        return text


def _bounded(value: str) -> str:
    return rf"(?<![0-9A-Za-z]){re.escape(value)}(?![0-9A-Za-z])"


def _stands(value: str, text: str) -> bool:
    return re.search(_bounded(value), text) is not None


@dataclass(frozen=True)
class Guard:
    """Knows erased names and words of a silo by keyed hashes alone."""

    secret: str
    silo: str
    names: frozenset[str]
    words: frozenset[str]

    def erased(self, names: Iterable[str]) -> set[str]:
        """Those names (`Type/id`) that were erased."""
        return {name for name in names if digest(self.secret, self.silo, name) in self.names}

    def holds_word(self, text: str) -> bool:
        """Whether a text that nobody can read holds an erased word."""
        words = {word for found in (WORD, HYPHENED) for word in found.findall(text) if len(word) >= SHORTEST}
        return any(digest(self.secret, self.silo, word) in self.words for word in words)


def digest(secret: str, silo: str, text: str) -> str:
    """The keyed hash (HMAC-SHA-256, RFC 2104) by which an erased name is known."""
    return hmac.new(secret.encode(), f"erased|{silo}|{text}".encode(), "sha256").hexdigest()[:HEX_DIGITS]


def words_of(wanted: Traits) -> set[str]:
    """The values that are one word and long enough to be looked for in what cannot be read."""
    return {value for value in wanted.values if len(value) >= SHORTEST and HYPHENED.fullmatch(value)}


def erasure_id(secret: str, names: Collection[str], at: str) -> str:
    """The name of an erasure; says nothing of the person."""
    return hashlib.sha256("|".join((secret, at, *sorted(names))).encode()).hexdigest()[:12]


def without_entries(bundle: str, erased: Collection[str]) -> str:
    """A Bundle of requests without those of erased resources."""
    content = json.loads(bundle)
    kept = [entry for entry in content.get("entry", []) if not references(json.dumps(entry)) & set(erased)]
    return json.dumps({**content, "entry": kept}, ensure_ascii=False)
