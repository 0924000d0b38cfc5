"""Access tokens of SMART Backend Services, bought when they are needed and again before they end."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx

from cohortlake.core.bulk.request import smart_configuration_url
from cohortlake.core.bulk.token import Key, Token, WrongKeyError, assertion, load_key, read_token, token_request
from cohortlake.core.catalog.origin import BulkFhir, Client, is_private
from cohortlake.core.errors import SourceError

Post = Callable[[str, dict[str, str]], httpx.Response]
Get = Callable[[str], httpx.Response]


def read_key(client: Client) -> Key:
    """The private key that the declaration's variable points at. Raises SourceError."""
    place = os.environ.get(client.key_file_variable)
    if not place:
        raise SourceError(
            f"the variable {client.key_file_variable} is not set",
            "Set it to the path of the private key (PEM) that signs for this client.",
        )
    try:
        return load_key(Path(place).read_bytes())
    except OSError as error:
        raise SourceError(
            f"the key file that {client.key_file_variable} names cannot be read: {error.strerror}",
            "Is the path right, and may this user read it?",
        ) from error
    except WrongKeyError as error:
        raise SourceError(
            f"the key file that {client.key_file_variable} names cannot sign: {error}",
            "Make one: openssl ecparam -genkey -name secp384r1 -noout, and register its public half with the server.",
        ) from error


class Tokens:
    """One client's tokens at one server; threads share the token that is there."""

    def __init__(self, source: BulkFhir, client: Client, *, get: Get, post: Post) -> None:
        self._source, self._client, self._key = source, client, read_key(client)
        self._get, self._post = get, post
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._url = client.token_url

    def bearer(self) -> str:
        """A token that lives yet. Raises SourceError where the server gives none."""
        with self._lock:
            if self._token is None or not self._token.is_fresh(time.time()):
                self._token = self._buy()
            return self._token.value

    def drop(self, value: str) -> None:
        """Forget a token that the server refused."""
        with self._lock:
            if self._token is not None and self._token.value == value:
                self._token = None

    def _buy(self) -> Token:
        url = self._url = self._url or self._discover()
        # The server may be slow to answer, and the assertion lives from when it was signed.
        signed = assertion(
            self._client.id, url, self._key, self._client.key_id, now=time.time(), nonce=uuid.uuid4().hex
        )
        asked_at = time.time()
        response = self._post(url, token_request(self._client.scopes, signed))
        if response.status_code != 200:
            raise SourceError(
                f"{url} gives no token: status {response.status_code}{_oauth_error(response)}",
                f"Is client {self._client.id!r} registered with the public key {self._client.key_id!r} and the scopes "
                f"{' '.join(self._client.scopes)}? Is this machine's clock right?",
            )
        try:
            return read_token(response.json(), asked_at)
        except ValueError as error:
            raise SourceError(f"{url} gives no token: {error}", "Is this the server's token endpoint?") from error

    def _discover(self) -> str:
        place = smart_configuration_url(self._source)
        response = self._get(place)
        try:
            found = response.json().get("token_endpoint") if response.status_code == 200 else None
        except (ValueError, AttributeError):
            found = None
        if not isinstance(found, str) or not is_private(found):
            raise SourceError(
                f"{place} names no token endpoint (status {response.status_code})",
                "Declare it: source.client.token_url.",
            )
        return found


def _oauth_error(response: httpx.Response) -> str:
    """The error code of RFC 6749, section 5.2, if the body holds one."""
    try:
        code = response.json().get("error")
    except (ValueError, AttributeError):
        return ""
    return f", {code}" if isinstance(code, str) and code.isascii() and len(code) < 40 else ""
