"""C-CDA's reader: what is hostile, broken, odd or packed gives a problem with a name, and nothing raises."""

from __future__ import annotations

import io
import zipfile

import pytest

from cohortlake.core.ccda import to_fhir
from cohortlake.core.convert import Record
from cohortlake.core.readers import ccda
from cohortlake.core.readers.ccda import NotADocumentError, looks_like, parse, records
from tests.ccda_documents import PATIENT, document, resources

NAMESPACE = 'xmlns="urn:hl7-org:v3"'


def reason(payload: bytes) -> str:
    with pytest.raises(NotADocumentError) as error:
        parse(payload)
    return str(error.value)


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
HOSTILE = {
    "billion laughs": f'<!DOCTYPE d [<!ENTITY l0 "ha">{LAUGHS}]><ClinicalDocument {NAMESPACE}>&l9;</ClinicalDocument>',
    "external entity": f'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hosts">]><a {NAMESPACE}>&x;</a>',
    "external DTD": f'<!DOCTYPE d SYSTEM "http://localhost:9/d.dtd"><ClinicalDocument {NAMESPACE}/>',
    "parameter entity": f'<!DOCTYPE d [<!ENTITY % p SYSTEM "http://localhost:9/p">%p;]><ClinicalDocument {NAMESPACE}/>',
    "attribute default": f'<!DOCTYPE d [<!ATTLIST d a CDATA "x">]><ClinicalDocument {NAMESPACE}/>',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_declarations_of_entities_are_refused(text):
    assert reason(text.encode()) == "a document type declaration is refused: entities are not read"


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "the document is empty"),
        (b" \n\t", "the document is empty"),
        (b"MSH|^~\\&|A", "not well-formed XML: syntax error"),
        (f"<ClinicalDocument {NAMESPACE}>".encode(), "not well-formed XML: no element found"),
        (f"<ClinicalDocument {NAMESPACE}><a></b></ClinicalDocument>".encode(), "not well-formed XML: mismatched tag"),
        (f"<ClinicalDocument {NAMESPACE}><xsi:a/></ClinicalDocument>".encode(), "not well-formed XML: unbound prefix"),
        (f"<ClinicalDocument {NAMESPACE}>&nbsp;</ClinicalDocument>".encode(), "not well-formed XML: undefined entity"),
        (f"<ClinicalDocument {NAMESPACE}>\xe9</ClinicalDocument>".encode("latin-1"), "not well-formed XML"),
        (f"<section {NAMESPACE}/>".encode(), "a fragment without ClinicalDocument: whose it is is not said"),
        (b"<ClinicalDocument/>", "a ClinicalDocument outside the namespace urn:hl7-org:v3"),
        (b'<?xml version="1.0" encoding="klingon"?><ClinicalDocument/>', "the encoding that the document declares"),
    ],
)
def test_what_is_no_document_says_why(payload, expected):
    assert reason(payload).startswith(expected)


def test_depth_is_limited_where_it_is_too_deep():
    deep = ccda.MAX_DEPTH + 1
    payload = f"<ClinicalDocument {NAMESPACE}>{'<a>' * deep}{'</a>' * deep}</ClinicalDocument>".encode()
    assert reason(payload) == f"elements are nested deeper than {ccda.MAX_DEPTH}"


def test_a_text_of_ten_megabytes_is_kept_whole():
    [composition] = resources(document(text="x" * 10_000_000), "Composition")
    assert composition["section"][0]["text"]["div"].count("x") >= 10_000_000


def test_size_is_limited(monkeypatch):
    monkeypatch.setattr(ccda, "MAX_BYTES", 100)
    [record] = records(document())
    assert record.problem is not None
    assert record.problem.reason == "larger than the limit of 100 bytes a document"
    assert record.payload == document()
    assert to_fhir(record).resources == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_encodings(encoding):
    text = document(header=PATIENT.replace("Ann", "Zoë")).decode()
    declared = text.replace("UTF-8", encoding.removesuffix("-sig"))
    [patient] = resources(declared.encode(encoding), "Patient")
    assert patient["name"] == [{"family": "Lee", "given": ["Zoë"]}]


def test_blanks_before_the_declaration_and_other_prefixes_are_read():
    text = document().decode().replace("<?xml", "\n <?xml", 1)
    assert len(resources(text.encode(), "Patient")) == 1
    prefixed = f'<c:ClinicalDocument xmlns:c="urn:hl7-org:v3">{PATIENT}</c:ClinicalDocument>'
    for name in ("recordTarget", "patientRole", "patient", "name", "id", "given", "family", "administrativeGenderCode"):
        prefixed = prefixed.replace(f"<{name}", f"<c:{name}").replace(f"</{name}", f"</c:{name}")
    assert len(resources(prefixed.encode(), "Patient")) == 1


def zipped(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, payload in members.items():
            archive.writestr(name, payload)
    return data.getvalue()


def test_a_zip_gives_each_member_with_the_place_of_its_header():
    payload = zipped({"a/": b"", "a/one.xml": document(), "a/two.xml": b"<broken", "style.xsl": b"<x/>"})
    found = list(records(payload))
    assert [payload[record.offset : record.offset + 4] for record in found] == [b"PK\x03\x04"] * 3
    assert [record.payload for record in found] == [document(), b"<broken", b"<x/>"]
    assert [to_fhir(record).error is None for record in found] == [True, False, False]


def test_a_broken_zip_is_kept_whole_with_a_reason():
    payload = zipped({"one.xml": document()})[:-30]
    [record] = records(payload)
    assert record.payload == payload
    assert record.problem is not None
    assert record.problem.reason == "the zip is truncated or broken"


def test_a_member_that_cannot_be_unpacked_does_not_hide_the_others():
    payload = bytearray(zipped({"one.xml": document(), "two.xml": document(text="two")}))
    start = payload.index(b"one.xml") + len("one.xml")
    payload[start + 20 : start + 40] = b"\xff" * 20
    first, second = records(bytes(payload))
    assert first.problem is not None
    assert first.problem.reason == "the member of the zip cannot be unpacked"
    assert second.problem is None


def test_a_zip_bomb_is_cut_at_the_limit(monkeypatch):
    monkeypatch.setattr(ccda, "MAX_BYTES", 1000)
    [record] = records(zipped({"one.xml": b" " * 1_000_000}))
    assert record.problem is not None
    assert len(record.payload) == 1001


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (document()[:1024], True),
        (b"\xef\xbb\xbf" + document()[:1000], True),
        (document().decode().encode("utf-16")[:1024], True),
        (zipped({"one.xml": document()})[:1024], True),
        (zipped({"one.csv": b"a,b"})[:1024], False),
        (b"MSH|^~\\&|", False),
        (b'<Patient xmlns="http://hl7.org/fhir"/>', False),
        (b'{"resourceType": "Patient"}', False),
    ],
)
def test_what_looks_like_it(head, expected):
    assert looks_like(head) is expected


def test_a_document_without_a_patient_is_nobodys():
    [problem] = to_fhir(Record(0, document(header=""))).problems
    assert problem.reason == "no recordTarget/patientRole: whose document it is is not said"
    assert problem.severity == "error"
