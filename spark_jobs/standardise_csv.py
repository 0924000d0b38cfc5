"""`standardise` for tabular silos: CSV records through the declared mapping, as Spark SQL, to parts of silver."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from cohortlake.core.catalog import Feed, Mapping
from cohortlake.core.catalog.mapping import Children
from cohortlake.core.mapping import MappingCompiler
from spark_jobs import delta
from spark_jobs.batches import Pending, bronze_parts
from spark_jobs.context import Book, Context
from spark_jobs.fhir_types import PARTITION, sql_type
from spark_jobs.parallel import Unit, run_units
from spark_jobs.parse_csv import parse_part, row_schema

PLACE = ["_file_hash", "_offset", "_version"]
THREADS = 2


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


class Feeds:
    """A batch's feeds as frames, and with them what came earlier of the feeds whose rows belong together."""

    def __init__(self, ctx: Context, batch: Pending, joined: set[str]) -> None:
        self.declared = ctx.catalog.silos[ctx.scope].feeds
        self._spark = ctx.spark
        folder = ctx.lake.staging("phi", ctx.scope) / "parsed"
        shutil.rmtree(folder, ignore_errors=True)
        new = {part.path for part in batch.parts}
        earlier = [
            part for part in bronze_parts(ctx.lake, ctx.scope).values() if part.feed in joined and part.path not in new
        ]
        parts = sorted([*batch.parts, *earlier], key=lambda part: -part.rows)
        units = [
            {"source": part.path, "feed": part.feed}
            | {kind: str(folder / kind / f"{number}.parquet") for kind in ("target", "rejects")}
            for number, part in enumerate(parts)
        ]
        options = {
            name: (_columns(feed), list(feed.required), {column: list(c) for column, c in feed.value_sets.items()})
            for name, feed in self.declared.items()
        }
        found = run_units(ctx.spark, units, partial(_parse, options=options))
        self.parts = [
            Parsed(
                part.feed,
                unit["target"],
                unit["rejects"],
                result["rows"],
                result["rejected"],
                part.path in new,
                result["files"],
            )
            for part, unit, result in zip(parts, units, found, strict=True)
        ]

    def rows(self, feed: str, *, is_new: bool = False) -> DataFrame | None:
        """A feed's good records: the declared columns as text, and `PLACE`; None where there are none."""
        files = [part.path for part in self.parts if part.feed == feed and part.rows and (part.is_new or not is_new)]
        if not files:
            return None
        return self._spark.read.schema(from_arrow_schema(row_schema(_columns(self.declared[feed])))).parquet(*files)

    def is_all_new(self, feed: str) -> bool:
        """Whether nothing of the feed came earlier."""
        return all(part.is_new for part in self.parts if part.feed == feed)

    def rejected(self) -> list[dict[str, Any]]:
        """The rejected records of the batch."""
        found = []
        for part in self.parts:
            if part.is_new and part.rejected:
                found += [_rejected(part.feed, row) for row in pq.read_table(part.rejects).to_pylist()]
        return found

    def file(self, file_hash: str) -> str | None:
        """The name of a file."""
        return next((part.files[file_hash] for part in self.parts if file_hash in part.files), None)


def _parse(unit: Unit, options: dict[str, tuple[list[str], list[str], dict[str, list[str]]]]) -> Unit:
    return parse_part(unit, *options[unit["feed"]])


def _columns(feed: Feed) -> list[str]:
    return [*feed.columns, *(name for name in feed.optional_columns if name not in feed.columns)]


def _newest(rows: DataFrame, feed: Feed) -> DataFrame:
    """The newest row a key. Frames are not asked for their columns: a Connect server would analyse them each time."""
    names = [name for name in (*_columns(feed), *PLACE) if name not in feed.key]
    newest = F.max_by(F.struct(*names), F.col("_version")).alias("r")
    return rows.groupBy(*feed.key).agg(newest).select(*feed.key, *(F.col(f"r.`{name}`").alias(name) for name in names))


def _with_children(feeds: Feeds, mapping: Mapping) -> tuple[DataFrame | None, list[DataFrame]]:
    """A mapping's rows with their children's as arrays, for all that the batch touches; and the orphans.

    None where no row has come yet. Rows that came earlier take part, so that a child that arrives after its parent (or
    before it) ends in the same place.
    """
    rows, new = feeds.rows(mapping.feed), feeds.rows(mapping.feed, is_new=True)
    fresh = {child.feed: feeds.rows(child.feed, is_new=True) for child in mapping.children.values()}
    if rows is None:
        owned = [child for child in mapping.children.values() if child.is_owned]
        orphans = [(fresh[child.feed], child) for child in owned]
        return None, [_orphans(found.where(child.where), mapping, child) for found, child in orphans if found]
    main = _newest(rows, feeds.declared[mapping.feed])
    identity = F.expr(mapping.id).alias("_id")
    is_all = feeds.is_all_new(mapping.feed)
    touched = [new.select(identity)] if new else []
    versions, counts, orphans_of = [F.col("_version")], [], []
    joined = main
    for name, child in mapping.children.items():
        columns = _columns(feeds.declared[child.feed])
        lines = feeds.rows(child.feed)
        if lines is None:
            joined = joined.withColumn(name, F.lit(None).cast(f"array<struct<{_fields(columns)}>>"))
            continue
        lines = _newest(lines, feeds.declared[child.feed]).where(child.where)
        ordered = F.struct(*(F.col(c) for c in child.order), F.struct(*columns).alias("line"))
        grouped = lines.groupBy(F.col(child.column).alias("_on")).agg(
            F.transform(F.array_sort(F.collect_list(ordered)), lambda x: x["line"]).alias(name),
            F.max("_version").alias(f"_version_{name}"),
            F.count("*").alias(f"_count_{name}"),
        )
        joined = joined.join(grouped, F.expr(child.key) == F.col("_on"), "left").drop("_on")
        versions.append(F.coalesce(f"_version_{name}", F.lit("")))
        counts.append(F.coalesce(f"_count_{name}", F.lit(0)))
        found = fresh[child.feed]
        if found:
            came = found.where(child.where)
            parents = main.select(F.expr(child.key).alias("_key"), identity)
            if not is_all:
                touched.append(
                    parents.join(came.select(F.col(child.column).alias("_key")), "_key", "left_semi").select("_id")
                )
            if child.is_owned:
                orphan = came.withColumn("_key", F.col(child.column)).join(parents, "_key", "left_anti")
                orphans_of.append(_orphans(orphan, mapping, child))
    # The version grows with what is known of a resource: its newest part, then how many parts there are.
    count = F.lpad(reduce(Column.__add__, counts, F.lit(0)).cast("string"), 12, "0")
    version = F.concat_ws("|", F.greatest(*versions) if len(versions) > 1 else versions[0], count)
    joined = joined.withColumn("_version", version)
    if not is_all:
        ids = reduce(DataFrame.union, touched).distinct()
        joined = joined.withColumn("_id", F.expr(mapping.id)).join(ids, "_id", "left_semi")
    return joined, orphans_of


def _orphans(rows: DataFrame, mapping: Mapping, child: Children) -> DataFrame:
    """Owned rows without the row that they are parts of: held until that comes."""
    reason = F.array(F.lit(f"{child.feed} resolves: no {mapping.feed} has its {child.column}"))
    return rows.select("_file_hash", "_offset", F.lit(child.feed).alias("feed"), reason.alias("reasons"))


def _fields(columns: Iterable[str]) -> str:
    return ", ".join(f"`{name}`: string" for name in columns)


def _mapped(ctx: Context, mapping: Mapping, rows: DataFrame) -> DataFrame:
    """Rows as the resource's silver columns, with `_bad`."""
    tree = ctx.catalog.resources[mapping.resource]
    compiled = MappingCompiler(mapping, tree, ctx.catalog.maps[ctx.scope], sql_type).compile()
    leaves = rows.where(mapping.where).select(*PLACE, *(F.expr(sql).alias(n) for n, sql in compiled.leaves.items()))
    made = {name: F.expr(sql).alias(name) for name, sql in compiled.columns.items()}
    lake = [made.pop("_unmapped"), made.pop("_bad")]
    return leaves.select(*made.values(), "_version", "_file_hash", "_offset", *lake)


def _standardise(ctx: Context, mapping: Mapping, feeds: Feeds) -> dict[str, Any]:
    """One mapping: its staged parts, and the records that it rejects."""
    from spark_jobs.standardise import create_silver

    tree = ctx.catalog.resources[mapping.resource]
    orphans: list[DataFrame] = []
    if mapping.children:
        rows, orphans = _with_children(feeds, mapping)
    else:
        rows = feeds.rows(mapping.feed, is_new=True)
    rejected = [_rejected(row["feed"], row.asDict()) for frame in orphans for row in frame.collect()]
    if rows is None:
        return {"parts": [], "rejected": rejected}
    create_silver(ctx, tree)
    table = ctx.lake.silver(mapping.resource)
    written = delta.write_spark_parts(_mapped(ctx, mapping, rows), table, {PARTITION: ctx.scope})
    parts = []
    for part in written:
        whole, bad = _without_bad(table, part, mapping.feed)
        parts += [whole] if whole.rows else []
        rejected += bad
    return {"parts": parts, "rejected": rejected}


def _without_bad(table: Path, part: delta.Part, feed: str) -> tuple[delta.Part, list[dict[str, Any]]]:
    """A part without the rows that have a value of another type than their element's, and these rows.

    A filter in the query would have Spark compute each row twice, to save writing a file again that hardly ever is.
    """
    bad = pq.read_table(table / part.path, columns=["_bad"], partitioning=None)["_bad"]
    is_bad = pc.fill_null(pc.greater(pc.list_value_length(bad), 0), False)
    if not pc.any(is_bad).as_py():
        return part, []
    rows = pq.read_table(table / part.path, partitioning=None)
    wrong = rows.filter(is_bad).select(["_file_hash", "_offset", "_bad"]).to_pylist()
    (table / part.path).unlink()
    kept = delta.write_part(table, rows.filter(pc.invert(is_bad)).drop_columns(["_bad"]), part.partition)
    return kept, [_rejected(feed, row | {"reasons": [f"type: {name}" for name in row["_bad"]]}) for row in wrong]


def _rejected(feed: str, row: dict[str, Any]) -> dict[str, Any]:
    place = {"file": row.get("file"), "file_hash": row["_file_hash"], "offset": row["_offset"], "id": None}
    return {**place, "feed": feed, "reasons": row["reasons"], "resource_type": ""}


def standardise_csv(ctx: Context, batch: Pending) -> dict[str, Any]:
    """Stage a tabular silo's batch. Books: a feed's records = rows staged + quarantined + kept in bronze only."""
    present = {part.feed for part in batch.parts}
    mappings = [mapping for mapping in ctx.catalog.mappings[ctx.scope].values() if _feeds_of(mapping) & present]
    joined = {feed for mapping in mappings if mapping.children for feed in _feeds_of(mapping)}
    ctx.progress(0, len(mappings) + 1, "parsing")
    feeds = Feeds(ctx, batch, joined)
    done = 1

    def one(mapping: Mapping) -> dict[str, Any]:
        nonlocal done
        made = _standardise(ctx, mapping, feeds)
        done += 1
        ctx.progress(done, len(mappings) + 1, mapping.name)
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(one, mappings))
    rejected = feeds.rejected() + [row for result in results for row in result["rejected"]]
    for row in rejected:
        row["file"] = row["file"] or feeds.file(row["file_hash"])
    staged: dict[str, delta.Staged] = {}
    for mapping, result in zip(mappings, results, strict=True):
        table = staged.setdefault(mapping.resource, delta.Staged(mapping.resource, [], 0))
        table.parts += result["parts"]
        table.rows += sum(part.rows for part in result["parts"])
    return {
        "staged": staged,
        "rejected": rejected,
        "unexpected": {},
        "unmapped": _unmapped(ctx, staged),
        **_books(batch, mappings, results, rejected),
    }


def _feeds_of(mapping: Mapping) -> set[str]:
    return {mapping.feed, *(child.feed for child in mapping.children.values())}


def _unmapped(ctx: Context, staged: dict[str, delta.Staged]) -> dict[str, int]:
    """How often each code that a map lacks came: `map: code` -> rows."""
    counts: Counter[str] = Counter()
    for table in staged.values():
        for part in table.parts:
            column = pq.read_table(ctx.lake.silver(table.table) / part.path, columns=["_unmapped"])["_unmapped"]
            for found in column.drop_null().to_pylist():
                counts.update(f"{entry['map']}: {entry['code']}" for entry in found)
    return dict(counts)


def _books(
    batch: Pending, mappings: list[Mapping], results: list[dict[str, Any]], rejected: list[dict[str, Any]]
) -> dict[str, Any]:
    """Each feed's records against what was made of them, counted from the files that were written."""
    bad = Counter(row["feed"] for row in rejected)
    books: dict[str, Book] = {}
    not_mapped: dict[str, int] = {}
    by_feed = batch.feeds()
    for mapping, result in zip(mappings, results, strict=True):
        made = sum(part.rows for part in result["parts"])
        if mapping.children or mapping.where != "true":
            # Rows of several feeds make one resource, or not every row does: what was made is what there is to count.
            books[mapping.name] = Book(mapping.name, made, made)
        else:
            count = by_feed.get(mapping.feed, 0)
            books[mapping.name] = Book(mapping.name, count, made, bad[mapping.feed])
    mapped = {mapping.feed for mapping in mappings}
    children = {child.feed for mapping in mappings for child in mapping.children.values()}
    for feed, count in by_feed.items():
        if feed not in mapped:
            if feed not in children:
                not_mapped[feed] = count
            books[feed] = Book(f"bronze.{feed}", count, count - bad[feed], bad[feed])
    return {"books": books, "not_mapped": not_mapped}
