"""`standardise` for tabular silos: CSV records through the declared mapping, as Spark SQL, to parts of silver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from cohortlake.core.catalog import Feed, Mapping
from cohortlake.core.catalog.mapping import Children
from cohortlake.core.mapping import MappingCompiler
from cohortlake.core.readers.framing import csv_header
from spark_jobs import delta
from spark_jobs.batches import BronzePart, Pending, bronze_parts
from spark_jobs.context import Book, Context
from spark_jobs.fhir_types import PARTITION, sql_type
from spark_jobs.land_file import SCHEMA

PLACE = ["_file", "_file_hash", "_offset", "_version"]
THREADS = 2
CSV_OPTIONS = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": "_corrupt", "escape": '"', "maxCharsPerColumn": "-1"}


def _header(part: BronzePart) -> str:
    group = pq.ParquetFile(part.path).read_row_group(0, columns=["header"])
    return str(group["header"][0].as_py())


def _rows(ctx: Context, feed: str, parts: Iterable[BronzePart]) -> DataFrame:
    """A feed's records as rows: the declared columns as text (empty is null), their place, `_reasons` to reject one."""
    declared = ctx.catalog.silos[ctx.scope].feeds[feed]
    columns = _columns(declared)
    by_header: dict[str, list[str]] = {}
    for part in parts:
        by_header.setdefault(_header(part), []).append(part.path)
    frames = []
    for header, paths in by_header.items():
        found = csv_header(header)
        schema = ", ".join(f"`{name}` STRING" for name in [*found, "_corrupt"])
        bronze = ctx.spark.read.schema(from_arrow_schema(SCHEMA)).parquet(*paths).where(F.col("feed") == feed)
        parsed = bronze.withColumn("r", F.from_csv("payload", schema, CSV_OPTIONS))
        required = [
            F.when(F.col(f"r.`{name}`").isNull(), F.lit(f"required column: {name} is empty"))
            for name in declared.required
        ]
        required += [
            F.when(~F.col(f"r.`{name}`").isin(codes), F.lit(f"value set: {name} has another value"))
            for name, codes in declared.value_sets.items()
        ]
        corrupt = F.when(
            F.col("r._corrupt").isNotNull(), F.lit(f"fields: the record does not have {len(found)} of them")
        )
        modified = F.date_format("file_modified_at", "yyyy-MM-dd'T'HH:mm:ss")
        version = F.concat_ws("|", F.lit("|"), modified, "file_hash", F.lpad(F.col("offset").cast("string"), 15, "0"))
        frames.append(
            parsed.select(
                *(F.col(f"r.`{c}`").alias(c) if c in found else F.lit(None).cast("string").alias(c) for c in columns),
                F.col("file").alias("_file"),
                F.col("file_hash").alias("_file_hash"),
                F.col("offset").alias("_offset"),
                version.alias("_version"),
                # A record with a wrong number of fields has no columns to speak of.
                F.when(F.col("r._corrupt").isNotNull(), F.array(corrupt))
                .otherwise(F.array_compact(F.array(*required)) if required else F.array().cast("array<string>"))
                .alias("_reasons"),
            )
        )
    return reduce(DataFrame.unionByName, frames)


def _newest(rows: DataFrame, feed: Feed) -> DataFrame:
    """The newest row a key. Frames are not asked for their columns: a Connect server would analyse them each time."""
    names = [name for name in (*_columns(feed), *PLACE) if name not in feed.key]
    newest = F.max_by(F.struct(*names), F.col("_version")).alias("r")
    return rows.groupBy(*feed.key).agg(newest).select(*feed.key, *(F.col(f"r.`{name}`").alias(name) for name in names))


def _columns(feed: Feed) -> list[str]:
    return [*feed.columns, *(name for name in feed.optional_columns if name not in feed.columns)]


def _with_children(ctx: Context, mapping: Mapping, batch: Pending) -> tuple[DataFrame | None, list[DataFrame]]:
    """A mapping's rows with their children's as arrays, for all that the batch touches; and the orphans.

    None where no row has come yet. Rows that came earlier take part, so that a child that arrives after its parent (or
    before it) ends in the same place.
    """
    feeds = ctx.catalog.silos[ctx.scope].feeds
    everything = [*bronze_parts(ctx.lake, ctx.scope).values(), *(p for p in batch.parts if "/replay/" in p.path)]
    of_feed = {feed: [p for p in everything if p.feed == feed] for feed in feeds}
    new = {feed: [p for p in batch.parts if p.feed == feed] for feed in feeds}
    if not of_feed[mapping.feed]:
        owned = [child for child in mapping.children.values() if child.is_owned and new[child.feed]]
        return None, [
            _orphans(_good(_rows(ctx, child.feed, new[child.feed])).where(child.where), mapping, child)
            for child in owned
        ]
    main = _newest(_good(_rows(ctx, mapping.feed, of_feed[mapping.feed])), feeds[mapping.feed])
    identity = F.expr(mapping.id).alias("_id")
    is_all = len(new[mapping.feed]) == len(of_feed[mapping.feed])
    touched = [_good(_rows(ctx, mapping.feed, new[mapping.feed])).select(identity)] if new[mapping.feed] else []
    versions, counts, orphans = [F.col("_version")], [], []
    joined = main
    for name, child in mapping.children.items():
        columns = _columns(feeds[child.feed])
        if not of_feed[child.feed]:
            joined = joined.withColumn(name, F.lit(None).cast(f"array<struct<{_fields(columns)}>>"))
            continue
        lines = _newest(_good(_rows(ctx, child.feed, of_feed[child.feed])), feeds[child.feed]).where(child.where)
        ordered = F.struct(*(F.col(c) for c in child.order), F.struct(*columns).alias("line"))
        grouped = lines.groupBy(F.col(child.column).alias("_on")).agg(
            F.transform(F.array_sort(F.collect_list(ordered)), lambda x: x["line"]).alias(name),
            F.max("_version").alias(f"_version_{name}"),
            F.count("*").alias(f"_count_{name}"),
        )
        joined = joined.join(grouped, F.expr(child.key) == F.col("_on"), "left").drop("_on")
        versions.append(F.coalesce(f"_version_{name}", F.lit("")))
        counts.append(F.coalesce(f"_count_{name}", F.lit(0)))
        if new[child.feed]:
            fresh = _good(_rows(ctx, child.feed, new[child.feed])).where(child.where)
            parents = main.select(F.expr(child.key).alias("_key"), identity)
            if not is_all:
                keys = fresh.select(F.col(child.column).alias("_key"))
                touched.append(parents.join(keys, "_key", "left_semi").select("_id"))
            if child.is_owned:
                orphan = fresh.withColumn("_key", F.col(child.column)).join(parents, "_key", "left_anti")
                orphans.append(_orphans(orphan, mapping, child))
    # The version grows with what is known of a resource: its newest part, then how many parts there are.
    count = F.lpad(reduce(Column.__add__, counts, F.lit(0)).cast("string"), 12, "0")
    version = F.concat_ws("|", F.greatest(*versions) if len(versions) > 1 else versions[0], count)
    joined = joined.withColumn("_version", version)
    if not is_all:
        ids = reduce(DataFrame.union, touched).distinct()
        joined = joined.withColumn("_id", F.expr(mapping.id)).join(ids, "_id", "left_semi")
    return joined, orphans


def _orphans(rows: DataFrame, mapping: Mapping, child: Children) -> DataFrame:
    """Owned rows without the row that they are parts of: held until that comes."""
    reason = F.array(F.lit(f"{child.feed} resolves: no {mapping.feed} has its {child.column}"))
    return rows.select(*PLACE, F.lit(child.feed).alias("feed"), reason.alias("_reasons"))


def _good(rows: DataFrame) -> DataFrame:
    return rows.where("size(_reasons) = 0")


def _fields(columns: Iterable[str]) -> str:
    return ", ".join(f"`{name}`: string" for name in columns)


def _mapped(ctx: Context, mapping: Mapping, rows: DataFrame) -> DataFrame:
    """Rows as the resource's silver columns, with `_bad`."""
    tree = ctx.catalog.resources[mapping.resource]
    compiled = MappingCompiler(mapping, tree, ctx.catalog.maps[ctx.scope], sql_type).compile()
    place = ["_version", "_file_hash", "_offset", "_file"]
    leaves = rows.where(mapping.where).select(*place, *(F.expr(sql).alias(n) for n, sql in compiled.leaves.items()))
    made = {name: F.expr(sql).alias(name) for name, sql in compiled.columns.items()}
    lake = [made.pop("_unmapped"), made.pop("_bad")]
    return leaves.select(*made.values(), "_version", "_file_hash", "_offset", lake[0], "_file", lake[1])


def _standardise(ctx: Context, mapping: Mapping, batch: Pending) -> dict[str, Any]:
    """One mapping: its staged parts, rejected rows and books."""
    from spark_jobs.standardise import create_silver

    tree = ctx.catalog.resources[mapping.resource]
    parts = [part for part in batch.parts if part.feed == mapping.feed]
    orphans: list[DataFrame] = []
    if mapping.children:
        rows, orphans = _with_children(ctx, mapping, batch)
        if rows is None:
            return {"parts": [], "rejects": orphans, "name": mapping.name}
    else:
        rows = _good(_rows(ctx, mapping.feed, parts))
    mapped = _mapped(ctx, mapping, rows)
    is_good = "_bad IS NULL OR size(_bad) = 0"
    create_silver(ctx, tree)
    table = ctx.lake.silver(mapping.resource)
    staged = delta.write_spark_parts(mapped.where(is_good).drop("_file", "_bad"), table, {PARTITION: ctx.scope})
    bad = mapped.where(f"NOT ({is_good})").select(
        *PLACE,
        F.lit(mapping.feed).alias("feed"),
        F.transform("_bad", lambda x: F.concat(F.lit("type: "), x)).alias("_reasons"),
    )
    return {"parts": staged, "rejects": [bad, *orphans], "name": mapping.name}


def _reject_frames(ctx: Context, batch: Pending, complete: set[str]) -> list[DataFrame]:
    """The rejected records of each feed but those that are `complete`, all of whose records became rows."""
    frames = []
    for feed in sorted({part.feed for part in batch.parts} - complete):
        rows = _rows(ctx, feed, [part for part in batch.parts if part.feed == feed]).where("size(_reasons) > 0")
        frames.append(rows.select(*PLACE, F.lit(feed).alias("feed"), "_reasons"))
    return frames


def _rejected(row: Row) -> dict[str, Any]:
    place = {"file": row["_file"], "file_hash": row["_file_hash"], "offset": row["_offset"], "id": None}
    return {**place, "feed": row["feed"], "reasons": row["_reasons"], "resource_type": ""}


def standardise_csv(ctx: Context, batch: Pending) -> dict[str, Any]:
    """Stage a tabular silo's batch. Books: a feed's records = rows staged + quarantined + kept in bronze only."""
    present = {part.feed for part in batch.parts}
    mappings = [
        mapping
        for mapping in ctx.catalog.mappings[ctx.scope].values()
        if {mapping.feed, *(child.feed for child in mapping.children.values())} & present
    ]
    done = 0

    def one(mapping: Mapping) -> dict[str, Any]:
        nonlocal done
        made = _standardise(ctx, mapping, batch)
        done += 1
        ctx.progress(done, len(mappings) + 1, mapping.name)
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(one, mappings))
    by_feed = batch.feeds()
    complete = {
        mapping.feed
        for mapping, result in zip(mappings, results, strict=True)
        if sum(part.rows for part in result["parts"]) == by_feed.get(mapping.feed) and not mapping.children
    }
    frames = [*_reject_frames(ctx, batch, complete)]
    for mapping, result in zip(mappings, results, strict=True):
        frames += [] if mapping.feed in complete else result["rejects"]
    rejected = []
    if frames:
        rejected = [_rejected(row) for row in reduce(DataFrame.unionByName, frames).collect()]
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
        **_books(ctx, batch, mappings, results, rejected),
    }


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
    ctx: Context, batch: Pending, mappings: list[Mapping], results: list[dict[str, Any]], rejected: list[dict[str, Any]]
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
