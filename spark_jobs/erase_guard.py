"""`phi/erased`: what stays out of the lake, as keyed hashes; `land` asks it of each record."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from cohortlake.core.erasure import Guard, digest, named, words_of
from cohortlake.core.lake import Lake
from spark_jobs import delta
from spark_jobs.erase_plan import Plan
from spark_jobs.pseudonyms import vault_secret

SCHEMA = pa.schema([(name, pa.string()) for name in ("silo", "kind", "hash", "erasure")])
NAME, WORD = "name", "word"


def keep(lake: Lake, plan: Plan) -> None:
    """Keep an erasure's names out from now on. Twice is as once."""
    secret = vault_secret(lake)
    rows = [
        {"silo": silo, "kind": kind, "hash": hashed, "erasure": plan.erasure}
        for silo, names in sorted(plan.names.items())
        for kind, texts in ((NAME, {way for name in names for way in named(name)}), (WORD, words_of(plan.traits)))
        for hashed in sorted(digest(secret, silo, text) for text in texts)
    ]
    delta.create(lake.erased, SCHEMA, description="What was erased and stays out, as keyed hashes")
    delta.replace_rows(lake.erased, pa.Table.from_pylist(rows, schema=SCHEMA), f"erasure = '{plan.erasure}'")


def guards(lake: Lake) -> Mapping[str, Guard]:
    """The guard of each silo that something was erased of."""
    found = delta.rows(lake.erased, ["silo", "kind", "hash"])
    kept: dict[str, dict[str, set[str]]] = {}
    for row in found.to_pylist() if found is not None else []:
        kept.setdefault(row["silo"], {NAME: set(), WORD: set()})[row["kind"]].add(row["hash"])
    if not kept:
        return {}
    secret = vault_secret(lake)
    return {silo: Guard(secret, silo, frozenset(of[NAME]), frozenset(of[WORD])) for silo, of in kept.items()}
