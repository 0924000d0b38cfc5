"""`standardise` for tabular silos: CSV records, parsed once, through the declared mappings to parts of silver."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping as ReadMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from cohortlake.core.catalog import Feed, Mapping
from cohortlake.core.mapping import MappingCompiler
from cohortlake.core.recount.tally import MODULUS, Tally
from cohortlake.core.terminology.translate import Translator
from spark_jobs import delta
from spark_jobs.batches import Pending, bronze_parts
from spark_jobs.context import Book, Context
from spark_jobs.csv_recount import MappingRecount, recount_parse
from spark_jobs.fhir_types import duckdb_type
from spark_jobs.join_csv import columns, deleting
from spark_jobs.map_csv import Plan, map_part
from spark_jobs.parallel import Unit, run_units
from spark_jobs.parse_csv import parse_part
from spark_jobs.read_deletes import of_rows
from spark_jobs.staged import Staged
from spark_jobs.type_fhir import create_silver

# Rows of a mapping with children that a task takes at once; their children come on top.
ROWS = 500_000
AGES = {"new": True, "old": False}


@dataclass(frozen=True)
class Parsed:
    """A bronze part as columns: the files of its good records and of its rejected ones, and how many there are."""

    feed: str
    path: str
    rejects: str
    rows: int
    rejected: int
    is_new: bool
    files: dict[str, str]
    recount: Unit


class Feeds:
    """A batch's feeds, parsed, and with them what came earlier of the feeds whose rows belong together (`joined`)."""

    def __init__(self, ctx: Context, batch: Pending, joined: set[str]) -> None:
        folder = ctx.lake.staging("phi", ctx.scope) / "parsed"
        shutil.rmtree(folder, ignore_errors=True)
        new = {part.path for part in batch.parts}
        every = bronze_parts(ctx.lake, ctx.scope).values()
        earlier = [part for part in every if part.feed in joined and part.path not in new]
        parts = sorted([*batch.parts, *earlier], key=lambda part: -part.rows)
        units = [
            {"source": part.path, "feed": part.feed}
            | {"wholes": [one.path for one in every if one.feed == part.feed] if part.is_replayed else []}
            | {kind: str(folder / kind / f"{number}.parquet") for kind in ("target", "rejects")}
            for number, part in enumerate(parts)
        ]
        options = {
            name: {
                "columns": columns(feed),
                "required": list(feed.required),
                "null_values": list(feed.null_values),
                "value_sets": {column: list(codes) for column, codes in feed.value_sets.items()},
            }
            for name, feed in ctx.catalog.silos[ctx.scope].feeds.items()
        }
        found = run_units(ctx.spark, units, partial(_parse, options=options))
        self.parts = [
            Parsed(
                part.feed, unit["target"], unit["rejects"], result["rows"], result["rejected"], part.path in new,
                result["files"], result["recount"],
            )
            for part, unit, result in zip(parts, units, found, strict=True)
        ]  # fmt: skip

    def of(self, feed: str) -> list[Parsed]:
        """A feed's parts that have good records."""
        return [part for part in self.parts if part.feed == feed and part.rows]

    def rejected(self) -> list[dict[str, Any]]:
        """The rejected records of the batch."""
        found = []
        for part in self.parts:
            if part.is_new and part.rejected:
                found += [{"feed": part.feed, **row} for row in pq.read_table(part.rejects).to_pylist()]
        return found

    def file(self, file_hash: str) -> str | None:
        """The name of a file."""
        return next((part.files[file_hash] for part in self.parts if file_hash in part.files), None)


def _parse(unit: Unit, options: dict[str, dict[str, Any]]) -> Unit:
    of_feed = options[unit["feed"]]
    result = parse_part(unit, **of_feed)
    return {**result, "recount": recount_parse(unit, of_feed["columns"], of_feed["null_values"])}


def _map(unit: Unit, plans: ReadMapping[str, Plan], feeds: ReadMapping[str, Feed], translator: Translator) -> Unit:
    recount = MappingRecount(plans[unit["mapping"]])
    result = map_part(unit, plans=plans, feeds=feeds, translator=translator, seen=recount.see)
    return {**result, "recount": recount.compare(unit, result)}


def _plan(ctx: Context, mapping: Mapping) -> Plan:
    tree = ctx.catalog.resources[mapping.resource]
    compiled = MappingCompiler(mapping, tree, ctx.catalog.maps[ctx.scope], duckdb_type).compile()
    return Plan(mapping, compiled, tree)


def _units(ctx: Context, mapping: Mapping, feeds: Feeds) -> list[Unit]:
    """The tasks of a mapping: one a new file, or, where rows of several feeds meet, one a share of its rows."""
    shared: Unit = {"mapping": mapping.name, "silo": ctx.scope, "table": str(ctx.lake.silver(mapping.resource))}
    if not mapping.children:
        new = [part for part in feeds.of(mapping.feed) if part.is_new]
        return [shared | {"rows": part.rows, "files": {mapping.feed: {"new": [part.path], "old": []}}} for part in new]
    read = _feeds_of(mapping, ctx.catalog.silos[ctx.scope].feeds)
    files = {
        feed: {age: [part.path for part in feeds.of(feed) if part.is_new is is_new] for age, is_new in AGES.items()}
        for feed in sorted(read)
    }
    rows = sum(part.rows for feed in read for part in feeds.of(feed))
    buckets = 1 + sum(part.rows for part in feeds.of(mapping.feed)) // ROWS
    return [shared | {"rows": rows, "files": files, "bucket": bucket, "buckets": buckets} for bucket in range(buckets)]


def standardise_csv(ctx: Context, batch: Pending) -> dict[str, Any]:
    """Stage a tabular silo's batch. Books: a feed's records = rows staged + quarantined + kept in bronze only."""
    present, silo = {part.feed for part in batch.parts}, ctx.catalog.silos[ctx.scope]
    read = {mapping.name: _feeds_of(mapping, silo.feeds) for mapping in ctx.catalog.mappings[ctx.scope].values()}
    mappings = [mapping for mapping in ctx.catalog.mappings[ctx.scope].values() if read[mapping.name] & present]
    ctx.progress(0, 1, "parsing")
    feeds = Feeds(ctx, batch, {feed for mapping in mappings if mapping.children for feed in read[mapping.name]})
    for name in sorted({mapping.resource for mapping in mappings}):
        create_silver(ctx, ctx.catalog.resources[name])
    units = sorted(
        (unit for mapping in mappings for unit in _units(ctx, mapping, feeds)), key=lambda unit: -int(unit["rows"])
    )
    plans = {mapping.name: _plan(ctx, mapping) for mapping in mappings}
    results: dict[str, list[Unit]] = {mapping.name: [] for mapping in mappings}
    found = run_units(
        ctx.spark,
        units,
        partial(_map, plans=plans, feeds=dict(silo.feeds), translator=ctx.catalog.translator(ctx.scope)),
        marks=ctx.lake.staging("phi", ctx.scope) / "marks",
        progress=lambda done, total: ctx.progress(done, total, f"{done} of {total} parts"),
    )
    for unit, result in zip(units, found, strict=True):
        results[unit["mapping"]].append(result)
    rejected = [
        {"file": row.get("file") or feeds.file(row["_file_hash"]), "file_hash": row["_file_hash"]}
        | {"offset": row["_offset"], "id": None, "feed": row["feed"], "reasons": row["reasons"], "resource_type": ""}
        for row in _once([*feeds.rejected(), *(row for result in found for row in result["rejected"])])
    ]
    staged: dict[str, Staged] = {}
    unmapped: Counter[str] = Counter()
    mapped: Counter[str] = Counter()
    for mapping in mappings:
        table = staged.setdefault(mapping.resource, Staged(mapping.resource, [], 0))
        for result in results[mapping.name]:
            table.parts += [delta.Part(**result["part"])] if result["part"] else []
            table.rows += result["rows"]
            if result["part"]:
                table.facts.setdefault("sha256", {})[result["part"]["path"]] = result["recount"]["sha256"]
            unmapped.update(result["unmapped"])
            mapped.update(result["mapped"])
    return {
        "staged": staged,
        "rejected": rejected,
        "deletes": [*_deletes(ctx, feeds), *_dead(ctx, mappings, results)],
        "unexpected": {},
        "unmapped": dict(unmapped),
        "mapped": dict(mapped),
        **_books(ctx, batch, feeds, mappings, results),
    }


def _once(rejected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each rejected record once, with every reason: several mappings may reject it."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rejected:
        held = found.setdefault((row["_file_hash"], row["_offset"]), {**row, "reasons": []})
        held["reasons"] += [reason for reason in row["reasons"] if reason not in held["reasons"]]
    return list(found.values())


def _deletes(ctx: Context, feeds: Feeds) -> list[ReadMapping[str, Any]]:
    """The tombstones of the batch: what its feeds of deletes hold, for each mapping of the feed that they are of."""
    silo = ctx.catalog.silos[ctx.scope]
    found: list[ReadMapping[str, Any]] = []
    for name, feed in silo.feeds.items():
        files = [part.path for part in feeds.of(name) if part.is_new]
        if feed.deletes and files:
            made = [one for one in ctx.catalog.mappings[ctx.scope].values() if one.feed == feed.deletes]
            found += of_rows(ctx.scope, files, columns(silo.feeds[feed.deletes]), made)
    return found


def _dead(ctx: Context, mappings: list[Mapping], results: dict[str, list[Unit]]) -> Iterator[ReadMapping[str, Any]]:
    """The tombstones of resources of several rows whose main row is gone."""
    for mapping in mappings:
        for result in results[mapping.name]:
            for row in result["dead"]:
                yield {"silo": ctx.scope, "resource_type": mapping.resource, **row}


def _feeds_of(mapping: Mapping, feeds: ReadMapping[str, Feed]) -> set[str]:
    """The feeds whose rows a mapping reads; one that joins rows also reads what is gone of them."""
    read = {mapping.feed, *(child.feed for child in mapping.children.values())}
    return read | {name for feed in read for name in deleting(feed, feeds)} if mapping.children else read


def _books(
    ctx: Context, batch: Pending, feeds: Feeds, mappings: list[Mapping], results: dict[str, list[Unit]]
) -> dict[str, Any]:
    """The books of mappings and feeds, by the recounts beside the tasks, and what else these found.

    A mapping's: rows of its feed (or joined, or unpivoted) = staged + quarantined + left out by its `where`; records
    that could not be parsed are among the quarantined of each mapping of their feed. A feed's that is no mapping's own:
    its records = taken (as children, or as deletes) or not mapped, + quarantined.
    """
    books: dict[str, Book] = {}
    not_mapped: dict[str, int] = {}
    new = [part for part in feeds.parts if part.is_new]
    unparsed: Counter[str] = Counter()
    for part in new:
        unparsed[part.feed] += part.recount["rejected"]
    orphans: Counter[str] = Counter()
    for mapping in mappings:
        found = [result["recount"] for result in results[mapping.name]]
        total = {
            name: sum(one[name] for one in found) for name in ("rows_in", "rows", "bad", "left_out", "must", "does")
        }
        for result in results[mapping.name]:
            orphans.update(row["feed"] for row in result["rejected"] if row["feed"] != mapping.feed)
        bad = unparsed[mapping.feed]
        books[mapping.name] = Book(
            mapping.name, total["rows_in"] + bad, total["rows"], total["bad"] + bad, left_out=total["left_out"],
            digest_in=Tally(0, total["must"] % MODULUS).hex, digest_out=Tally(0, total["does"] % MODULUS).hex,
        )  # fmt: skip
    silo = ctx.catalog.silos[ctx.scope]
    own = {mapping.feed for mapping in mappings}
    taken = {child.feed for mapping in mappings for child in mapping.children.values()}
    for feed in batch.feeds():
        if feed not in own:
            records = sum(part.recount["records"] for part in new if part.feed == feed)
            parsed = sum(part.recount["does"][0] for part in new if part.feed == feed)
            bad = unparsed[feed] + orphans[feed]
            is_taken = feed in taken or bool(silo.feeds[feed].deletes)
            good = parsed - orphans[feed]
            books[feed] = Book(
                f"bronze.{feed}", records, good if is_taken else 0, bad, not_mapped=0 if is_taken else good
            )  # fmt: skip
            if not is_taken:
                not_mapped[feed] = good
    return {"books": books, "not_mapped": not_mapped, "problems": _problems(batch, new, mappings, results)}


def _problems(batch: Pending, new: list[Parsed], mappings: list[Mapping], results: dict[str, list[Unit]]) -> list[str]:
    """What the recounts found beside the books: records that were not parsed as they stand, or by no task."""
    problems = [problem for of in mappings for one in results[of.name] for problem in one["recount"]["problems"]]
    for feed, rows in batch.feeds().items():
        found = [part.recount for part in new if part.feed == feed]
        must, does = (sum((Tally(*one[side]) for one in found), Tally()) for side in ("must", "does"))
        if must != does:
            what = f"{must.rows:,} records must be parsed, {does.rows:,} were"
            problems.append(f"bronze.{feed}: {what if must.rows != does.rows else 'records were parsed to others'}")
        if (read := sum(one["records"] for one in found)) != rows:
            problems.append(f"bronze.{feed}: {read:,} of {rows:,} records of bronze were read")
        if any(one["rejected"] != one["listed"] for one in found):
            problems.append(f"bronze.{feed}: records are rejected that bronze does not have, or twice")
    for mapping in mappings:
        listed = sum(row["feed"] == mapping.feed for one in results[mapping.name] for row in one["rejected"])
        if listed != (bad := sum(one["recount"]["bad"] for one in results[mapping.name])):
            problems.append(f"{mapping.name}: {bad:,} rows must be rejected, {listed:,} were")
    return problems
