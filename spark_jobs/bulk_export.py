"""Fetching a delivery from a FHIR server's Bulk Data export into a silo's landing folder.

Killed anywhere and run again, it goes on: the export that was begun is asked for again, files that are there whole are
not fetched again. The delivery appears in the folder by one rename, when every file of it is whole.
"""

from __future__ import annotations

import gzip
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cohortlake.core.bulk.check import Looked, count_problem, lines, look
from cohortlake.core.bulk.manifest import Manifest, OutputFile, without_query
from cohortlake.core.bulk.outcome import count_issues
from cohortlake.core.bulk.request import kick_off_url
from cohortlake.core.bulk.retry import Patience
from cohortlake.core.catalog.origin import BulkFhir
from cohortlake.core.errors import SourceError
from cohortlake.core.readers.framing import UnreadableFileError, is_gzip, open_stream
from spark_jobs.bulk_http import GoneError, RefusedError, Server, TooLateError
from spark_jobs.landing import Delivered, Landing, digest, stamp, time_of

# Exports that are asked for in one run, where one is gone before its files are fetched.
EXPORTS = 3
# Times that a file is fetched which turns out not to be whole.
FETCHES = 3
# A state lists every file of the export; with tens of thousands of them it should not be written for each.
SECONDS_BETWEEN_STATES = 1.0
TIMEOUT = httpx.Timeout(60, connect=20, pool=None)


@dataclass
class BulkExport:
    """One silo's fetching. `tell` is given a line on what is going on."""

    source: BulkFhir
    landing: Landing
    patience: Patience = field(default_factory=Patience)
    tell: Callable[[str], None] = lambda what: None

    def fetch(self, *, full: bool = False) -> Delivered:
        """Fetch one delivery: what changed since the last one, or all (`full`, or where another question is asked).

        Raises SourceError, with the landing folder's deliveries as they were; LakeBusyError, LakeWriteError.
        """
        with self.landing.lock(), self._http() as http:
            state = self.landing.read_state()
            published = self._after_a_kill(state)
            if published:
                return published
            for number in range(1, EXPORTS + 1):
                server = self._server(http)
                try:
                    self._begin(server, state, full)
                    return self._complete(server, state)
                except GoneError:
                    if number == EXPORTS or "export" not in state:
                        raise
                    self._forget(state)
                    self.tell("the export is gone; another one is asked for")
                except (TooLateError, RefusedError):
                    # A manifest's files can still be fetched by the next run; an export that failed, or takes too long,
                    # must not be gone on with.
                    if "manifest" not in state.get("export", {"manifest": None}):
                        server.cancel(state["export"]["status_url"])
                        self._forget(state)
                    raise
            raise AssertionError("every export ends by a return or a raise")

    def cancel(self) -> bool:
        """Cancel the export that is under way, here and at the server; whether there was one."""
        with self.landing.lock(), self._http() as http:
            state = self.landing.read_state()
            export = state.get("export")
            if export:
                self._server(http).cancel(export["status_url"])
                self._forget(state)
            return bool(export)

    def _http(self) -> httpx.Client:
        return httpx.Client(timeout=TIMEOUT, headers={"User-Agent": "cohortlake"})

    def _server(self, http: httpx.Client) -> Server:
        deadline = time.time() + self.source.give_up_hours * 3600
        return Server(self.source, http, deadline, self.patience, self.tell)

    def _begin(self, server: Server, state: dict[str, Any], full: bool) -> None:
        """Go on with the export that was begun, or begin one."""
        question, last, export = kick_off_url(self.source), state.get("last"), state.get("export")
        if export and (export["question"] != question or (full and export["since"])):
            self.tell("another question is asked: the export that was begun is given up")
            server.cancel(export["status_url"])
            self._forget(state)
        elif export:
            server.deadline = export["kicked_off_at"] + self.source.give_up_hours * 3600
            self.tell("goes on with the export that was begun")
            return
        # An answer to another question holds no changes for this one.
        goes_on = self.source.is_incremental and not full and last is not None and last["question"] == question
        since = last["transaction_time"] if last is not None and goes_on else None
        began_at = time.time()
        status_url = server.kick_off(kick_off_url(self.source, since))
        state["export"] = {"question": question, "since": since, "status_url": status_url, "kicked_off_at": began_at}
        self.landing.write_state(state)

    def _complete(self, server: Server, state: dict[str, Any]) -> Delivered:
        export = state["export"]
        if "manifest" not in export:
            manifest, expires = server.wait_for_manifest(export["status_url"])
            export |= {"manifest": manifest.as_json(), "files": {}}
            self.landing.write_state(state)
            self.tell(f"{len(manifest.files)} files" + (f", there until {expires}" if expires else ""))
        manifest = Manifest.from_json(export["manifest"])
        # The time to give up is that of making the export; fetching it has its own.
        server.deadline = time.time() + self.source.give_up_hours * 3600
        self._download(server, state, manifest)
        export["delivery"] = self.landing.new_name(manifest.transaction_time)
        export["modified"] = time_of(manifest.transaction_time, state.get("last", {}).get("modified"))
        self.landing.write_state(state)
        delivered = self._publish(state)
        if not server.cancel(export["status_url"]):
            self.tell("the server did not take that it may delete its files; it will by itself")
        return delivered

    def _download(self, server: Server, state: dict[str, Any], manifest: Manifest) -> None:
        done: dict[str, dict[str, Any]] = state["export"]["files"]
        for name in [name for name, file in done.items() if not self._is_there(file)]:
            del done[name]
        wanted = [file for file in manifest.files if file.name not in done]
        if done:
            self.tell(f"{len(done)} of {len(manifest.files)} files are there already")
        pool = ThreadPoolExecutor(self.source.downloads)
        try:
            waiting = {pool.submit(self._one, server, file, token=manifest.requires_token): file for file in wanted}
            kept_at, kept = time.monotonic(), len(done)
            while waiting:
                for future in wait(waiting, SECONDS_BETWEEN_STATES, FIRST_COMPLETED).done:
                    done[waiting.pop(future).name] = future.result()
                    self.tell(f"{len(done)} of {len(manifest.files)} files")
                if len(done) > kept and time.monotonic() >= kept_at + SECONDS_BETWEEN_STATES:
                    self.landing.write_state(state)
                    kept_at, kept = time.monotonic(), len(done)
        finally:
            server.stopped.set()
            pool.shutdown(cancel_futures=True)
            self.landing.write_state(state)

    def _is_there(self, file: dict[str, Any]) -> bool:
        path, sha256 = self.landing.staged / file["file"], str(file["sha256"])
        return path.exists() and digest(path) == sha256

    def _one(self, server: Server, file: OutputFile, *, token: bool) -> dict[str, Any]:
        """Fetch a file until it is whole. Raises SourceError where it never is."""
        part = self.landing.staged / f"{file.name}.part"
        before = None
        for _ in range(FETCHES):
            server.download(file.url, part, token=token)
            found, sha256 = _look(part, file.type), digest(part)
            wrong_count = count_problem(found.rows, file.count)
            problem = found.problem or wrong_count
            if problem is None or sha256 == before:
                break
            self.tell(f"{file.name}: {problem}; it is fetched again")
            before = sha256
        if found.problem or (wrong_count and self.source.wrong_counts == "fail"):
            raise SourceError(
                f"{without_query(file.url)}: {problem}, though it was fetched again",
                "Nothing of this delivery was taken. `cohortlake fetch --cancel`, and run again for another export."
                + ("" if found.problem else " To take it as it is: source.wrong_counts: warn."),
            )
        if file.kind == "deleted" and not is_gzip(part):
            _zip(part)
        path = part.with_name(f"{file.name}.ndjson{'.gz' if is_gzip(part) else ''}")
        part.replace(path)
        return {
            "file": path.name, "kind": file.kind, "type": file.type, "url": without_query(file.url),
            "rows": found.rows, "count": file.count, "bytes": path.stat().st_size, "sha256": digest(path),
            "problem": problem,
        }  # fmt: skip

    def _publish(self, state: dict[str, Any]) -> Delivered:
        export = state["export"]
        files = list(export["files"].values())
        self.landing.keep_only({file["file"] for file in files})
        issues: Counter[str] = Counter()
        for file in files:
            if file["kind"] == "error":
                with open_stream(self.landing.staged / file["file"]) as stream:
                    issues += count_issues(line for line, _ in lines(stream))
        delivered = Delivered(
            export["delivery"], export["since"], export["manifest"]["transaction_time"],
            _rows(files, "output"), _rows(files, "deleted"), dict(issues),
            {file["file"]: file["problem"] for file in files if file["problem"]},
        )  # fmt: skip
        about = {"request": export["question"], "delivered": asdict(delivered), "files": files}
        older = {file["file"] for file in files if file["kind"] == "deleted"}
        for name in older:
            stamp(self.landing.staged / name, export["modified"])
        self.landing.publish(export["delivery"], about, export["modified"], older)
        self._take(state)
        return delivered

    def _take(self, state: dict[str, Any]) -> None:
        """Note that the delivery is out."""
        export = state.pop("export")
        state["last"] = {
            "question": export["question"], "transaction_time": export["manifest"]["transaction_time"],
            "delivery": export["delivery"], "modified": export["modified"],
        }  # fmt: skip
        self.landing.write_state(state)
        self.landing.clear()

    def _after_a_kill(self, state: dict[str, Any]) -> Delivered | None:
        """A delivery that came out just before the run that fetched it was killed."""
        export = state.get("export", {})
        if "delivery" not in export or not self.landing.has(export["delivery"]):
            return None
        delivered = Delivered(**self.landing.about(export["delivery"])["delivered"])
        self._take(state)
        return delivered

    def _forget(self, state: dict[str, Any]) -> None:
        if state.pop("export", None):
            self.landing.write_state(state)
        self.landing.clear()


def _rows(files: list[dict[str, Any]], kind: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for file in files:
        if file["kind"] == kind:
            counts[file["type"] if kind == "output" else "deleted"] += file["rows"]
    return dict(counts)


def _zip(path: Path) -> None:
    """Compress a file in place."""
    zipped = path.with_suffix(".zipped")
    with path.open("rb") as stream, gzip.open(zipped, "wb") as target:
        shutil.copyfileobj(stream, target)
    zipped.replace(path)


def _look(path: Path, resource_type: str) -> Looked:
    try:
        with open_stream(path) as stream:
            return look(stream, resource_type)
    except (EOFError, UnreadableFileError):
        return Looked(0, "it is cut off: its gzip stream ends early")
    except OSError as error:
        return Looked(0, f"it is damaged: {type(error).__name__}")
