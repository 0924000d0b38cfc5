"""The text of a section: as XHTML, and by the ids that entries refer to.

Source: C-CDA on FHIR, "Narrative Text"; CDA R2 4.3.5 (the narrative block); FHIR R4 2.4.0.1 (a narrative's XHTML).
"""

from __future__ import annotations

import html
import re

from cohortlake.core.readers.ccda import Node

XHTML = "http://www.w3.org/1999/xhtml"
TABLE = frozenset(("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"))
SAME = TABLE | {"br", "sub", "sup"}
OTHER = {"content": "span", "paragraph": "p", "item": "li", "linkHtml": "a", "footnote": "span", "footnoteRef": "sup"}
EMPTY = frozenset(("br", "col"))
KEPT = ("border", "width", "align", "valign", "colspan", "rowspan", "span", "scope", "headers", "abbr")
STYLES = {"Bold": "font-weight:bold", "Italics": "font-style:italic", "Underline": "text-decoration:underline"}
BLOCKS = frozenset(("br", "caption", "item", "list", "paragraph", "table", "td", "th", "tr"))
LINK = re.compile(r"(?:https?:|mailto:|#)\S*$")


def xhtml(text: Node) -> str | None:
    """A section's text as the `div` of a Narrative; None for a text that is empty."""
    inner = _inside(text).strip()
    return f'<div xmlns="{XHTML}">{inner}</div>' if inner else None


def _inside(node: Node) -> str:
    return "".join(_escape(child) if isinstance(child, str) else _element(child) for child in node.children)


def _escape(text: str) -> str:
    return html.escape(text, quote=False)


def _element(node: Node) -> str:
    if node.name == "renderMultiMedia":
        return f"{_inside(node)}[{_escape(node.attributes.get('referencedObject', 'media'))}]"
    if node.name == "list":
        tag = "ol" if node.attributes.get("listType") == "ordered" else "ul"
        # A list's caption has no place within `ul`.
        caption = "".join(f"<p>{_inside(child)}</p>" for child in node.elements("caption"))
        return f"{caption}<{tag}{_attributes(node)}>{''.join(_element(item) for item in node.elements('item'))}</{tag}>"
    if node.name == "caption" and (node.parent is None or node.parent.name != "table"):
        return f"<b>{_inside(node)}</b>"
    tag = node.name if node.name in SAME else OTHER.get(node.name, "span")
    if tag in EMPTY:
        return f"<{tag}/>"
    return f"<{tag}{_attributes(node)}>{_inside(node)}</{tag}>"


def _attributes(node: Node) -> str:
    given = node.attributes
    made = {name: given[name] for name in KEPT if name in given}
    if "ID" in given:
        made["id"] = given["ID"]
    if node.name == "linkHtml" and LINK.match(given.get("href", "")):
        made["href"] = given["href"]
    styles = [STYLES[code] for code in given.get("styleCode", "").split() if code in STYLES]
    if styles:
        made["style"] = ";".join(styles)
    return "".join(f' {name}="{html.escape(value)}"' for name, value in made.items())


def plain(node: Node) -> str:
    """The text of an element without its markup, blanks as one; blocks are told apart."""
    return " ".join(_plain(node).split())


def _plain(node: Node) -> str:
    inner = "".join(child if isinstance(child, str) else _plain(child) for child in node.children)
    return f" {inner} " if node.name in BLOCKS else inner


def by_id(root: Node) -> dict[str, Node]:
    """The parts of the narratives by their ids; of two with one id, the first."""
    found: dict[str, Node] = {}
    for section in root.within("text"):
        text = section.first("text") if section.name == "section" else None
        for node in text.within() if text is not None else ():
            if "ID" in node.attributes:
                found.setdefault(node.attributes["ID"], node)
    return found
