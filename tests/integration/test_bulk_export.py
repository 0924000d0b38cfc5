"""A bulk export is fetched whole and once, whatever the server does: each test is a server that misbehaves."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from cohortlake.cli import app, doctor, fetch  # noqa: F401 (they register commands)
from cohortlake.core.bulk.retry import Patience
from cohortlake.core.catalog.origin import BulkFhir
from cohortlake.core.errors import LakeBusyError, SourceError, UsageError
from spark_jobs import bulk_export
from spark_jobs.bulk_export import BulkExport
from spark_jobs.landing import Landing
from tests.bulk_server import BulkServer, cut_off, instead, outcome, serving

QUICK = Patience(first=0.01, longest=0.05, longest_asked=2.0, tries=4)


def line(resource_type: str, number: int) -> bytes:
    return json.dumps({"resourceType": resource_type, "id": str(number)}).encode()


def bundle(*urls: str) -> bytes:
    entries = [{"request": {"method": "DELETE", "url": url}} for url in urls]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


@pytest.fixture
def server():
    with serving() as bulk:
        bulk.resources = {
            "Patient": [line("Patient", n) for n in range(40)],
            "Condition": [line("Condition", n) for n in range(7)],
        }
        yield bulk


class Site:
    """A landing folder, and how it is fetched into."""

    def __init__(self, server: BulkServer, folder: Path) -> None:
        self.server, self.folder, self.told = server, folder, []

    def export(self, **options) -> BulkExport:
        source = BulkFhir.model_validate({"kind": "bulk_fhir", "url": f"{self.server.url}/fhir", **options})
        return BulkExport(source, Landing(self.folder), QUICK, self.told.append)

    def fetch(self, full: bool = False, **options):
        return self.export(**options).fetch(full=full)

    def files(self) -> dict[str, int]:
        """What land would take, with lines."""
        paths = [p for p in self.folder.rglob("*") if p.is_file() and ".fetch" not in p.parts]
        return {
            p.name: len((gzip.open(p) if p.suffix == ".gz" else p.open("rb")).readlines())
            for p in sorted(paths)
            if not p.name.startswith("_delivery")
        }


@pytest.fixture
def site(server, tmp_path):
    return Site(server, tmp_path / "silo")


ALL = {"Condition.000001.ndjson": 7, "Patient.000001.ndjson": 40}


def test_everything_then_changes(site, server):
    first = site.fetch(types=["Patient", "Condition"])
    assert (first.rows, first.since) == ({"Patient": 40, "Condition": 7}, None)
    assert site.files() == ALL
    asked = server.asked[0]
    assert asked[1] == "/fhir/Patient/$export?_outputFormat=application%2Ffhir%2Bndjson&_type=Patient,Condition"
    assert (asked[2]["prefer"], asked[2]["accept"]) == ("respond-async", "application/fhir+json")
    assert server.count("delete") == 1

    server.resources, server.deleted = {"Patient": [line("Patient", 3)]}, [bundle("Patient/1", "Patient/2")]
    second = site.fetch(types=["Patient", "Condition"])
    assert (second.rows, second.deleted) == ({"Patient": 1}, {"deleted": 1})
    assert second.since == first.until == "2026-01-01T00:00:01.000+01:00"
    kick_offs = [path for kind, path, _ in server.asked if kind == "kick_off"]
    assert kick_offs[1] == kick_offs[0] + "&_since=2026-01-01T00%3A00%3A01.000%2B01%3A00"
    gone = site.folder / second.delivery / "deleted.000001.ndjson.gz"
    assert gzip.decompress(gone.read_bytes()) == server.deleted[0] + b"\n"
    # Deleted again, it is another file: land knows files by their content, and lands none twice.
    third = site.fetch(types=["Patient", "Condition"])
    assert (site.folder / third.delivery / "deleted.000001.ndjson.gz").read_bytes() != gone.read_bytes()


def test_what_goes_on_is_told(site, server):
    server.expires = "Fri, 01 Jan 2027 00:00:00 GMT"
    site.fetch()
    assert "the export is being made: half done" in site.told
    assert "2 files, there until Fri, 01 Jan 2027 00:00:00 GMT" in site.told
    assert site.told[-1] == "2 of 2 files"


def test_another_question_is_asked_from_the_beginning(site):
    site.fetch(types=["Patient"])
    assert site.fetch(types=["Patient", "Condition"]).since is None
    assert site.fetch(types=["Patient", "Condition"]).since is not None
    assert site.fetch(types=["Patient", "Condition"], full=True).since is None


def test_a_group_is_fetched_whole_unless_it_is_declared_otherwise(site, server):
    for incremental, since in ((None, False), (True, True)):
        site.fetch(level="group", group="g1", incremental=incremental)
        assert (site.fetch(level="group", group="g1", incremental=incremental).since is not None) is since
    assert server.asked[0][1].startswith("/fhir/Group/g1/$export?")


@pytest.mark.parametrize("kind", ["kick_off", "status", "file"])
@pytest.mark.parametrize(
    "fault",
    [
        instead(429, Retry_After="0"), instead(503), instead(502, b"<html>"), instead(500, outcome("transient")),
        instead(429, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
)  # fmt: skip
def test_trouble_that_passes_is_waited_for(site, server, kind, fault):
    server.faults[kind] += [fault, fault]
    site.fetch()
    assert site.files() == ALL


def test_retry_after_is_obeyed(site, server):
    server.faults["status"].append(instead(429, Retry_After="1"))
    started = time.monotonic()
    site.fetch()
    assert time.monotonic() - started >= 1.0


def test_an_export_that_failed_says_why(site, server):
    server.faults["status"].append(instead(500, outcome("processing", "an internal timeout")))
    with pytest.raises(SourceError, match="status 500: an internal timeout"):
        site.fetch()
    assert site.files() == {}
    assert server.exports == {}
    site.fetch()
    assert (site.files(), server.count("kick_off")) == (ALL, 2)


def test_a_refused_kick_off_says_why(site, server):
    server.faults["kick_off"].append(instead(400, outcome("not-supported", "_type is not supported")))
    with pytest.raises(SourceError, match="the kick-off: status 400: _type is not supported"):
        site.fetch()


def test_a_server_that_stays_down_is_told(site, server):
    server.faults["kick_off"] += [instead(503)] * 9
    with pytest.raises(SourceError, match="the kick-off: status 503, 4 times"):
        site.fetch()


def test_what_expires_while_it_is_fetched_is_asked_for_again(site, server):
    server.faults["file"].append(instead(410))
    site.fetch()
    assert site.files() == ALL
    assert server.count("kick_off") == 2


def test_a_signed_address_that_expired_is_asked_for_again(site, server):
    server.faults["file"].append(instead(403))
    site.fetch()
    assert (site.files(), server.count("kick_off")) == (ALL, 2)


def test_files_that_are_always_gone_are_an_error(site, server):
    server.faults["file"] += [instead(404)] * 99
    with pytest.raises(SourceError, match="status 404"):
        site.fetch()
    assert server.count("kick_off") == bulk_export.EXPORTS


@pytest.mark.parametrize("is_announced", [True, False])
@pytest.mark.parametrize("is_zipped", [True, False])
def test_a_file_that_is_cut_off_is_fetched_again(site, server, is_zipped, is_announced):
    server.is_zipped = is_zipped
    server.faults["file"] += [cut_off(45, is_announced=is_announced), cut_off(3, is_announced=is_announced)]
    site.fetch(downloads=1)
    suffix = ".gz" if is_zipped else ""
    assert site.files() == {name + suffix: rows for name, rows in ALL.items()}
    assert server.count("file") == 4


def test_a_cut_between_lines_is_told_by_the_count(site, server):
    server.counts = {"Patient": 40, "Condition": 7}
    whole = len(line("Patient", 1)) + 1
    server.faults["file"].append(cut_off(5 * whole, is_announced=False))
    site.fetch(downloads=1, types=["Patient"])
    assert site.files() == ALL


def test_a_file_that_is_always_cut_off_is_an_error_and_nothing_lands(site, server):
    server.resources["Patient"][-1] = b'{"resourceType": "Patient", "id"'
    server.faults["file"] += [cut_off(100, is_announced=False)] * 9
    with pytest.raises(SourceError, match=r"/file/1/output/\w+: it is cut off.*fetched again"):
        site.fetch()
    assert site.files() == {}


def test_a_wrong_count_is_an_error_or_a_warning(site, server):
    server.counts = {"Patient": 41}
    with pytest.raises(SourceError, match="it has 40 lines where the manifest says 41"):
        site.fetch()
    assert site.files() == {}
    found = site.fetch(wrong_counts="warn")
    assert found.problems == {"Patient.000001.ndjson": "it has 40 lines where the manifest says 41"}
    assert site.files() == ALL


def test_an_error_page_is_no_file(site, server):
    server.faults["file"] += [instead(200, b"<html>\n<p>try later\n")]
    site.fetch()
    assert site.files() == ALL


def test_what_the_server_could_not_export_is_kept_and_counted(site, server):
    server.errors = [outcome("not-found"), outcome("not-found"), outcome("security"), b"no JSON"]
    found = site.fetch()
    assert found.issues == {"error not-found": 2, "error security": 1, "not an OperationOutcome": 1}
    assert site.files() == {**ALL, "_error.000001.ndjson": 4}


def test_manifest_pages_are_followed(site, server):
    server.extra = {"link": [{"relation": "next", "url": "/status/1?page=2"}]}

    second = {"output": [{"type": "Patient", "url": "/file/1/output/Patient"}]}
    server.faults["status"] += [lambda right: right, lambda right: right, instead(200, json.dumps(second).encode())]
    site.fetch()
    assert site.files() == {**ALL, "Patient.000002.ndjson": 40}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"transactionTime": "yesterday"}, "transactionTime"), ({"requiresAccessToken": "no"}, "requiresAccessToken"),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_told(site, server, change, said):
    server.extra = change
    with pytest.raises(SourceError, match=f"the manifest is wrong: {said}"):
        site.fetch()


def test_an_export_that_never_ends_is_given_up_and_cancelled(site, server):
    server.is_forever = True
    with pytest.raises(SourceError, match="time to give up"):
        site.fetch(give_up_hours=0.5 / 3600)
    assert server.count("delete") == 1
    assert site.files() == {}
    server.is_forever = False
    site.fetch()
    assert (site.files(), server.count("kick_off")) == (ALL, 2)


@pytest.fixture(params=["ES384", "RS384"])
def client(request, server, tmp_path, monkeypatch):
    key = ec.generate_private_key(ec.SECP384R1()) if request.param == "ES384" else rsa.generate_private_key(65537, 2048)
    server.public_key = key.public_key()
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    monkeypatch.setenv("TEST_KEY_FILE", str(tmp_path / "key.pem"))
    return {"id": "cohortlake", "key_file_variable": "TEST_KEY_FILE", "key_id": "k1"}


def test_a_token_is_bought_and_bought_again_when_it_ends(site, server, client):
    server.token_seconds = 1.5
    server.polls = 12
    server.before_file = lambda: time.sleep(0.8)
    site.fetch(client=client, downloads=1)
    assert site.files() == ALL
    assert server.count("token") >= 2
    assert (server.count("configuration"), len(server.tokens)) == (1, server.count("token"))


def test_a_token_that_the_server_forgot_is_bought_again(site, server, client):
    server.before_file = lambda: server.tokens.clear() if server.count("file") == 1 else None
    site.fetch(client=client, downloads=1)
    assert site.files() == ALL


def test_a_client_that_is_not_known_is_told(site, server, client):
    is_rsa = isinstance(server.public_key, rsa.RSAPublicKey)
    other = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP384R1())
    server.public_key = other.public_key()
    with pytest.raises(SourceError, match="gives no token: status 400, invalid_client"):
        site.fetch(client=client)


def test_no_token_goes_to_files_that_ask_for_none(site, server, client):
    server.extra = {"requiresAccessToken": False}
    with pytest.raises(SourceError, match="status 401"):
        site.fetch(client=client)
    assert all("authorization" not in headers for kind, _, headers in server.asked if kind == "file")


@pytest.mark.parametrize("text", [None, "no key"])
def test_a_key_that_is_missing_or_wrong_is_told(site, client, monkeypatch, tmp_path, text):
    if text is None:
        monkeypatch.delenv("TEST_KEY_FILE")
    else:
        (tmp_path / "key.pem").write_text(text)
    with pytest.raises(SourceError, match="TEST_KEY_FILE"):
        site.fetch(client=client)


def test_two_runs_do_not_fetch_at_once(site):
    with Landing(site.folder).lock(), pytest.raises(LakeBusyError, match="another run fetches"):
        site.fetch()


def test_a_delivery_that_is_out_is_not_fetched_twice(site, monkeypatch):
    """Killed between the rename and the note that it was made."""
    with monkeypatch.context() as patch:
        patch.setattr(BulkExport, "_take", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            site.fetch()
    assert site.fetch().rows == {"Patient": 40, "Condition": 7}
    assert site.server.count("kick_off") == 1
    assert site.files() == ALL
    assert site.fetch().since == "2026-01-01T00:00:01.000+01:00"


def test_the_same_instant_twice_is_two_deliveries(site, server):
    server.extra = {"transactionTime": "2026-02-02T00:00:00Z"}
    assert [site.fetch(full=True).delivery for _ in range(2)] == ["20260202T000000Z", "20260202T000000Z-2"]


def test_killed_and_run_again_it_goes_on(site, server):
    """SIGKILL while the last file is on its way: the export and the files that are there are taken up."""
    server.resources |= {f"Type{'ABCDEFGH'[n]}": [line("Basic", n)] for n in range(8)}
    wanted, held, release = len(server.resources), threading.Event(), threading.Event()

    def hold() -> None:
        if server.count("file") == wanted:
            time.sleep(2 * bulk_export.SECONDS_BETWEEN_STATES + 0.2)
            held.set()
            release.wait(60)

    server.before_file = hold
    program = [sys.executable, "-m", "cohortlake", "fetch", "--server", f"{server.url}/fhir", "-o", str(site.folder)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        assert held.wait(60)
        running.send_signal(signal.SIGKILL)
    release.set()
    server.before_file = lambda: None
    assert site.files() == {}
    before = server.count("file")
    site.fetch()
    assert len(site.files()) == wanted
    assert server.count("kick_off") == 1
    assert server.count("file") - before == 1


def test_cancel(site, server):
    server.faults["status"] += [instead(503)] * QUICK.tries
    with pytest.raises(SourceError, match="status 503, 4 times"):
        site.fetch()
    assert site.export().cancel() is True
    assert server.exports == {}
    assert site.export().cancel() is False
    site.fetch()
    assert site.files() == ALL


def test_the_command_line(server, tmp_path):
    folder = tmp_path / "out"
    done = CliRunner().invoke(app, ["fetch", "--server", f"{server.url}/fhir", "-o", str(folder), "-t", "Patient"])
    assert done.exit_code == 0, done.output
    assert "40  Patient" in done.output.replace("\n", " ")
    for wrong in (["fetch"], ["fetch", "x", "--server", "https://x"], ["fetch", "--server", "https://x"]):
        assert isinstance(CliRunner().invoke(app, wrong).exception, UsageError)
    refused = CliRunner().invoke(app, ["fetch", "--server", "http://ehr.example.org/fhir", "-o", str(folder)])
    assert isinstance(refused.exception, UsageError)
    assert "https" in str(refused.exception)


def test_what_is_kept_is_for_its_owner(site):
    site.fetch()
    assert os.stat(site.folder / ".fetch").st_mode & 0o077 == 0
