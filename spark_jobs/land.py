"""land: keep every record as it came. Files to bronze, one Delta table a silo, in one commit a batch.

A file is known by its content's hash: what was landed is not landed twice, under whatever name. A file that cannot be
taken as a whole (truncated gzip, another encoding, a CSV without a declared column) goes to quarantine with a copy.
A silo that has a `source` is fetched from first, so that its folder holds what is new there.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from cohortlake.core.catalog import Silo
from cohortlake.core.catalog.silo import check_signed
from cohortlake.core.lake import Lake
from cohortlake.core.readers.framing import is_gzip
from cohortlake.core.recount.tally import Tally
from spark_jobs import delta, quarantine
from spark_jobs.books import check_books, receipt, recover, sum_of
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.erase_door import Door, door_of
from spark_jobs.fetch import fetch
from spark_jobs.land_file import CHANGED, SCHEMA, recounted
from spark_jobs.parallel import Unit, run_units
from spark_jobs.source_files import source_files

# Larger plain NDJSON files are read by several tasks.
SPLIT = 128 * 1024 * 1024


def _known_hashes(lake: Lake, silo: str) -> set[str]:
    """Files that are in bronze, and files in quarantine, whole or by all their records, that no replay asks for.

    A file that was held by a run that was killed before it committed its batch is not known: it is not in the books.
    """
    table = lake.bronze(silo)
    known = set()
    if delta.exists(table):
        # A part holds records of one file, so its statistics name the file: no data is read.
        actions = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))
        known = set(actions["min.file_hash"].to_pylist()) if actions.num_rows else set()
    newest = batch_name(silo, delta.version(table))
    for row in quarantine.held(lake, silo, quarantine.OPEN):
        if row["step"] == "land" and row["batch"] <= newest:
            known.add(row["file_hash"])
    return known


def batch_name(silo: str, version: int) -> str:
    """The name of the batch that a version of bronze brought; names are in the versions' order."""
    return f"{silo}-{max(version, 0):06d}"


def _units(files: list[Unit], silo: Silo) -> list[Unit]:
    """Tasks for Spark, largest first."""
    units = []
    for file in files:
        is_zipped = is_gzip(Path(file["path"]))
        size = file["bytes"]
        if silo.format != "fhir_ndjson" or is_zipped or size <= SPLIT:
            units.append({**file, "range": None})
        else:
            ranges = [[at, min(at + SPLIT, size)] for at in range(0, size, SPLIT)]
            units += [{**file, "range": [at, stop], "bytes": stop - at} for at, stop in ranges]
    return sorted(units, key=lambda unit: -unit["bytes"])


def _hold_file(ctx: Context, file: Unit, reason: str, batch: str, door: Door | None) -> dict[str, Any]:
    """A whole file into quarantine, with a copy of its bytes; without one where an erased person is in it."""
    if door and door.is_in(Path(file["path"])):
        return _held(ctx, file, batch, quarantine.WHOLE_FILE, f"{reason}; no copy: an erased person is in it")
    copy = ctx.lake.quarantined_files / file["file_hash"]
    copy.parent.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        fresh = copy.with_suffix(".part")
        shutil.copyfile(file["path"], fresh)
        fresh.replace(copy)
    return _held(ctx, file, batch, quarantine.WHOLE_FILE, reason)


def _held(
    ctx: Context, file: Unit, batch: str, offset: int, reason: str, payload: bytes | None = None
) -> dict[str, Any]:
    short, _, detail = reason.partition(":")
    return {
        "silo": ctx.scope, "step": "land", "batch": batch, "run_id": ctx.run_id, "feed": file["feed"] or "",
        "resource_type": "", "resource_id": None, "file": file["file"], "file_hash": file["file_hash"],
        "offset": offset, "reasons": [f"land: {short}"], "detail": detail.strip() or None, "payload": payload,
    }  # fmt: skip


def _rejected_rows(ctx: Context, file: Unit, batch: str, folder: Path) -> list[dict[str, Any]]:
    rows = [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return [_held(ctx, file, batch, row["offset"], row["reason"], row["payload"]) for row in rows]


def run(ctx: Context) -> StepResult:
    """Land the silo's new files.

    Books: the records of the files, cut by other code than what landed them = in bronze + quarantined + deleted (they
    were erased), with digests of their bytes. A file taken as a whole counts as one record. Raises BooksError where
    they do not balance; nothing is landed then.
    """
    silo = ctx.catalog.silos[ctx.scope]
    check_signed(silo, ctx.force)
    fetched = fetch(silo, ctx.data, lambda what: ctx.progress(0, 0, what), session=lambda: ctx.spark)
    folders = {one.name: ctx.data / one.folder for one in ctx.catalog.silos.values()}
    if not folders[silo.name].is_dir() and any(folder.is_dir() for folder in folders.values()):
        # Other silos' folders are there, so the data folder is the right one: this silo has delivered nothing yet.
        return StepResult([], {"files": 0, "files_known": 0, "files_new": 0, "bytes": 0, "absent_folder": silo.folder})
    files = source_files(ctx.lake, silo, ctx.data)
    known = _known_hashes(ctx.lake, silo.name)
    new, again = [], []
    for file in files:
        (again if file["file_hash"] in known else new).append(file)
        known.add(file["file_hash"])
    facts: dict[str, Any] = {"files": len(files), "files_known": len(again), "files_new": len(new), "bytes": 0}
    facts |= {"fetched": asdict(fetched)} if fetched else {}
    table = ctx.lake.bronze(silo.name)
    recover(ctx.lake, _receipt(table))
    if not new:
        return StepResult([], facts)

    delta.create(
        table, SCHEMA, description=f"{silo.title}: every record as it came", properties={"delta.appendOnly": "true"}
    )
    number = delta.version(table) + 1
    batch = batch_name(silo.name, number)
    claimed = [file for file in new if file["feed"]]
    staging = ctx.lake.staging("phi", silo.name)
    shutil.rmtree(staging / "land", ignore_errors=True)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    units = [
        {
            **unit, "silo": silo.name, "format": silo.format, "is_converted": silo.is_converted,
            "table": str(table), "batch": batch, "landed_at": now,
            "columns": silo.feeds[unit["feed"]].columns, "optional_columns": silo.feeds[unit["feed"]].optional_columns,
            "max_record_bytes": silo.max_record_bytes, "rejects": str(staging / "land/rejects" / unit["file_hash"]),
        }
        for unit in _units(claimed, silo)
    ]  # fmt: skip
    door = door_of(ctx.lake, ctx.catalog, silo)
    results = run_units(
        ctx.spark, units, partial(recounted, door=door), marks=staging / "land/marks",
        progress=lambda done, total: ctx.progress(done, total, f"{done} of {total} files"),
    )  # fmt: skip

    failed = {
        unit["file_hash"]: result["fail"] for unit, result in zip(units, results, strict=True) if "fail" in result
    }
    deferred = {digest for digest, reason in failed.items() if reason == CHANGED}
    held = [
        _hold_file(ctx, file, "no feed of the protocol claims this file", batch, door)
        for file in new
        if not file["feed"]
    ]
    held += [
        _hold_file(ctx, file, failed[file["file_hash"]], batch, door)
        for file in claimed
        if file["file_hash"] in failed and file["file_hash"] not in deferred
    ]
    parts, feeds = [], {}
    books: dict[str, Book] = {}
    problems: list[str] = []
    for unit, result in zip(units, results, strict=True):
        if unit["file_hash"] in failed:
            continue
        begun = {"files": 0, "rows": 0, "quarantined": 0, "erased": 0, "extra_columns": {}}
        feed = feeds.setdefault(unit["feed"], begun)
        told = _told(f"bronze.{unit['feed']}", result)
        books[told.table] = sum_of(books[told.table], told) if told.table in books else told
        problems += [f"{unit['feed']}: {problem}" for problem in result["recount"]["problems"]]
        feed["rows"] += result["rows"]
        feed["erased"] += result["erased"]
        feed["quarantined"] += result["rejected"]
        for column in result["extra_columns"]:
            feed["extra_columns"][column] = feed["extra_columns"].get(column, 0) + result["rows"]
        parts += [delta.Part(**result["part"])] if result["part"] else []
    for file in claimed:
        if file["file_hash"] not in failed:
            feeds[file["feed"]]["files"] += 1
            held += _rejected_rows(ctx, file, batch, staging / "land/rejects" / file["file_hash"])
    whole = sum(1 for row in held if row["offset"] == quarantine.WHOLE_FILE)
    if whole:
        refused = len({file["file_hash"] for file in new} - _landed(units, failed) - deferred)
        books["files"] = Book("files", refused, 0, whole)
    listed = sum(1 for row in held if row["offset"] != quarantine.WHOLE_FILE)
    if listed != (found := sum(book.quarantined for book in books.values()) - whole):
        problems.append(f"{found:,} records are rejected, {listed:,} of them go to quarantine")
    check_books(f"land.{ctx.scope}", books.values(), problems)
    quarantine.hold(ctx.lake, held)
    if parts or held:
        kept = json.dumps(receipt(ctx, f"land.{silo.name}", books.values()))
        delta.commit(table, parts, application=("land", number), facts={"batch": batch, "receipt": kept})
    _release_replayed(ctx, {file["file_hash"] for file in claimed} - set(failed))
    shutil.rmtree(staging / "land", ignore_errors=True)
    empty = sorted(file["file"] for file in claimed if not file["bytes"])
    facts |= {"batch": batch, "feeds": feeds, "bytes": sum(file["bytes"] for file in claimed), "empty_files": empty}
    facts["files_deferred"] = sorted(file["file"] for file in claimed if file["file_hash"] in deferred)
    facts["files_rejected"] = {row["file"]: row["reasons"][0] for row in held if row["offset"] == quarantine.WHOLE_FILE}
    return StepResult(list(books.values()), json.loads(json.dumps(facts)))


def _told(table: str, result: Unit) -> Book:
    """The books of a task: records of its file, as a recount cut them = in bronze + held + those that stay out."""
    found = result["recount"]
    return Book(
        table, found["records"], found["rows"], found["held"], deleted=result["erased"],
        digest_in=Tally(0, found["must"]).hex, digest_out=Tally(0, found["does"]).hex,
    )  # fmt: skip


def _landed(units: list[Unit], failed: Mapping[str, str]) -> set[str]:
    """The files that were taken, by hash."""
    return {unit["file_hash"] for unit in units} - set(failed)


def _receipt(table: Path) -> dict[str, Any] | None:
    """The receipt of the last batch that bronze took."""
    last = DeltaTable(str(table)).history(1)[0] if delta.exists(table) else {}
    return json.loads(last["receipt"]) if "receipt" in last else None


def _release_replayed(ctx: Context, landed: set[str]) -> None:
    rows = quarantine.held(ctx.lake, ctx.scope, quarantine.REPLAY)
    ids = [row["quarantine_id"] for row in rows if row["step"] == "land" and row["file_hash"] in landed]
    quarantine.set_status(ctx.lake, ids, quarantine.RELEASED)
