"""A small FHIR server on loopback that exports in bulk, and misbehaves when it is told to."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

TRANSACTION_TIME = "2026-01-01T00:00:{:02d}.000+01:00"


@dataclass
class Answer:
    """What the server sends. `cut` sends only so many bytes of the body that it announces."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    is_announced: bool = True


def outcome(code: str, text: str = "") -> bytes:
    issue = {"severity": "error", "code": code, "details": {"text": text}}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


Fault = Callable[[Answer], Answer]


def instead(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Another answer than the right one."""
    return lambda right: Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def cut_off(at: int, *, is_announced: bool) -> Fault:
    """The right answer, of which only `at` bytes come; with or without its length told before."""
    return lambda right: Answer(right.status, right.headers, right.body, at, is_announced)


class BulkServer:
    """What the server holds, does, and was asked.

    `resources` are lines by resource type; `faults` are used up in turn, by kind of request: kick_off, status, file,
    token, delete. `counts` are told in the manifest; `polls` is how often the status says 202.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.resources: dict[str, list[bytes]] = {}
        self.deleted: list[bytes] = []
        self.errors: list[bytes] = []
        self.counts: dict[str, int] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.polls = 1
        self.is_zipped = False
        self.is_forever = False
        self.expires = ""
        self.public_key: Any = None
        self.token_seconds = 300.0
        self.extra: dict[str, Any] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.exports: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, float] = {}
        self.before_file: Callable[[], None] = lambda: None
        self._number = itertools.count(1)
        self._nonces: set[str] = set()

    def count(self, kind: str) -> int:
        return sum(1 for found, _, _ in self.asked if found == kind)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        kind = self._kind(method, path)
        self.asked.append((kind, path, headers))
        if kind == "file":
            self.before_file()
        if self.public_key and kind not in ("token", "configuration") and not self._is_allowed(headers):
            return Answer(401)
        right = getattr(self, f"_{kind}")(path, body)
        return self.faults[kind].popleft()(right) if self.faults[kind] else right

    def _kind(self, method: str, path: str) -> str:
        if method == "DELETE":
            return "delete"
        for sign, kind in (("$export", "kick_off"), ("/status/", "status"), ("/file/", "file"), ("/token", "token")):
            if sign in path:
                return kind
        return "configuration"

    def _is_allowed(self, headers: dict[str, str]) -> bool:
        value = headers.get("authorization", "").removeprefix("Bearer ")
        return self.tokens.get(value, 0.0) > time.time()

    def _configuration(self, path: str, body: bytes) -> Answer:
        return Answer(body=json.dumps({"token_endpoint": f"{self.url}/token"}).encode())

    def _token(self, path: str, body: bytes) -> Answer:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        try:
            claims = jwt.decode(
                form["client_assertion"], self.public_key, algorithms=["RS384", "ES384"], audience=f"{self.url}/token",
                options={"require": ["exp", "jti", "iss", "sub"]},
            )  # fmt: skip
        except jwt.InvalidTokenError:
            return Answer(400, body=b'{"error": "invalid_client"}')
        if claims["jti"] in self._nonces or claims["exp"] > time.time() + 300:
            return Answer(400, body=b'{"error": "invalid_request"}')
        self._nonces.add(claims["jti"])
        value = f"token-{len(self._nonces)}"
        self.tokens[value] = time.time() + self.token_seconds
        return Answer(body=json.dumps({"access_token": value, "expires_in": self.token_seconds}).encode())

    def _kick_off(self, path: str, body: bytes) -> Answer:
        name = str(next(self._number))
        self.exports[name] = {"query": parse_qs(urlsplit(path).query), "path": path, "polls": self.polls}
        return Answer(202, {"Content-Location": f"{self.url}/status/{name}"})

    def _status(self, path: str, body: bytes) -> Answer:
        name = path.rsplit("/", 1)[1]
        export = self.exports.get(name)
        if export is None:
            return Answer(404, body=outcome("not-found"))
        if export["polls"] or self.is_forever:
            export["polls"] -= 1
            return Answer(202, {"X-Progress": "half done", "Retry-After": "0"})
        content = {
            "output": self.resources,
            "deleted": {"Bundle": self.deleted},
            "error": {"OperationOutcome": self.errors},
        }
        manifest: dict[str, Any] = {
            "transactionTime": TRANSACTION_TIME.format(int(name)), "request": f"{self.url}{export['path']}",
            "requiresAccessToken": self.public_key is not None, **self.extra,
        }  # fmt: skip
        for part, by_type in content.items():
            manifest[part] = [
                {"type": kind, "url": f"{self.url}/file/{name}/{part}/{kind}"}
                | ({"count": self.counts[kind]} if kind in self.counts else {})
                for kind, lines in by_type.items()
                if lines
            ]
        headers = {"Content-Type": "application/json"} | ({"Expires": self.expires} if self.expires else {})
        return Answer(body=json.dumps(manifest).encode(), headers=headers)

    def _file(self, path: str, body: bytes) -> Answer:
        _, _, name, part, kind = path.split("/")
        if name not in self.exports:
            return Answer(404)
        lines = {"output": self.resources.get(kind), "deleted": self.deleted, "error": self.errors}[part]
        content = b"".join(line + b"\n" for line in lines or [])
        headers = {"Content-Type": "application/fhir+ndjson"}
        if self.is_zipped:
            return Answer(headers={**headers, "Content-Encoding": "gzip"}, body=gzip.compress(content, mtime=0))
        return Answer(headers=headers, body=content)

    def _delete(self, path: str, body: bytes) -> Answer:
        self.exports.pop(path.rsplit("/", 1)[1], None)
        return Answer(202)


class _Handler(BaseHTTPRequestHandler):
    bulk: BulkServer

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.bulk.answer(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.is_announced:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut])
        self.close_connection = True

    do_POST = do_DELETE = do_GET  # noqa: N815 (the names that the base class looks for)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[BulkServer]:
    """A server on a free port of loopback."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    bulk = BulkServer(f"http://127.0.0.1:{httpd.server_address[1]}")
    httpd.RequestHandlerClass = type("Handler", (_Handler,), {"bulk": bulk})
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield bulk
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
