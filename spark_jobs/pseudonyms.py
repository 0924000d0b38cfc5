"""Pseudonymous keys: what stands in gold for a resource's id, the same in every table of a lake.

A keyed hash (SHA-256 over the lake's own secret, the silo, the type and the id), so that a key cannot be made from an
id without the secret. The secret lies in the phi zone's vault. Whether such a code may leave the covered entity is for
de-identification to decide (45 CFR 164.514(c)).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable

from cohortlake.core.lake import Lake, write_error
from spark_jobs import views_sql as S
from spark_jobs.fhir_types import PARTITION
from spark_jobs.views_sql import Sql

HEX_DIGITS = 32


def vault_secret(lake: Lake) -> str:
    """The lake's secret, made on first use; readable by its owner only."""
    path = lake.vault / "pseudonym.key"
    with lake.lock("vault"):
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "w", encoding="ascii") as stream:
                    stream.write(secrets.token_hex(32))
                path.with_suffix(".new").replace(path)
            except OSError as error:
                raise write_error(error, path) from error
        return path.read_text(encoding="ascii").strip()


def pseudonym_of(secret: str, silo: str, resource_type: str, resource_id: str) -> str:
    """The key of one resource."""
    whole = "|".join((secret, silo, resource_type, resource_id))
    return hashlib.sha256(whole.encode()).hexdigest()[:HEX_DIGITS]


def pseudonym(secret: str) -> Callable[[Sql, Sql], Sql]:
    """The key of a resource of the row's silo, from its type and id, in SQL; null for no id."""

    def key(resource_type: Sql, resource_id: Sql) -> Sql:
        whole = S.concat(secret, "|", S.col(PARTITION), "|", resource_type, "|", resource_id)
        return S.substring(S.sha2(whole, 256), 1, HEX_DIGITS)

    return key
