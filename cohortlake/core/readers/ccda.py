"""C-CDA documents from bytes: files and zips to records, a record to a tree of nodes, hardened.

Nothing outside the document is ever read. A document type declaration is refused, and with it every entity beyond XML's
own five; size and depth have limits. Source: OWASP XML External Entity Prevention; HL7 CDA R2, chapter 1.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from xml.parsers import expat

from cohortlake.core.convert import Problem, Record

CDA, SDTC = "urn:hl7-org:v3", "urn:hl7-org:sdtc"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
# Real documents stay below 20 MB and 40 levels; a tree takes about ten times the bytes.
MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 100
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
ZIP = (b"PK\x03\x04", b"PK\x05\x06")


class NotADocumentError(ValueError):
    """The bytes are no document that can be read. The message says why, `place` where."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(reason)
        self.place = place


class Node:
    """An element. Names of CDA are bare, those of its US extension begin with `sdtc:`, others hold `{namespace}`."""

    __slots__ = ("_named", "attributes", "children", "line", "name", "parent")

    def __init__(self, name: str, attributes: dict[str, str], parent: Node | None, line: int) -> None:
        self.name = name
        self.attributes = attributes
        self.parent = parent
        self.line = line
        self.children: list[Node | str] = []
        self._named: dict[str, list[Node]] | None = None

    @property
    def named(self) -> Mapping[str, Sequence[Node]]:
        """The children by name, in order; gathered once, when the tree is whole."""
        named = self._named
        if named is None:
            named = self._named = {}
            for child in self.children:
                if isinstance(child, Node):
                    named.setdefault(child.name, []).append(child)
        return named

    def elements(self, name: str) -> Sequence[Node]:
        """The children of a name, in order."""
        return self.named.get(name, ())

    def first(self, name: str) -> Node | None:
        """The first child of a name."""
        found = self.named.get(name)
        return found[0] if found else None

    def within(self, but: str = "") -> Iterator[Node]:
        """This element and all in it, in the document's order; what is in elements named `but` is passed over."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            if node.children and node.name != but:
                waiting += [child for child in reversed(node.children) if type(child) is Node]

    def text(self) -> str:
        """All text in the element, as it was written."""
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def __repr__(self) -> str:
        return f"<{self.name} line {self.line}>"


def looks_like(head: bytes) -> bool:
    """Whether a file that begins with these bytes is XML, or a zip of it, and not FHIR's."""
    if head.startswith(ZIP):
        return b".xml" in head[30:300].lower() or b".ccda" in head[30:300].lower()
    text = head.replace(b"\0", b"").removeprefix(BOM).lstrip(b"\xff\xfe \t\r\n")
    return text.startswith(b"<") and b'xmlns="http://hl7.org/fhir"' not in text


def records(data: bytes) -> Iterator[Record]:
    """A document, or each member of a zip of documents; `offset` of a member is that of its header in the zip."""
    if not data.startswith(ZIP):
        yield Record(0, data, _limit(len(data)))
        return
    try:
        members = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError):
        yield Record(0, data, Problem("the zip is truncated or broken"))
        return
    for member in members.infolist():
        if not member.is_dir():
            yield _member(members, member)


def _limit(size: int) -> Problem | None:
    return Problem(f"larger than the limit of {MAX_BYTES} bytes a document") if size > MAX_BYTES else None


def _member(members: zipfile.ZipFile, member: zipfile.ZipInfo) -> Record:
    offset = member.header_offset
    if member.flag_bits & 1:
        return Record(offset, b"", Problem("the member of the zip is encrypted", "zip"))
    try:
        with members.open(member) as stream:
            payload = stream.read(MAX_BYTES + 1)
    except (
        Exception
    ):  # (zipfile has a class for each way to be broken: NotImplementedError, zlib.error, BadZipFile, ...)
        return Record(offset, b"", Problem("the member of the zip cannot be unpacked", "zip"))
    return Record(offset, payload, _limit(len(payload)))


class _Names(dict[str, str]):
    """Names as `Node` has them, by the names that the parser gives: namespace, blank, name."""

    def __missing__(self, name: str) -> str:
        namespace, _, local = name.rpartition(" ")
        prefix = {CDA: "", "": "", SDTC: "sdtc:", XSI: "xsi:"}.get(namespace, f"{{{namespace}}}")
        self[name] = made = prefix + local
        return made


class _Builder:
    """Builds the tree of one document."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.open: list[Node] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.data
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.names = _Names()

    def start(self, name: str, given: dict[str, str]) -> None:
        names = self.names
        attributes = {names[full]: value for full, value in given.items()} if given else given
        if "xsi:type" in attributes:
            attributes["xsi:type"] = attributes["xsi:type"].rpartition(":")[2]
        parent = self.open[-1] if self.open else None
        node = Node(names[name], attributes, parent, self.parser.CurrentLineNumber)
        if parent is None:
            # A root without a namespace is no CDA, whatever its name.
            self.root = node if name.startswith(f"{CDA} ") else Node(f"{{}}{node.name}", attributes, None, node.line)
            node = self.root
        else:
            parent.children.append(node)
        self.open.append(node)
        if len(self.open) > MAX_DEPTH:
            raise NotADocumentError(f"elements are nested deeper than {MAX_DEPTH}", f"line {node.line}")

    def end(self, _: str) -> None:
        self.open.pop()

    def data(self, text: str) -> None:
        if text.strip() or self.open[-1].children:
            self.open[-1].children.append(text)

    def doctype(self, *_: object) -> None:
        raise NotADocumentError(
            "a document type declaration is refused: entities are not read", f"line {self.parser.CurrentLineNumber}"
        )


def parse(payload: bytes) -> Node:
    """The document element. Raises NotADocumentError for what is no well-formed ClinicalDocument."""
    if len(payload) > MAX_BYTES:
        raise NotADocumentError(f"larger than the limit of {MAX_BYTES} bytes a document")
    data = payload if payload.startswith(UTF16) else payload.removeprefix(BOM).lstrip()
    if not data:
        raise NotADocumentError("the document is empty")
    builder = _Builder()
    try:
        builder.parser.Parse(data, True)
    except expat.ExpatError as error:
        said = expat.ErrorString(error.code)
        raise NotADocumentError(f"not well-formed XML: {said}", f"line {error.lineno}, column {error.offset}") from None
    except (LookupError, UnicodeError):
        raise NotADocumentError("the encoding that the document declares is not known", "line 1") from None
    root = builder.root
    if root is None or root.name != "ClinicalDocument":
        name = root.name.rpartition("}")[2] if root else ""
        reason = "a ClinicalDocument outside the namespace urn:hl7-org:v3" if name == "ClinicalDocument" else ""
        raise NotADocumentError(reason or "a fragment without ClinicalDocument: whose it is is not said", f"<{name}>")
    return root
