"""The end of a conversion: which of what was made is one resource, the ids, the references, the metadata."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import quote

from cohortlake.core.ccda.inferred import Weight, weight
from cohortlake.core.ccda.run import IDS, URN, Made, Run, business_id, content
from cohortlake.core.ccda.times import moment
from cohortlake.core.fhir.definitions import elements
from cohortlake.core.language.identity import resource_id

# What two tellings of one fact may differ in.
LOOSE = frozenset(("meta", "text"))


def settle(run: Run) -> list[dict[str, Any]]:
    """The document's resources, each once, references filled in."""
    groups: dict[tuple[str, str], list[Made]] = {}
    for made in run.made.values():
        group = groups.setdefault((made.kind, made.key), [])
        if any(_conflict(known.resource or {}, made.resource or {}, made.kind) for known in group):
            run.warn("two facts carry one id: they are kept apart by what they say", made.node)
            groups.setdefault((made.kind, f"{made.key}\x1f{content(made.node)}"), []).append(made)
        else:
            group.append(made)
    for (kind, key), group in groups.items():
        reference = f"{kind}/{resource_id(IDS, kind, [key])}"
        for made in group:
            run.codes.give(made, (kind, resource_id(IDS, kind, [key])))
            for place in made.references:
                place["reference"] = reference
    meta = _meta(run)
    resources = []
    for (kind, key), group in groups.items():
        if not group:
            continue
        resource: dict[str, Any] = {}
        for made in group:
            resource = _merged(resource, dict(made.resource or {}), kind)
        version = run.root.first("versionNumber") if kind == "Composition" else None
        own = {**meta, "versionId": version.attributes["value"]} if version is not None and _is_id(version) else meta
        resources.append({"resourceType": kind, "id": resource_id(IDS, kind, [key]), "meta": own, **resource})
    return resources


def _is_id(version: Any) -> bool:
    return str(version.attributes.get("value", "")).isalnum()


def _conflict(known: dict[str, Any], more: dict[str, Any], kind: str) -> bool:
    """Whether two tellings contradict each other: a value, not a list, that differs."""
    shared = (known.keys() & more.keys()) - LOOSE
    for one, other in _choices(known, more, kind):
        if _amount(known[one]) is None or _amount(known[one]) != _amount(more[other]):
            return True
    return any(_differ(known[name], more[name]) for name in shared if not isinstance(known[name], list))


def _differ(one: Any, other: Any) -> bool:
    """Concepts that share a code are the same, whatever they are called; what was not said contradicts nothing."""
    if min(weight(one), weight(other)) < Weight.SAID:
        return False
    if isinstance(one, dict) and isinstance(other, dict) and "coding" in one and "coding" in other:
        codes = [{(c.get("system"), c.get("code")) for c in concept["coding"]} for concept in (one, other)]
        return not codes[0] & codes[1]
    return bool(one != other)


def _choices(known: dict[str, Any], more: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    """The elements of one choice that two tellings give in two types (`valueInteger`, `valueQuantity`)."""
    choices = _choices_of(kind)
    return [
        (one, other)
        for one in known
        if one in choices
        for other in more
        if one != other and choices[one] == choices.get(other)
    ]


@cache
def _choices_of(kind: str) -> dict[str, str]:
    return {name: element.choice for name, element in elements(kind).items() if element.choice}


def _amount(value: Any) -> Any:
    """The number that an integer or a quantity says."""
    number = value.get("value") if isinstance(value, dict) else value
    return number if isinstance(number, int | Decimal) else None


def _merged(known: dict[str, Any], more: dict[str, Any], kind: str) -> dict[str, Any]:
    """One resource told twice: what was told first stands, lists are joined; a quantity says more than its number, a
    value that was said more than an inferred or an absent one."""
    result = dict(known)
    for one, other in _choices(known, more, kind):
        poorer = one if isinstance(more[other], dict) else other
        (result if poorer == one else more).pop(poorer)
    for name, value in more.items():
        if name not in result or weight(value) > weight(result[name]):
            result[name] = value
        elif isinstance(value, list):
            result[name] = [*result[name], *(item for item in value if item not in result[name])]
    return result


def _meta(run: Run) -> dict[str, Any]:
    """Of every resource: when the document was made, and which it is."""
    time = run.root.first("effectiveTime")
    made = moment(time, "instant", run) if time is not None else None
    source = business_id(run.root) or content(run.root)
    root, _, extension = source.partition("^")
    uri = f"{URN}:document:{quote(root)}" + (f"#{quote(extension)}" if extension else "")
    return {"lastUpdated": made, "source": uri} if made else {"source": uri}
