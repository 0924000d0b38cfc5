"""Rows of several feeds that make one resource, joined by DuckDB: what is live of them, and what a batch touches.

All that is known takes part, whenever it came, so that any order and any batches end in the same resources. A row is
gone where a feed of deletes says so, by the columns that it has, later than the row was told. Rows with one key are
versions of one row; main rows with one id are versions of one resource.

A resource's version grows with each thing that is known of it: the newest of its rows, those of its children and the
deletes of either, also of parents that it had before; then how many they are. So what is made of more is always newer,
and a resource without a live main row becomes a tombstone that is newer than all that it was.
"""

from __future__ import annotations

from collections.abc import Mapping as ReadMapping

import duckdb

from cohortlake.core.catalog import Feed, Mapping
from cohortlake.core.catalog.mapping import Children
from cohortlake.core.sql import identifier, literal

# A feed's files: those of the batch, and those that came earlier.
Files = ReadMapping[str, ReadMapping[str, list[str]]]
VERSION = "concat_ws('|', _newest, lpad(CAST(_count AS VARCHAR), 12, '0')) AS _version"


def columns(feed: Feed) -> list[str]:
    """A feed's columns: those declared, then those that may be there."""
    return [*feed.columns, *(name for name in feed.optional_columns if name not in feed.columns)]


def deleting(feed: str, feeds: ReadMapping[str, Feed]) -> list[str]:
    """The feeds that tell what is gone of a feed."""
    return [name for name, declared in feeds.items() if declared.deletes == feed]


def join(
    connection: duckdb.DuckDBPyConnection, mapping: Mapping, feeds: ReadMapping[str, Feed], files: Files, bucket: str
) -> None:
    """Make the tables `source`, the main rows of what the batch touches with their children as lists, and `dead`.

    `dead` has the id, version and place of each resource that the batch touches and that has no live main row.
    `bucket` is a condition on `_id` that chooses the resources.
    """
    know(connection, mapping.feed, feeds, files)
    main = f"SELECT *, CAST(({mapping.id}) AS VARCHAR) AS _id FROM {identifier(f'known {mapping.feed}')}"  # noqa: S608
    connection.execute(f"CREATE TABLE main AS SELECT * FROM ({main}) WHERE {bucket}")  # noqa: S608
    newest, count, touched = ["main._last"], ["main._weight"], ["main._is_touched"]
    states, lines, lists = [], [], []
    for number, (name, child) in enumerate(mapping.children.items()):
        if not any(files.get(child.feed, {}).values()):
            fields = ", ".join(f"{identifier(column)} VARCHAR" for column in columns(feeds[child.feed]))
            lists.append(f"CAST(NULL AS STRUCT({fields})[]) AS {identifier(name)}")
            continue
        know(connection, child.feed, feeds, files)
        connection.execute(f"CREATE TABLE state{number} AS {_state(child, feeds[child.feed])}")
        connection.execute(f"CREATE TABLE lines{number} AS {_lines(child, feeds[child.feed])}")
        states.append(f"LEFT JOIN state{number} ON ({child.key}) = state{number}._on")
        lines.append(f"LEFT JOIN lines{number} ON ({child.key}) = lines{number}._on")
        lists.append(f"lines{number}._lines AS {identifier(name)}")
        newest.append(f"coalesce(state{number}._newest, '')")
        count.append(f"coalesce(state{number}._count, 0)")
        touched.append(f"coalesce(state{number}._is_touched, false)")
    greatest = f"greatest({', '.join(newest)})" if len(newest) > 1 else newest[0]
    place = "arg_max(main._file_hash, main._last) AS _file_hash, arg_max(main._offset, main._last) AS _offset"
    connection.execute(
        f"CREATE TABLE facts AS SELECT _id, max({greatest}) AS _newest, sum({' + '.join(count)}) AS _count, "  # noqa: S608
        f"bool_or({' OR '.join(touched)}) AS _is_due, {place} FROM main {' '.join(states)} GROUP BY _id"
    )
    key = ", ".join(map(identifier, feeds[mapping.feed].key))
    connection.execute(
        f"CREATE TABLE live AS SELECT * FROM ({_newest_of('main', key)}) WHERE NOT _is_gone "  # noqa: S608
        "QUALIFY row_number() OVER (PARTITION BY _id ORDER BY _version DESC) = 1"
    )
    connection.execute(
        f"CREATE TABLE source AS SELECT live.* EXCLUDE (_version), {', '.join([*lists, VERSION])} "  # noqa: S608
        f"FROM live JOIN facts ON live._id = facts._id AND facts._is_due {' '.join(lines)}"
    )
    connection.execute(
        f"CREATE TABLE dead AS SELECT _id AS id, {VERSION}, _file_hash, _offset FROM facts "  # noqa: S608
        "WHERE _is_due AND NOT EXISTS (FROM live WHERE live._id = facts._id)"
    )


def know(connection: duckdb.DuckDBPyConnection, feed: str, feeds: ReadMapping[str, Feed], files: Files) -> None:
    """Make the view `known FEED`: every row of a feed once, with what deletes say of it.

    `_is_gone` says that it is; `_last` is the newest version, of it and of its deletes, `_weight` how many these are;
    `_is_touched` says that any of them is of the batch.
    """
    rows = _read(files[feed])
    if all(files[feed].values()):
        # What is taken up again is there twice.
        once = "QUALIFY row_number() OVER (PARTITION BY _version ORDER BY _is_new DESC) = 1"
        rows = f"SELECT * FROM ({rows}) {once}"  # noqa: S608
    fates = []
    for deletes in deleting(feed, feeds):
        if any(files.get(deletes, {}).values()):
            names = map(identifier, feeds[deletes].columns)
            same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM d.{name}" for name in names)
            told = f"SELECT r._version, d._version AS _gone_at, d._is_new FROM ({rows}) r"  # noqa: S608
            fates.append(f"{told} JOIN ({_read(files[deletes])}) d ON {same}")
    gone = "false AS _is_gone, _version AS _last, 1 AS _weight, _is_new AS _is_touched"
    if fates:
        fate = (
            f"SELECT _version, max(_gone_at) AS _gone_at, count(DISTINCT _gone_at) AS _fates, "  # noqa: S608
            f"bool_or(_is_new) AS _is_told FROM ({' UNION ALL '.join(fates)}) GROUP BY _version"
        )
        rows = f"SELECT r.*, f.* EXCLUDE (_version) FROM ({rows}) r LEFT JOIN ({fate}) f USING (_version)"  # noqa: S608
        gone = (
            "coalesce(_gone_at > _version, false) AS _is_gone, greatest(_version, coalesce(_gone_at, '')) AS _last, "
            "1 + coalesce(_fates, 0) AS _weight, _is_new OR coalesce(_is_told, false) AS _is_touched"
        )
    view = identifier(f"known {feed}")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT *, {gone} FROM ({rows})")  # noqa: S608


def _read(files: ReadMapping[str, list[str]]) -> str:
    """A feed's parsed rows, with whether they are of the batch."""
    parts = [
        f"SELECT *, {age == 'new'} AS _is_new FROM read_parquet({paths}, hive_partitioning = false)"  # noqa: S608
        for age, paths in files.items()
        if paths
    ]
    return " UNION ALL BY NAME ".join(parts)


def _newest_of(table: str, key: str) -> str:
    ranked = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY _version DESC) = 1"
    return f"SELECT * FROM {table} {ranked}"  # noqa: S608


def _state(child: Children, feed: Feed) -> str:
    """What is known of the rows that a parent has, or had: the newest, how many, whether the batch tells of any."""
    key, table = ", ".join(map(identifier, feed.key)), identifier(f"known {child.feed}")
    parents = f"list_distinct(list({identifier(child.column)}))"
    by_key = (
        f"SELECT unnest({parents}) AS _on, max(_last) AS _newest, sum(_weight) AS _count, "  # noqa: S608
        f"bool_or(_is_touched) AS _is_touched FROM {table} GROUP BY {key} HAVING bool_or({child.where})"
    )
    return (
        f"SELECT _on, max(_newest) AS _newest, sum(_count) AS _count, "  # noqa: S608
        f"bool_or(_is_touched) AS _is_touched FROM ({by_key}) GROUP BY _on"
    )


def _lines(child: Children, feed: Feed) -> str:
    """A child's live rows as a list for each value of its column, in the declared order."""
    line = "{" + ", ".join(f"{literal(name)}: {identifier(name)}" for name in columns(feed)) + "}"
    order = ", ".join(f"{identifier(name)} NULLS FIRST" for name in child.order)
    key = ", ".join(map(identifier, feed.key))
    return (
        f"SELECT {identifier(child.column)} AS _on, list({line} ORDER BY {order}, _version) AS _lines "  # noqa: S608
        f"FROM ({_newest_of(identifier(f'known {child.feed}'), key)}) WHERE NOT _is_gone AND ({child.where}) "
        f"GROUP BY {identifier(child.column)}"
    )
