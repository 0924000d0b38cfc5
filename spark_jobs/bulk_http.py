"""The conversation with a server that exports: each request is tried again as the server asks, until a deadline."""

from __future__ import annotations

import datetime
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from cohortlake.core.bulk.manifest import Manifest, WrongManifestError, next_page, read_manifest, without_query
from cohortlake.core.bulk.outcome import words
from cohortlake.core.bulk.request import FILE_HEADERS, KICK_OFF_HEADERS, STATUS_HEADERS
from cohortlake.core.bulk.retry import Patience, Verdict, retry_after, verdict
from cohortlake.core.catalog.origin import BulkFhir, is_private
from cohortlake.core.errors import SourceError
from cohortlake.core.lake import write_error
from spark_jobs.bulk_token import Tokens

# Of a request on which nothing has been built yet; a wrong address should not be tried for long.
FIRST_TRIES = 4
TELL = "Tell the server's owner."
MAX_PAGES = 10_000


class GoneError(SourceError):
    """The export, or a file of it, is no longer there: another export must be asked for."""


class RefusedError(SourceError):
    """The server will not go on with this export: it failed, or the question is not one that it answers."""


class GaveUpError(SourceError):
    """A request failed too often."""


class TooLateError(GaveUpError):
    """The deadline passed."""


class StoppedError(SourceError):
    """Another file of the delivery failed, or the user stopped the run."""


@dataclass
class Server:
    """A FHIR server. `tell` is given what is being waited for; `deadline` is in seconds since 1970.

    Once `stopped` is set, whatever is under way in another thread ends with StoppedError.
    """

    source: BulkFhir
    http: httpx.Client
    deadline: float
    patience: Patience = field(default_factory=Patience)
    tell: Callable[[str], None] = lambda what: None
    stopped: threading.Event = field(default_factory=threading.Event)
    _tokens: Tokens | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.source.client:
            self._tokens = Tokens(
                self.source, self.source.client,
                get=lambda url: self._patiently(self._sender("GET", url), STATUS_HEADERS, "the SMART configuration"),
                post=lambda url, form: self._patiently(self._sender("POST", url, form), STATUS_HEADERS, "a token"),
            )  # fmt: skip

    def kick_off(self, url: str) -> str:
        """Begin an export; gives the URL that tells how it goes. Raises SourceError."""
        response = self._ask(url, KICK_OFF_HEADERS, "the kick-off", tries=FIRST_TRIES)
        place: str | None = response.headers.get("Content-Location")
        if response.status_code != 202 or not place:
            raise SourceError(
                f"{without_query(url)} does not begin an export: status {response.status_code}, "
                f"{'a' if place else 'no'} Content-Location",
                "Is source.url the base URL of a server with Bulk Data export?",
            )
        return urljoin(url, place)

    def wait_for_manifest(self, status_url: str) -> tuple[Manifest, str | None]:
        """The manifest when the export is complete, and when its files expire. Raises GoneError, GaveUpError."""
        attempt = 0
        while (response := self._ask(status_url, STATUS_HEADERS, "the export's status")).status_code == 202:
            said = response.headers.get("X-Progress", "no progress told")[:100]
            self._pause(attempt, response, f"the export is being made: {said}")
            attempt += 1
        pages = [(status_url, _json(response))]
        while follow := next_page(pages[-1][1], pages[-1][0]):
            if len(pages) == MAX_PAGES or follow in {url for url, _ in pages}:
                raise SourceError("the manifest's pages do not end", TELL)
            pages.append((follow, _json(self._ask(follow, STATUS_HEADERS, "a page of the manifest"))))
        try:
            return read_manifest(pages), response.headers.get("Expires")
        except WrongManifestError as error:
            raise SourceError(f"the manifest is wrong: {error}", TELL) from error

    def download(self, url: str, target: Path, *, token: bool) -> None:
        """A file's bytes to `target`, as they come (gzip stays gzip). Raises GoneError, GaveUpError, LakeWriteError."""

        def send(headers: dict[str, str]) -> httpx.Response:
            with self.http.stream("GET", url, headers=headers, follow_redirects=True) as response:
                if not is_private(str(response.url)):
                    raise SourceError(f"{without_query(url)} leads to a place without https", TELL)
                if response.status_code == 200:
                    _save(response, target, self.stopped)
                else:
                    response.read()
                return response

        what = f"the file {without_query(url)}"
        response = self._patiently(send, FILE_HEADERS, what, bearer_for=url if token else None)
        if response.status_code == 403 and not token:
            raise GoneError(f"{what}: status 403", "Its signed address may have expired. Run again.")
        _check(response, what)
        if response.status_code != 200:
            raise SourceError(f"{what}: status {response.status_code}", TELL)

    def cancel(self, status_url: str) -> bool:
        """Tell the server that the export is not needed any more, once; whether it took that."""
        try:
            headers = {**KICK_OFF_HEADERS, **self._authorization(status_url)}
            return self.http.delete(status_url, headers=headers).status_code < 300
        except (httpx.HTTPError, SourceError):
            return False

    def _ask(self, url: str, headers: dict[str, str], what: str, tries: int | None = None) -> httpx.Response:
        """An answer that is good, or says to wait. Raises SourceError for any other."""
        response = self._patiently(self._sender("GET", url), headers, what, bearer_for=url, tries=tries)
        _check(response, what)
        return response

    def _sender(
        self, method: str, url: str, form: dict[str, str] | None = None
    ) -> Callable[[dict[str, str]], httpx.Response]:
        return lambda headers: self.http.request(method, url, headers=headers, data=form)

    def _patiently(
        self, send: Callable[[dict[str, str]], httpx.Response], headers: dict[str, str], what: str, *,
        bearer_for: str | None = None, tries: int | None = None,
    ) -> httpx.Response:  # fmt: skip
        """The answer to a request, once it is no longer trouble that may pass. Raises GaveUpError.

        A server that says when to come again is waited for until the deadline; other trouble counts as a try.
        """
        failed, attempt, renewed = 0, 0, False
        while True:
            full = {**headers, **(self._authorization(bearer_for) if bearer_for else {})}
            response = None
            try:
                response = send(full)
                why = f"status {response.status_code}"
                meaning = verdict(response.status_code, response.content if response.status_code >= 400 else b"")
            except httpx.TransportError as error:
                why = f"{type(error).__name__}: {error}"
                meaning = Verdict.AGAIN
            if meaning is Verdict.TOKEN and "Authorization" in full and self._tokens and not renewed:
                self._tokens.drop(full["Authorization"].removeprefix("Bearer "))
                renewed = True
                continue
            if meaning is not Verdict.AGAIN and response is not None:
                return response
            failed += self._asked(response) is None
            if failed >= min(tries or self.patience.tries, self.patience.tries):
                raise GaveUpError(f"{what}: {why}, {failed} times", "Is the server up? Run again later: it goes on.")
            self._pause(attempt, response, f"{what}: {why}")
            attempt += 1

    def _authorization(self, url: str) -> dict[str, str]:
        if self._tokens is None:
            return {}
        if not is_private(url):
            raise SourceError(f"{without_query(url)} is not https: no token is sent there", TELL)
        return {"Authorization": f"Bearer {self._tokens.bearer()}"}

    def _asked(self, response: httpx.Response | None) -> float | None:
        """Seconds that the server asks to wait."""
        now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
        return None if response is None else retry_after(response.headers.get("Retry-After"), now)

    def _pause(self, attempt: int, response: httpx.Response | None, why: str) -> None:
        seconds = self.patience.wait(attempt, self._asked(response), random.random())  # noqa: S311 (no secret)
        if time.time() + seconds > self.deadline:
            raise TooLateError(
                f"{why}; the time to give up has come ({self.source.give_up_hours:g} hours)",
                "Raise source.give_up_hours, or ask for less: source.types.",
            )
        self.tell(why)
        if self.stopped.wait(seconds):
            raise StoppedError("stopped")


def _check(response: httpx.Response, what: str) -> None:
    """Raises GoneError or SourceError for an answer that is neither good nor says to wait."""
    status, body = response.status_code, response.content if response.status_code >= 400 else b""
    meaning = verdict(status, body)
    if meaning in (Verdict.DONE, Verdict.WAIT):
        return
    said = words(body)
    message = f"{what}: status {status}" + (f": {said}" if said else "")
    if meaning is Verdict.GONE:
        raise GoneError(message, "Is source.url right, and does the server export at this level?")
    if status in (401, 403):
        raise SourceError(message, "May this client do that? See source.client and its scopes.")
    raise RefusedError(message, "What the server says above is what to mend: source.types, type_filters, level.")


def _save(response: httpx.Response, target: Path, stopped: threading.Event) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise SourceError(f"a file comes in the encoding {encoding}, which was not asked for", TELL)
    try:
        with target.open("wb") as stream:
            for block in response.iter_raw():
                if stopped.is_set():
                    raise StoppedError("stopped")
                stream.write(block)
    except OSError as error:
        raise write_error(error, target) from error


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise SourceError("the manifest is not JSON", TELL) from error
