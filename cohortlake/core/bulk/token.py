"""SMART Backend Services: the signed assertion that buys an access token, and the token.

Source: https://hl7.org/fhir/smart-app-launch/STU2/backend-services.html; RFC 7523.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# The specification allows five minutes; the server's clock may be a little ahead or behind.
ASSERTION_SECONDS = 240
# A token that ends within this time is not begun with.
MARGIN_SECONDS = 30.0
# What is assumed of a token whose end is not told; the specification recommends no more than five minutes.
DEFAULT_SECONDS = 300.0

Key = RSAPrivateKey | EllipticCurvePrivateKey


class WrongKeyError(ValueError):
    """The key cannot sign as the specification asks."""


def load_key(pem: bytes) -> Key:
    """A private key from PEM. Raises WrongKeyError for one that is no RSA key and no EC key on P-384."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise WrongKeyError("it is not a PEM private key without a password") from error
    if isinstance(key, RSAPrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP384R1):
        return key
    raise WrongKeyError("it is neither an RSA key (RS384) nor an EC key on P-384 (ES384)")


def assertion(client_id: str, token_url: str, key: Key, key_id: str, *, now: float, nonce: str) -> str:
    """The JWT that proves who we are, for one use. `now` is in seconds since 1970."""
    algorithm = "RS384" if isinstance(key, RSAPrivateKey) else "ES384"
    claims = {"iss": client_id, "sub": client_id, "aud": token_url, "iat": math.floor(now), "jti": nonce}
    claims["exp"] = math.floor(now) + ASSERTION_SECONDS
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": key_id, "typ": "JWT"})


def token_request(scopes: list[str], signed: str) -> dict[str, str]:
    """The form that is posted to the token endpoint."""
    return {
        "grant_type": "client_credentials",
        "scope": " ".join(scopes),
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": signed,
    }


@dataclass(frozen=True, repr=False)
class Token:
    """An access token and its end, in seconds since 1970."""

    value: str
    ends: float

    def is_fresh(self, now: float) -> bool:
        return now < self.ends - MARGIN_SECONDS


def read_token(body: Any, now: float) -> Token:
    """The token of a token response. Raises ValueError where there is none.

    A token that lives shorter than the margin is used for half its life.
    """
    value = body.get("access_token") if isinstance(body, dict) else None
    if not isinstance(value, str) or not value:
        raise ValueError("the answer holds no access_token")
    told = body.get("expires_in")
    seconds = float(told) if isinstance(told, int | float) and told > 0 else DEFAULT_SECONDS
    return Token(value, now + max(seconds, MARGIN_SECONDS + seconds / 2))
