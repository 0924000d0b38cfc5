"""The leaves of compiled templates: a text of the record as a primitive, a code, an identifier, an entry's number."""

from __future__ import annotations

from cohortlake.core.catalog.mapping import CodeMap
from cohortlake.core.claims.declared import Codes
from cohortlake.core.claims.makers import NOTHING, Found, Make, Read
from cohortlake.core.claims.run import Scope, coded
from cohortlake.core.claims.values import convert, converter


def primitive(read: Read, kind: str, place: str) -> Make:
    convert = converter(kind)

    def make(scope: Scope) -> Found:
        text = read(scope)
        if not text:
            return NOTHING
        value = convert(text)
        if value is None:
            if text.strip("0"):
                scope.run.warn(f"not a {kind}", place)
            return NOTHING
        return [value], True

    return make


def mapped(codes: CodeMap, read: Read, kind: str) -> Make:
    """What a code means by a map; one that the map lacks is kept as the source's own, and counted."""

    def make(scope: Scope) -> Found:
        code = read(scope)
        if not code:
            return NOTHING
        target = codes.codes.get(code) or codes.codes.get(code.lower())
        if target is None:
            scope.run.codes[codes.name, code] += 1
            target = codes.unmapped
        made = (
            {"system": target.system or codes.target, "code": target.code, "display": target.display}
            if target
            else {"system": codes.source, "code": " ".join(code.split())}
        )
        coding = {name: value for name, value in made.items() if value}
        if kind == "CodeableConcept":
            return [{"coding": [coding]}], True
        if kind == "Coding":
            return [coding], True
        value = convert(target.code if target else code, kind)
        return ([value], True) if value is not None else NOTHING

    return make


def code_of(name: str, codes: list[Codes], read: Read, argument: Read | None, kind: str) -> Make:
    """A code with its system: a Coding, a CodeableConcept, an Identifier; a uri is the system alone."""

    def make(scope: Scope) -> Found:
        code = " ".join(read(scope).split())
        if not code:
            return NOTHING
        system, full = coded(code, argument(scope) if argument else "", name, codes, scope.run)
        if kind == "uri":
            return [system], True
        if kind == "Identifier":
            return [{"system": system, "value": full}], True
        coding = {"system": system, "code": full}
        return [{"coding": [coding]} if kind == "CodeableConcept" else coding], True

    return make


def pointer(name: tuple[str, ...], words: tuple[str, ...], read: Read) -> Make:
    """The sequence of an entry of the claim."""

    def make(scope: Scope) -> Found:
        value = read(scope)
        sequence = scope.run.numbers.get((*name, value, *words)) if value else None
        return ([sequence], True) if sequence is not None else NOTHING

    return make
