"""Ids, codes and words: II, CD and ED to Identifier, Coding, CodeableConcept and text.

Source: C-CDA on FHIR, "Mapping guidance": CDA id, CDA coding, OriginalText, Mapping OID.
"""

from __future__ import annotations

import re
from typing import Any

from cohortlake.core.ccda.narrative import plain
from cohortlake.core.ccda.run import Run
from cohortlake.core.readers.ccda import Node

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")
URI = "urn:ietf:rfc:3986"
URI_ROOT = "2.16.840.1.113883.4.873"


def text_of(node: Node, run: Run) -> str:
    """What an element says in words: its own text, or that part of the narrative that it refers to."""
    own = plain(node)
    if own:
        return own
    original = node.first("originalText")
    reference = node.first("reference") or (original.first("reference") if original is not None else None)
    target = reference.attributes.get("value", "") if reference is not None else ""
    part = run.narrative.get(target.removeprefix("#"))
    if part is not None:
        return plain(part)
    return "" if target.startswith("#") else target


def uri_of(root: str, run: Run) -> str:
    """An OID or UUID as a URI, by the declared list where it has one."""
    known = run.declared.oids.get(root)
    if known:
        return known
    if UUID.fullmatch(root):
        return f"urn:uuid:{root.lower()}"
    if OID.fullmatch(root):
        return f"urn:oid:{root}"
    return root if re.match(r"[a-z][a-z0-9+.-]*:\S+$", root) else ""


def identifier(node: Node, run: Run) -> dict[str, Any] | None:
    made, assigner = _identifier(node, run), node.attributes.get("assigningAuthorityName", "").strip()
    return {**made, "assigner": {"display": assigner}} if made and assigner else made


def _identifier(node: Node, run: Run) -> dict[str, Any] | None:
    root, extension = node.attributes.get("root", "").strip(), node.attributes.get("extension", "").strip()
    if root == URI_ROOT and extension:
        system, mark, value = extension.rpartition("/" if "/" in extension else ":")
        return {"system": system, "value": value} if mark and system and value else {"system": URI, "value": extension}
    if extension:
        system = uri_of(root, run)
        return {"system": system, "value": extension} if system else {"value": extension}
    if not root or "nullFlavor" in node.attributes or root in run.declared.oids:
        # (a known system without a value is no identifier: the guide's note to its table of ids)
        return None
    uri = uri_of(root, run)
    return {"system": URI, "value": uri} if uri.startswith("urn:") else {"value": root}


def coding(node: Node, run: Run) -> dict[str, Any] | None:
    code, display = " ".join(node.attributes.get("code", "").split()), node.attributes.get("displayName", "").strip()
    if not code:
        return None
    oid = node.attributes.get("codeSystem", "").strip()
    system = uri_of(oid, run)
    if oid and system.startswith("urn:oid:") and oid not in run.declared.oids:
        run.codes["code systems", oid] += 1
    version = node.attributes.get("codeSystemVersion", "")
    made = {"system": system, "version": version, "code": code, "display": display}
    return {name: value for name, value in made.items() if value}


def concept(node: Node, run: Run) -> dict[str, Any] | None:
    codings: list[dict[str, Any]] = []
    for child in (node, *node.elements("translation")):
        made = coding(child, run)
        if made and made not in codings:
            codings.append(made)
    original = node.first("originalText")
    text = text_of(original, run) if original is not None else ""
    if not text and not codings:
        text = node.attributes.get("displayName", "").strip() or plain(node)
    result: dict[str, Any] = {"coding": codings} if codings else {}
    return {**result, "text": text} if text else result or None
