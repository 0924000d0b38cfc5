"""The second task of `standardise` for CSV: parsed rows through one mapping to a typed part of silver, by DuckDB.

A mapping without children is mapped file by file. One with children joins its feeds; its rows are shared out among
tasks by a hash of their key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as ReadMapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc

from cohortlake.core.catalog import Feed, Mapping, Node
from cohortlake.core.catalog.mapping import Children
from cohortlake.core.mapping import Compiled, unpivoted
from cohortlake.core.sql import identifier, literal
from cohortlake.core.terminology.translate import Translator
from spark_jobs import delta
from spark_jobs.fhir_types import PARTITION, with_intervals
from spark_jobs.parallel import Unit
from spark_jobs.terminology import map_codings

LAKE = ["_version", "_file_hash", "_offset"]


@dataclass(frozen=True)
class Plan:
    """A mapping, compiled, with the tree of its table."""

    mapping: Mapping
    compiled: Compiled
    tree: Node


def columns(feed: Feed) -> list[str]:
    """A feed's columns: those declared, then those that may be there."""
    return [*feed.columns, *(name for name in feed.optional_columns if name not in feed.columns)]


def map_part(unit: Unit, plans: ReadMapping[str, Plan], feeds: ReadMapping[str, Feed], translator: Translator) -> Unit:
    """One task: the unit's rows as a part (null where none is good), the rows that are not, and codes that no map knew.

    `rows_in` counts the rows before they are mapped or joined, for the books.
    """
    plan = plans[unit["mapping"]]
    connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
    connection.execute("SET TimeZone = 'UTC'")
    for view, files in unit["files"].items():
        connection.execute(f"CREATE VIEW {identifier(view)} AS FROM read_parquet({files}, hive_partitioning = false)")
    orphans: list[dict[str, Any]] = []
    if plan.mapping.children:
        if _view(plan.mapping.feed) in unit["files"]:
            connection.execute(joined(plan.mapping, feeds, unit))
        if unit["bucket"] == 0:
            orphans = _orphans(connection, plan.mapping, feeds, unit)
    else:
        connection.execute(f"CREATE VIEW source AS FROM {identifier(_view(plan.mapping.feed))}")
    if _view(plan.mapping.feed) not in unit["files"]:
        return {"part": None, "rows": 0, "rows_in": 0, "rejected": orphans, "unmapped": {}, "mapped": {}}
    made = connection.execute(_mapped(plan)).arrow().read_all()
    went_in = f"SELECT count(*) FROM {unpivoted(plan.mapping)} WHERE {plan.mapping.where}"  # noqa: S608
    (rows_in,) = connection.execute(went_in).fetchone() or (0,)
    is_bad = pc.fill_null(pc.greater(pc.list_value_length(made["_bad"]), 0), False)
    bad = made.filter(is_bad).select(["_file_hash", "_offset", "_bad"]).to_pylist() if pc.any(is_bad).as_py() else []
    rejected = [
        {"feed": plan.mapping.feed, "_file_hash": row["_file_hash"], "_offset": row["_offset"]}
        | {"reasons": [f"type: {name}" for name in row["_bad"]]}
        for row in bad
    ]
    good = with_intervals(plan.tree, made.filter(pc.invert(is_bad)) if bad else made)
    unmapped: Counter[str] = Counter()
    for found in good["_unmapped"].drop_null().to_pylist():
        unmapped.update(f"{entry['map']}: {entry['code']}" for entry in found)
    mapped = map_codings(good, plan.tree, translator)
    unmapped += mapped.unknown
    part = delta.write_part(Path(unit["table"]), mapped.rows, {PARTITION: unit["silo"]}) if good.num_rows else None
    return {
        "part": asdict(part) if part else None,
        "rows": good.num_rows,
        "rows_in": rows_in,
        "rejected": rejected + orphans,
        "unmapped": dict(unmapped),
        "mapped": dict(mapped.added),
    }


def _mapped(plan: Plan) -> str:
    leaves = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in plan.compiled.leaves.items())
    made = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in plan.compiled.columns.items())
    rows = f"SELECT {', '.join(LAKE)}, {leaves} FROM {unpivoted(plan.mapping)} WHERE {plan.mapping.where}"  # noqa: S608
    return f"SELECT {made}, {', '.join(LAKE)} FROM ({rows})"  # noqa: S608


def _view(feed: str, *, is_new: bool = False) -> str:
    return f"{'new' if is_new else 'all'} {feed}"


def files_of(feed: str, every: list[str], new: list[str]) -> dict[str, list[str]]:
    """What a unit calls a feed's files: all of them, and the new ones; a feed without files is left out."""
    return {view: files for view, files in ((_view(feed), every), (_view(feed, is_new=True), new)) if files}


def _newest(feed: str, declared: Feed) -> str:
    """The newest row of each key."""
    key = ", ".join(map(identifier, declared.key))
    ranked = f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY _version DESC) = 1"
    return f"SELECT * FROM {identifier(_view(feed))} {ranked}"  # noqa: S608


def joined(mapping: Mapping, feeds: ReadMapping[str, Feed], unit: Unit) -> str:
    """The view `source`: a mapping's rows with their children's as lists, for all that the batch touches.

    Rows that came earlier take part, so that a child that arrives after its parent (or before it) ends in the same
    place. The version grows with what is known of a resource: its newest part, then how many parts there are.
    """
    files = unit["files"]
    bucket = f"hash({identifier(feeds[mapping.feed].key[0])}) % {unit['buckets']} = {unit['bucket']}"
    steps = {"main": f"SELECT * FROM ({_newest(mapping.feed, feeds[mapping.feed])}) WHERE {bucket}"}  # noqa: S608
    lists, joins, versions, counts = [], [], ["main._version"], ["0"]
    touched = []
    if _view(mapping.feed, is_new=True) in files:
        touched.append(f"SELECT {mapping.id} AS _id FROM {identifier(_view(mapping.feed, is_new=True))}")  # noqa: S608
    for number, (name, child) in enumerate(mapping.children.items()):
        if _view(child.feed) not in files:
            fields = ", ".join(f"{identifier(column)} VARCHAR" for column in columns(feeds[child.feed]))
            lists.append(f"CAST(NULL AS STRUCT({fields})[]) AS {identifier(name)}")
            continue
        steps[f"child{number}"] = _grouped(child, feeds[child.feed])
        lists.append(f"child{number}._lines AS {identifier(name)}")
        joins.append(f"LEFT JOIN child{number} ON ({child.key}) = child{number}._on")
        versions.append(f"coalesce(child{number}._newest, '')")
        counts.append(f"coalesce(child{number}._count, 0)")
        if _view(child.feed, is_new=True) in files:
            view = identifier(_view(child.feed, is_new=True))
            came = f"SELECT {identifier(child.column)} FROM {view} WHERE {child.where}"  # noqa: S608
            touched.append(f"SELECT {mapping.id} AS _id FROM main WHERE ({child.key}) IN ({came})")  # noqa: S608
    newest = f"greatest({', '.join(versions)})" if len(versions) > 1 else versions[0]
    version = f"concat_ws('|', {newest}, lpad(CAST({' + '.join(counts)} AS VARCHAR), 12, '0')) AS _version"
    steps["touched"] = " UNION ".join(touched)
    rows = f"SELECT main.* EXCLUDE (_version), {', '.join([*lists, version])} FROM main {' '.join(joins)}"  # noqa: S608
    listed = ", ".join(f"{name} AS ({sql})" for name, sql in steps.items())
    chosen = f"WHERE ({mapping.id}) IN (SELECT _id FROM touched)"  # noqa: S608
    return f"CREATE TABLE source AS WITH {listed} SELECT * FROM ({rows}) {chosen}"  # noqa: S608


def _grouped(child: Children, feed: Feed) -> str:
    """A child's newest rows as a list for each value of its column, in the declared order."""
    line = "{" + ", ".join(f"{literal(name)}: {identifier(name)}" for name in columns(feed)) + "}"
    order = ", ".join(f"{identifier(name)} NULLS FIRST" for name in child.order)
    return (
        f"SELECT {identifier(child.column)} AS _on, list({line} ORDER BY {order}, _version) AS _lines, "  # noqa: S608
        f"max(_version) AS _newest, count(*) AS _count FROM ({_newest(child.feed, feed)}) "
        f"WHERE {child.where} GROUP BY {identifier(child.column)}"
    )


def _orphans(
    connection: duckdb.DuckDBPyConnection, mapping: Mapping, feeds: ReadMapping[str, Feed], unit: Unit
) -> list[dict[str, Any]]:
    """New owned rows without the row that they are parts of: held until that comes."""
    found = []
    for child in mapping.children.values():
        if not child.is_owned or _view(child.feed, is_new=True) not in unit["files"]:
            continue
        sql = (
            f"SELECT _file_hash, _offset FROM {identifier(_view(child.feed, is_new=True))} c "  # noqa: S608
            f"WHERE ({child.where})"
        )
        if _view(mapping.feed) in unit["files"]:
            parents = f"SELECT {child.key} AS _key FROM {identifier(_view(mapping.feed))}"  # noqa: S608
            sql += f" AND NOT EXISTS (FROM ({parents}) p WHERE p._key = c.{identifier(child.column)})"
        reason = f"{child.feed} resolves: no {mapping.feed} has its {child.column}"
        for file_hash, offset in connection.execute(sql).fetchall():
            found.append({"feed": child.feed, "_file_hash": file_hash, "_offset": offset, "reasons": [reason]})
    return found
