"""erase: take a person out of every table, version and copy of the lake, prove it, and keep the record of that.

Each act can be done again, and what is to be done is noted first (`phi/erasing.json`), so that one that was killed goes
on. Whoever calls holds the lake (`held`).
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from cohortlake.core.catalog import Catalog
from cohortlake.core.erasure import Search, digest
from cohortlake.core.errors import NotProvenError
from cohortlake.core.lake import Lake, write_error
from cohortlake.core.releases import withdraw
from cohortlake.plan import make_plan as steps
from spark_jobs import delta
from spark_jobs.delta_history import Gone, finish, purge, tables
from spark_jobs.erase_guard import keep
from spark_jobs.erase_look import Tell
from spark_jobs.erase_plan import Plan, write_journal
from spark_jobs.erase_prove import PARQUET, Proof, prove
from spark_jobs.pseudonyms import vault_secret

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("erasure", "reason", "by")]
    + [(name, pa.timestamp("us", tz="UTC")) for name in ("asked_at", "done_at")]
    + [("records", pa.list_(pa.string())), ("silos", pa.list_(pa.string()))]
    + [("rows_by_table", pa.map_(pa.string(), pa.int64())), ("rows_of_several_people", pa.int64())]
    + [("releases_withdrawn", pa.list_(pa.string())), ("copies_removed", pa.int64())]
    + [(name, pa.int64()) for name in ("traits_searched", "traits_shared", "files_searched", "texts_searched")]
    + [("is_proven", pa.bool_()), ("found", pa.map_(pa.string(), pa.int64()))]
)
# What a bronze file that is left without rows still tells: that it was landed, and of which feed.
KEEPS = ("file_hash", "feed")
# Beside the steps' scopes, what the command line writes to.
LOCKS = ("run", "decisions", "quarantine")


@contextmanager
def held(lake: Lake, catalog: Catalog) -> Iterator[None]:
    """Hold the whole lake against runs and decisions. Raises LakeBusyError where one goes on."""
    with ExitStack() as stack:
        for name in sorted({*LOCKS, *(step.scope for step in steps(catalog))}):
            stack.enter_context(lake.lock(name, wait=False))
        yield


def settle(lake: Lake) -> None:
    """End the exchange of logs that a killed erasure left between two names: before that they cannot be read."""
    for table in tables(lake.root):
        finish(table)


def erase(lake: Lake, plan: Plan, *, accept: bool = False, tell: Tell = lambda what: None) -> dict[str, Any]:
    """Carry a plan out; gives its record (a row of SCHEMA).

    Raises NotProvenError where the proof finds a trait, unless that is accepted; LakeWriteError where the disk refuses.
    The plan stays noted then.
    """
    write_journal(lake, plan)
    keep(lake, plan)
    for path in _waiting(lake):
        _remove(path)
    for table in tables(lake.root):
        name = str(table.relative_to(lake.root))
        tell(name)
        gone = plan.tables.get(name)
        if gone or not name.startswith("ops/"):
            facts = {"erasure": plan.erasure, **_receipt(table)}
            purge(table, gone or Gone(), facts=facts, keeps=KEEPS if name.startswith("phi/bronze/") else ())
    for name in plan.releases:
        withdraw(lake.root / name, plan.erasure)
    for name in plan.copies:
        _remove(lake.quarantined_files / name)
    tell("reports")
    _overwrite(lake, plan.search)
    proof = prove(lake.root, plan.search, but=lake.erasing, tell=lambda files: tell(f"proof: {files} files"))
    if proof.found and not accept:
        places = ", ".join(f"{path} ({count})" for path, count in sorted(proof.found.items())[:5])
        raise NotProvenError(
            f"{sum(proof.found.values())} traits of the person are still in {len(proof.found)} files: {places}",
            "`cohortlake erase --resume` looks again; --accept ends it and keeps these places in its record.",
        )
    record = _record(lake, plan, proof)
    delta.create(lake.ops("erasures"), SCHEMA, description="What was erased: when, why, how much; not who")
    data = pa.Table.from_pylist([record], schema=SCHEMA)
    delta.replace_rows(lake.ops("erasures"), data, f"erasure = '{plan.erasure}'")
    lake.erasing.unlink()
    return record


def _waiting(lake: Lake) -> Iterable[Path]:
    """What runs left to be gone on with, which the next run makes anew: staged batches, cohorts' rows."""
    yield from sorted((lake.root / "phi/staging").glob("*"))
    for path in sorted((lake.root / "research/staging").glob("*")):
        yield from (
            [path] if path.name == "gold" else sorted(file for file in path.glob("*") if file.name != "_release.json")
        )


def _receipt(table: Path) -> dict[str, str]:
    """What the table's last commit says of its step: the next run looks for it there."""
    last = DeltaTable(str(table)).history(1)
    return {"receipt": last[0]["receipt"]} if last and "receipt" in last[0] else {}


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(error, path) from error


def _overwrite(lake: Lake, search: Search) -> None:
    """Overwrite traits in the pages and records that runs left; tables and releases are not among them."""
    inside = {*tables(lake.root), lake.vault, *lake.root.glob("research/releases/*/*")}
    for path in sorted(lake.root.rglob("*")):
        if not path.is_file() or path == lake.erasing or inside.intersection(path.parents):
            continue
        data = path.read_bytes()
        if data.startswith(PARQUET):
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        fresh = "".join(search.overwritten(line) for line in text.splitlines(keepends=True))
        if fresh != text:
            hidden = path.with_name(f".{path.name}.erased")
            hidden.write_text(fresh, encoding="utf-8")
            hidden.replace(path)


def _record(lake: Lake, plan: Plan, proof: Proof) -> dict[str, Any]:
    secret = vault_secret(lake)
    return {
        "erasure": plan.erasure, "reason": plan.reason, "by": plan.by,
        "asked_at": datetime.datetime.fromisoformat(plan.at), "done_at": datetime.datetime.now(datetime.UTC),
        "records": sorted(digest(secret, silo, f"Patient/{patient}") for silo, patient in plan.records),
        "silos": sorted(plan.names), "rows_by_table": [(name, rows) for name, rows, *_ in plan.counts(lake)],
        "rows_of_several_people": plan.several, "releases_withdrawn": plan.releases,
        "copies_removed": len(plan.copies), "traits_searched": plan.search.size, "traits_shared": plan.shared,
        "files_searched": proof.files, "texts_searched": proof.texts, "is_proven": not proof.found,
        "found": sorted(proof.found.items()),
    }  # fmt: skip


def records(lake: Lake) -> list[dict[str, Any]]:
    """The erasures of a lake, oldest first."""
    found = delta.rows(lake.ops("erasures"))
    return sorted(found.to_pylist(), key=lambda row: row["done_at"]) if found is not None else []
