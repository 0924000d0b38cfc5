"""The rules of bulk export, one by one: what is asked, what an answer means, when to ask again, what a file holds."""

from __future__ import annotations

import datetime
import io
import json
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cohortlake.core.bulk import check
from cohortlake.core.bulk.manifest import Manifest, WrongManifestError, read_manifest, without_query
from cohortlake.core.bulk.outcome import count_issues, is_transient, words
from cohortlake.core.bulk.request import kick_off_url
from cohortlake.core.bulk.retry import Patience, Verdict, retry_after, verdict
from cohortlake.core.bulk.token import WrongKeyError, assertion, load_key, read_token
from cohortlake.core.catalog.origin import BulkFhir

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def source(**options) -> BulkFhir:
    return BulkFhir.model_validate({"kind": "bulk_fhir", "url": "https://ehr.example.org/fhir/", **options})


def outcome(code: str, **issue) -> bytes:
    issue = {"severity": "error", "code": code, **issue}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"level": "system"}, "/fhir/$export"),
        ({}, "/fhir/Patient/$export"),
        ({"level": "group", "group": "a-1"}, "/fhir/Group/a-1/$export"),
    ],
)
def test_the_level_is_in_the_path(options, path):
    assert urlsplit(kick_off_url(source(**options))).path == path


def test_parameters_come_back_as_they_were_given():
    filters = ["Observation?category=laboratory&date=gt2020-01-01", "Condition?code=a%26b"]
    url = kick_off_url(source(types=["Observation", "Condition"], type_filters=filters), "2026-01-01T00:00:00+01:00")
    assert parse_qsl(urlsplit(url).query) == [
        ("_outputFormat", "application/fhir+ndjson"), ("_type", "Observation,Condition"),
        ("_typeFilter", filters[0]), ("_typeFilter", filters[1]), ("_since", "2026-01-01T00:00:00+01:00"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://ehr.example.org"}, {"url": "ftp://localhost"}, {"level": "group"}, {"group": "a"},
        {"level": "group", "group": "../x"}, {"types": ["patient"]}, {"types": ["A,B"]}, {"downloads": 0},
        {"client": {"id": "a", "key_id": "b", "key_file_variable": "/etc/key.pem"}},
    ],
)  # fmt: skip
def test_what_a_source_may_not_say(options):
    with pytest.raises(ValidationError):
        source(**options)


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (200, b"", Verdict.DONE), (202, b"", Verdict.WAIT), (401, b"", Verdict.TOKEN), (404, b"", Verdict.GONE),
        (410, b"", Verdict.GONE), (429, outcome("processing"), Verdict.AGAIN), (503, b"", Verdict.AGAIN),
        (500, b"<html>", Verdict.AGAIN), (500, outcome("transient"), Verdict.AGAIN),
        (500, outcome("processing"), Verdict.REFUSED), (400, outcome("transient"), Verdict.REFUSED),
        (403, b"", Verdict.REFUSED), (301, b"", Verdict.REFUSED), (501, outcome("not-supported"), Verdict.REFUSED),
    ],
)  # fmt: skip
def test_what_a_status_means(status, body, meaning):
    assert verdict(status, body) is meaning


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("120", 120.0), (" 0 ", 0.0), ("soon", None), ("-1", None), ("1.5", None),
        ("Thu, 01 Jan 2026 12:02:00 GMT", 120.0), ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 12:00:30 -0000", 30.0),
    ],
)  # fmt: skip
def test_retry_after(header, seconds):
    assert retry_after(header, NOW) == seconds


@given(st.integers(0, 10_000), st.one_of(st.none(), st.floats(0, 1e9)), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_none_and_never_endless(attempt, asked, random):
    patience = Patience()
    seconds = patience.wait(attempt, asked, random)
    assert 1.0 <= seconds <= patience.longest_asked
    if asked is not None and 1 <= asked <= patience.longest_asked:
        assert seconds == asked


def test_waits_grow():
    assert [Patience().wait(n, None, 0.0) for n in (0, 1, 2, 7, 8, 99)] == [2, 4, 8, 256, 300, 300]


def page(**change) -> dict:
    files = {"output": [{"type": "Patient", "url": "https://f/1?sig=x", "count": 3}, {"type": "Patient", "url": "2"}]}
    return {"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": False, **files, "error": [], **change}


def test_files_are_numbered_over_all_pages_and_told_by_kind():
    more = {"output": [{"type": "Patient", "url": "https://f/3"}], "deleted": [{"url": "https://f/4"}]}
    found = read_manifest([("https://f/status/1", page(error=[{"url": "5"}])), ("https://f/status/2", more)])
    assert [(file.name, file.kind, file.type, file.url, file.count) for file in found.files] == [
        ("Patient.000001", "output", "Patient", "https://f/1?sig=x", 3),
        ("Patient.000002", "output", "Patient", "https://f/status/2", None),
        ("_error.000001", "error", "OperationOutcome", "https://f/status/5", None),
        ("Patient.000003", "output", "Patient", "https://f/3", None),
        ("deleted.000001", "deleted", "Bundle", "https://f/4", None),
    ]
    assert Manifest.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (page(output=None), "output is not a list"), (page(output=[{"type": "Patient"}]), r"output\[0\] has no url"),
        (page(output=[{"type": "../x", "url": "u"}]), r"output\[0\].type"), (page(output=[{"url": "u"}]), "type"),
        (page(output=[{"type": "Patient", "url": "u", "count": -1}]), "count"),
        (page(output=[{"type": "Patient", "url": "u", "count": True}]), "count"),
        (page(deleted={}), "deleted is not a list"), (page(transactionTime="2026-01-01"), "transactionTime"),
        (page(requiresAccessToken=None), "requiresAccessToken"), ([], "not a JSON object"),
    ],
)  # fmt: skip
def test_a_wrong_manifest_names_the_field(body, said):
    with pytest.raises(WrongManifestError, match=said):
        read_manifest([("https://f", body)])


def test_signatures_are_not_kept():
    assert without_query("https://f/a?X-Amz-Signature=1#x") == "https://f/a"


@pytest.mark.parametrize(
    ("text", "rows", "problem"),
    [
        (b"", 0, None), (b"\n\n", 0, None), (b'{"resourceType":"Patient"}', 1, None),
        (b'{"resourceType":"Patient"}\n{"resourceType":"Patient"}\r\n\n', 2, None),
        (b'\xef\xbb\xbf{"resourceType":"Patient"}\n', 1, None),
        (b'{"resourceType":"Patient"}\nnot JSON\n{"resourceType":"Patient"}\n', 3, None),
        (b'{"resourceType":"Patient"}\n{"resourceTy', 2, "cut off"), (b'{"resourceType":"Pat', 1, "cut off"),
        (b"<html>\n</html>\n", 0, "first line is not JSON"), (b'{"id":1}\n', 0, "not a FHIR resource"),
        (b'{"resourceType":"OperationOutcome"}\n', 0, "the server tells of an error"),
    ],
)  # fmt: skip
def test_is_a_file_whole(text, rows, problem, monkeypatch):
    for block in (1, 7, 1024):
        monkeypatch.setattr(check, "BLOCK", block)
        found = check.look(io.BytesIO(text), "Patient")
        assert found.rows == rows
        assert (problem or "") in (found.problem or "")
        assert (found.problem is None) == (problem is None)


def test_counts():
    assert check.count_problem(3, None) is check.count_problem(3, 3) is None
    assert check.count_problem(1234, 5678) == "it has 1,234 lines where the manifest says 5,678"


def test_outcomes():
    assert words(outcome("invalid", details={"text": "no such type"})) == "no such type"
    assert words(outcome("invalid", diagnostics="x" * 999)) == "x" * 300
    assert words(b"<html>") == ""
    assert (is_transient(b"[]"), is_transient(outcome("throttled")), is_transient(outcome("invalid"))) == (
        None, True, False,
    )  # fmt: skip
    assert count_issues([outcome("invalid"), outcome("invalid"), b" ", b"?"]) == {
        "error invalid": 2, "not an OperationOutcome": 1,
    }  # fmt: skip


def pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(ec.generate_private_key(ec.SECP384R1()), "ES384"), (rsa.generate_private_key(65537, 2048), "RS384")],
)
def test_the_assertion_is_as_smart_backend_services_asks(key, algorithm):
    signed = assertion("me", "https://a/token", load_key(pem(key)), "k1", now=1_000_000.7, nonce="n")
    assert jwt.get_unverified_header(signed) == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    options = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(signed, key.public_key(), [algorithm], audience="https://a/token", options=options)
    assert (claims["iss"], claims["sub"], claims["jti"], claims["exp"]) == ("me", "me", "n", 1_000_240)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN", pem(ec.generate_private_key(ec.SECP256R1()))])
def test_keys_that_cannot_sign(text):
    with pytest.raises(WrongKeyError):
        load_key(text)


def test_a_token_is_fresh_until_its_margin():
    token = read_token({"access_token": "secret", "expires_in": 300}, 1000.0)
    assert (token.is_fresh(1269.0), token.is_fresh(1271.0)) == (True, False)
    assert "secret" not in repr(token)
    short = read_token({"access_token": "secret", "expires_in": 10}, 1000.0)
    assert (short.is_fresh(1004.9), short.is_fresh(1005.1)) == (True, False)
    assert read_token({"access_token": "secret"}, 0.0).ends == 300.0


@pytest.mark.parametrize("body", [[], {}, {"access_token": 1}, {"access_token": ""}])
def test_an_answer_without_a_token(body):
    with pytest.raises(ValueError, match="no access_token"):
        read_token(body, 0.0)
