"""The books of feeds that tell what is gone: each record against the tombstones that were made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from cohortlake.core.recount.tally import parquet, tally_of
from spark_jobs.batches import BronzePart
from spark_jobs.context import Book

PLACES = pa.schema([("file_hash", pa.string()), ("offset", pa.int64())])
NAMED = pa.schema([*PLACES, ("name", pa.string())])


def delete_book(
    part: BronzePart, tombstones: Iterable[Mapping[str, Any]], rejected: Iterable[Mapping[str, Any]]
) -> Book:
    """The book of a part of bronze that holds Bundles of deletes.

    DuckDB counts its records, and reads what each of those that were not rejected deletes; its digests are of that, and
    of the tombstones.
    """
    connection = duckdb.connect(config={"threads": 1})
    named = [
        {"file_hash": row["_file_hash"], "offset": row["_offset"], "name": f"{row['resource_type']}/{row['id']}"}
        for row in tombstones
    ]
    connection.register("tombstones", pa.Table.from_pylist(named, NAMED))
    connection.register("rejected", pa.Table.from_pylist([dict(row) for row in rejected], PLACES))
    held = 'EXISTS (SELECT 1 FROM rejected r WHERE r.file_hash = b.file_hash AND r."offset" = b."offset")'
    read = f'SELECT file_hash, "offset", payload, {held} AS is_held FROM {parquet([part.path])} b'  # noqa: S608
    connection.execute(f"CREATE TABLE bundles AS {read}")
    counts = "count(*), count(*) FILTER (NOT is_held), count(*) FILTER (is_held)"
    told = connection.execute(f"SELECT {counts} FROM bundles").fetchone()  # noqa: S608
    rows, taken, quarantined = told or (0, 0, 0)
    entries = "unnest(json_extract_string(payload, '$.entry[*].request.url')) AS url"
    urls = f'(SELECT file_hash, "offset", {entries} FROM bundles WHERE NOT is_held)'  # noqa: S608
    must = tally_of(connection, urls, "hash(file_hash, \"offset\", regexp_extract(url, '[A-Za-z]+/[^/]+$'))")
    does = tally_of(connection, "tombstones", 'hash(file_hash, "offset", name)')
    return Book(
        f"bronze.{part.feed}", int(rows), int(taken), int(quarantined), digest_in=must.hex, digest_out=does.hex
    )  # fmt: skip
