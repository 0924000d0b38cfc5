"""What a code map makes of a code: one meaning for all formats.

| map           the map's code; one that it lacks is counted, and kept as it came, under the map's source
| map only      one that it lacks is counted, and left out
| map quietly   one that it lacks is left out and not counted: another place tells of it
"""

from __future__ import annotations

from typing import Any

from cohortlake.core.catalog.mapping import CodeMap, Target
from cohortlake.core.language.source import Source, Turn
from cohortlake.core.terminology.translate import EXTENSION

MODES = ("", "only", "quietly")
CODED = ("CodeableConcept", "Coding")


def through(codes: CodeMap, mode: str, kind: str, source: Source) -> Turn:
    """What makes an element's value of a code."""

    def turn(value: Any, place: str, scope: Any) -> list[Any]:
        given = source.codes_of(value)
        if not given:
            return []
        target = next((found for code in given if (found := known(codes, code))), None)
        if target is None:
            if mode != "quietly":
                scope.run.codes[codes.name, given[0]] += 1
            target = codes.unmapped
        if target is None and mode:
            return []
        if kind in CODED:
            made = coding(codes, target, given[0])
            if target is not None and codes.is_inferred:
                made = {"extension": mark(codes, source.name), **made}
            return [{"coding": [made]} if kind == "CodeableConcept" else made]
        made = source.convert(target.code if target else given[0], kind, scope)
        if made is None:
            scope.run.warn(f"not a {kind}", place)
            return []
        return [made]

    return turn


def mark(codes: CodeMap, name: str) -> list[dict[str, Any]]:
    """The extension of a coding that an inferring map of a format makes: the map's name as a URN, with its version."""
    return [{"url": EXTENSION, "valueCanonical": f"urn:cohortlake:{name}:map:{codes.name}|{codes.version}"}]


def known(codes: CodeMap, code: str) -> Target | None:
    """What a code means; in any case where the map has it in small letters."""
    return codes.codes.get(code) or codes.codes.get(code.lower())


def coding(codes: CodeMap, target: Target | None, code: str) -> dict[str, Any]:
    """A Coding of what a code means, or of the code as it came."""
    if target is None:
        return {"system": codes.source, "code": " ".join(code.split())}
    made = {"system": target.system or codes.target, "code": target.code, "display": target.display}
    return {name: part for name, part in made.items() if part}
