"""The sections of a document as those of its Composition: their text, and what was made of their entries."""

from __future__ import annotations

from html import escape
from typing import Any

from cohortlake.core.ccda.codes import concept
from cohortlake.core.ccda.datatypes import narrative
from cohortlake.core.ccda.narrative import XHTML, plain
from cohortlake.core.ccda.run import Made, Run
from cohortlake.core.readers.ccda import Node

EMPTY = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/list-empty-reason", "code": "unavailable"}]}


def add_sections(run: Run) -> None:
    """Give the Composition its sections."""
    composition = next((made for made in run.made.values() if made.kind == "Composition"), None)
    if composition is None or composition.resource is None:
        return
    by_section: dict[Node, list[Made]] = {}
    for (name, node), made in run.made.items():
        declared = run.declared.resources[name]
        if declared.templates or declared.of == "section":
            by_section.setdefault(_section_of(node), []).append(made)
    body = next((b for c in run.root.elements("component") for b in c.elements("structuredBody")), None)
    with run.codes.within(composition):
        sections = _sections(body, by_section, run) if body is not None else []
    if sections:
        composition.resource["section"] = sections


def _section_of(node: Node) -> Node:
    at = node
    while at.name != "section" and at.parent is not None:
        at = at.parent
    return at


def _sections(parent: Node, by_section: dict[Node, list[Made]], run: Run) -> list[dict[str, Any]]:
    found = [section for part in parent.elements("component") for section in part.elements("section")]
    return [made for section in found if (made := _section(section, by_section, run))]


def _section(node: Node, by_section: dict[Node, list[Made]], run: Run) -> dict[str, Any]:
    title, code, text = node.first("title"), node.first("code"), node.first("text")
    made: dict[str, Any] = {
        "title": plain(title) if title is not None else None,
        "code": concept(code, run) if code is not None else None,
        "text": narrative(text, run) if text is not None else None,
        "entry": [_refer(entry) for entry in by_section.get(node, ())],
        "section": _sections(node, by_section, run),
    }
    made = {name: value for name, value in made.items() if value}
    if not made.keys() & {"text", "entry", "section"}:
        # R4 wants one of them (cmp-1): a section that has only a heading is shown as that.
        shown = made.get("title") or made.get("code", {}).get("text") or "(empty)"
        made["text"] = {"status": "generated", "div": f'<div xmlns="{XHTML}">{escape(shown)}</div>'}
    if "nullFlavor" in node.attributes and not made.keys() & {"entry", "section"}:
        made["emptyReason"] = EMPTY
    return made


def _refer(made: Made) -> dict[str, Any]:
    reference: dict[str, Any] = {}
    made.references.append(reference)
    return reference
