"""docs/agreement.md: how far our resources and another converter's agree, field by field, and why they do not."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cohortlake.core.convert import Options, dumps, format_named
from cohortlake.core.hl7v2.declared import load_hl7v2
from tools.agreement.compare import DISAGREE, KINDS, Resource, Tally, pairs

HERE = Path(__file__).parent
FORMATS = {"hl7v2": ("HL7 v2", "segment", ".hl7"), "ccda": ("C-CDA", "section", ".ccda")}
# What C-CDA on FHIR makes a request, the converter makes a statement.
SAME_TYPE = {"MedicationStatement": "MedicationRequest"}
WHOSE = {
    "theirs": "it departs from the guide, or leaves out what the guide has",
    "ours": "ours does, or does not carry it yet",
    "choice": "the guide leaves it open, or has no map",
    "pairing": "the samples give nothing to tell the facts apart by",
}


@dataclass(frozen=True)
class Explanation:
    """Why fields differ, and whose doing it is (WHOSE)."""

    pattern: re.Pattern[str]
    kinds: tuple[str, ...]
    whose: str
    reason: str

    def takes(self, path: str, kind: str) -> bool:
        return kind in self.kinds and self.pattern.fullmatch(path) is not None


@dataclass
class Compared:
    """A format's samples by both: `rows` by segment or section, resources that one alone has by type."""

    samples: int = 0
    rows: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    theirs_alone: Counter[str] = field(default_factory=Counter)
    ours_alone: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> Tally:
        whole = Tally()
        for row in self.rows.values():
            whole.pairs += row.pairs
            whole.kinds.update(row.kinds)
            whole.classes.update(row.classes)
        return whole


def explanations(name: str) -> list[Explanation]:
    """The explanations of a format, in the order in which they count. Each `fields` are regular expressions."""
    declared = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))["explanations"]
    return [
        Explanation(re.compile("|".join(one["fields"])), tuple(one.get("kinds", DISAGREE)), one["whose"], one["reason"])
        for one in declared
    ]


def explained(compared: Compared, known: list[Explanation]) -> tuple[list[Counter[str]], Counter[tuple[str, str]]]:
    """How many fields of each kind each explanation takes; and the classes that none does."""
    counts: list[Counter[str]] = [Counter() for _ in known]
    left: Counter[tuple[str, str]] = Counter()
    for (path, kind), number in compared.total.classes.items():
        place = next((n for n, one in enumerate(known) if one.takes(path, kind)), None)
        if place is None:
            left[path, kind] += number
        else:
            counts[place][kind] += number
    return counts, left


def compare(data: Path, name: str) -> Compared:
    """Compare what both make of the samples that `data` holds in both shapes."""
    found = Compared()
    module, suffix = format_named(name), FORMATS[name][2]
    titles: dict[str, str] = {}
    for path in sorted((data / "fhir_converter_expected" / name).glob("*.json.gz")):
        bundle = json.loads(gzip.decompress(path.read_bytes()))
        source = data / f"{name}_samples_fhir_converter" / (path.name.removesuffix("-expected.json.gz") + suffix)
        made = [module.to_fhir(record, Options()) for record in module.records(source.read_bytes())]
        ours = [json.loads(dumps(resource)) for one in made for resource in one.resources]
        theirs = [entry["resource"] for entry in bundle["entry"]]
        place = _segment if name == "hl7v2" else _sections(ours, titles)
        found.samples += 1
        found.theirs_alone.update(resource["resourceType"] for resource in theirs)
        found.ours_alone.update(resource["resourceType"] for resource in ours)
        for pair in pairs(theirs, ours, SAME_TYPE):
            found.rows[place(pair.ours)].add(pair)
            found.theirs_alone[pair.theirs["resourceType"]] -= 1
            found.ours_alone[pair.ours["resourceType"]] -= 1
    return found


def _segment(resource: Resource) -> str:
    """The segments, or the data types, that a resource is made of."""
    declared, kind = load_hl7v2(), resource["resourceType"]
    segments = [one.segment for one in declared.resources.values() if one.resource == kind]
    types = [name.partition(".")[0] for name, one in declared.datatypes.items() if one.key and one.fhir == kind]
    return f"{', '.join(sorted({*segments}) or sorted({*types}))}: {kind}"


def _sections(ours: list[dict[str, Any]], titles: dict[str, str]) -> Callable[[Resource], str]:
    """What names the section of a resource: the one whose entries lead to it, else the header.

    `titles` keeps the first title that a section's code has.
    """
    made = {f"{one['resourceType']}/{one['id']}": one for one in ours}
    found: dict[str, str] = {}
    for composition in (one for one in ours if one["resourceType"] == "Composition"):
        for section in _within(composition):
            code = next(iter(section.get("code", {}).get("coding", [])), {})
            number = str(code.get("code", "(no code)"))
            title = f"{number} {titles.setdefault(number, code.get('display') or section.get('title', ''))}".strip()
            waiting = [entry["reference"] for entry in section.get("entry", ()) if "reference" in entry]
            while waiting:
                reference = waiting.pop()
                if reference in made and found.setdefault(reference, title) == title:
                    inner = made[reference]
                    waiting += [one for one in _members(inner) if one not in found]
    return lambda resource: found.get(f"{resource['resourceType']}/{resource['id']}", "header, participants")


def _within(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for section in resource.get("section", ()):
        yield section
        yield from _within(section)


def _members(resource: Mapping[str, Any]) -> list[str]:
    """The results of a report or panel."""
    parts = [*resource.get("result", ()), *resource.get("hasMember", ())]
    return [part["reference"] for part in parts if "reference" in part]


def page(data: Path) -> str:
    """The page's text."""
    lines = [
        "# Agreement with another converter",
        "",
        "<!-- Written by `python -m tools.agreement`. -->",
        "",
        "Our resources beside those that Microsoft's FHIR-Converter (70fd328) makes of the same samples, field by",
        "field. `python -m tools.agreement` writes this page; a test says when it is stale.",
        "",
        "* Resources are paired within a sample, the likest of a type first, if at least three fields in ten agree.",
        "* A field is an element's path without indices; its value is all values at that path. Times are compared as",
        "  moments, references by the type that they point at. Ids, `meta`, narrative and displays are not compared.",
        "* Where the two differ, the HL7 v2-to-FHIR guide and C-CDA on FHIR decide:",
        *[f"  *{name}*, {meaning};" for name, meaning in WHOSE.items() if name != "pairing"],
        f"  *pairing*, {WHOSE['pairing']}.",
        "",
    ]
    for name in FORMATS:
        lines += _format(name, compare(data, name))
    return "\n".join(lines).rstrip() + "\n"


def _format(name: str, found: Compared) -> list[str]:
    title, unit, _ = FORMATS[name]
    total, known = found.total, explanations(name)
    counts, left = explained(found, known)
    by_whose: Counter[str] = Counter()
    for one, count in zip(known, counts, strict=True):
        by_whose[one.whose] += count.total()
    differing = total.compared - total.kinds["agreed"]
    split = ", ".join(f"{by_whose[whose]:,} {whose}" for whose in WHOSE if by_whose[whose])
    lines = [
        f"## {title}",
        "",
        f"{found.samples} samples, {total.pairs:,} resources by both, {total.compared:,} fields: "
        f"{total.kinds['agreed']:,} agree; of the {differing:,} others {split}, {left.total():,} not explained.",
        "",
        f"| {unit} | resources | fields | agreed | differing | ours only | theirs only |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for place, row in [*sorted(found.rows.items()), ("all", total)]:
        lines.append(
            f"| {place} | {row.pairs:,} | {row.compared:,} | {' | '.join(f'{row.kinds[k]:,}' for k in KINDS)} |"
        )
    lines += ["", "| why they differ | whose | differing | ours only | theirs only |", "|---|---|---:|---:|---:|"]
    order = sorted(range(len(known)), key=lambda n: (-counts[n].total(), n))
    lines += [
        f"| {known[n].reason} | {known[n].whose} | {' | '.join(f'{counts[n][k]:,}' for k in DISAGREE)} |" for n in order
    ]
    lines += [f"| `{path}` | not explained | {kind}: {number} | | |" for (path, kind), number in sorted(left.items())]
    lines += [
        "",
        f"Resources that theirs alone has: {_counted(found.theirs_alone)}.",
        "",
        f"Resources that ours alone has: {_counted(found.ours_alone)}.",
        "",
    ]
    return lines


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(counts.items()) if number)
