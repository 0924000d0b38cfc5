"""The recount of a silo: each record of bronze is in silver, in quarantine or away for a reason that is named.

Of a silo that sends FHIR the live rows are held against their records, with all that these say. Records of other
formats are known by their place alone: which of them are older than what is live, the steps' books say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from cohortlake.core.catalog import Catalog
from cohortlake.core.lake import Lake
from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.resources import compare_json
from cohortlake.core.recount.tally import parquet
from cohortlake.core.sql import literal

BOUNDARY = "bronze → silver"
# On a coding that a concept map of ours added.
ADDED = "urn:cohortlake:extension:concept-map"
REFUSED = pa.schema([("file_hash", pa.string()), ("offset", pa.int64()), ("id", pa.string())])
OLDER = "superseded, deleted or left out, as the steps' books say"


def recount_silo(connection: Any, lake: Lake, catalog: Catalog, silo: str) -> Iterator[Finding]:
    """The findings of a silo: a feed's records, and for each resource type its rows."""
    types = _types(lake, silo)
    _live(connection, lake, silo, types)
    _quarantine(connection, lake, silo)
    bronze = _bronze(lake, silo)
    declared = catalog.silos[silo]
    own = {one.feed for one in catalog.mappings.get(silo, {}).values()}
    own |= {child.feed for one in catalog.mappings.get(silo, {}).values() for child in one.children.values()}
    unmapped = set() if declared.format != "csv" else set(bronze) - own
    children = {c.feed for one in catalog.mappings.get(silo, {}).values() for c in one.children.values()}
    told = _told(lake, silo)
    for feed, files in sorted(bronze.items()):
        name = "deletes" if declared.feeds[feed].deletes else "children" if feed in children else ""
        yield _of_feed(connection, f"{silo}.{feed}", files, feed in unmapped and not name, name, told)
    for kind in types:
        if declared.format == "fhir_ndjson":
            files = [file for feed, of in bronze.items() if str(declared.feeds[feed].resource) == kind for file in of]
            yield _of_type(connection, lake, silo, kind, catalog.resources[kind], files)
        yield _keys(connection, lake, silo, kind)


def _types(lake: Lake, silo: str) -> list[str]:
    tables = sorted(path.parent for path in (lake.root / "phi/silver").glob("*/_delta_log"))
    return [table.name for table in tables if (table / f"silo={silo}").is_dir()]


def _bronze(lake: Lake, silo: str) -> dict[str, list[Path]]:
    """The files of each feed."""
    actions = pa.table(DeltaTable(str(lake.bronze(silo))).get_add_actions(flatten=True))
    found: dict[str, list[Path]] = {}
    for action in actions.to_pylist() if actions.num_rows else []:
        found.setdefault(action["min.feed"], []).append(lake.bronze(silo) / action["path"])
    return found


def _live(connection: Any, lake: Lake, silo: str, types: list[str]) -> None:
    """Table `live`: the places of the silo's live rows, with type, id and version."""
    columns = "kind VARCHAR, id VARCHAR, _version VARCHAR, file_hash VARCHAR, place BIGINT"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE live ({columns})")
    for kind in types:
        scan = f"delta_scan({literal(lake.silver(kind))})"
        connection.execute(
            f"INSERT INTO live SELECT {literal(kind)}, id, _version, _file_hash, _offset FROM {scan} "
            f"WHERE silo = {literal(silo)}"
        )


def _quarantine(connection: Any, lake: Lake, silo: str) -> None:
    """Table `held`: the places of the silo's records that are in quarantine."""
    connection.execute("CREATE OR REPLACE TEMP TABLE held (file_hash VARCHAR, place BIGINT)")
    if (lake.quarantine / "_delta_log").is_dir():
        scan = f"delta_scan({literal(lake.quarantine)})"
        connection.execute(
            f'INSERT INTO held SELECT DISTINCT file_hash, "offset" FROM {scan} WHERE silo = {literal(silo)} '
            "AND status <> 'released'"
        )


@dataclass(frozen=True)
class _Told:
    """What the steps' books say of a silo: rows that are superseded, deleted, not mapped or left out, over all runs."""

    rows: int


def _told(lake: Lake, silo: str) -> _Told:
    place = lake.ops("accounting")
    if not (place / "_delta_log").is_dir():
        return _Told(0)
    rows = DeltaTable(str(place)).to_pyarrow_table().to_pylist()
    names = ("superseded", "deleted", "not_mapped", "left_out")
    return _Told(sum(row.get(name) or 0 for row in rows if row["scope"] == silo for name in names))


def _of_feed(connection: Any, name: str, files: list[Path], is_unmapped: bool, use: str, told: _Told) -> Finding:
    """A feed's records by place."""
    counts = dict(
        connection.execute(
            f"""SELECT CASE WHEN EXISTS (SELECT 1 FROM live l WHERE l.file_hash = b.file_hash AND l.place = b."offset")
              THEN 'out' WHEN EXISTS (SELECT 1 FROM held h WHERE h.file_hash = b.file_hash AND h.place = b."offset")
              THEN 'quarantined' ELSE 'away' END AS fate, count(*)
            FROM {parquet(files)} b GROUP BY fate"""
        ).fetchall()
    )
    found = Finding(BOUNDARY, name, sum(counts.values()), counts.pop("out", 0), counts)
    away = found.classes.pop("away", 0)
    if is_unmapped:
        found.classes["not mapped"] = away
    elif use:
        found.classes[{"deletes": "say what is gone", "children": "part of another's resource"}[use]] = away
    elif away:
        found.classes[OLDER] = away
        if away > told.rows:
            found.problems.append(f"{away:,} records are nowhere, and the steps' books tell of {told.rows:,}")
    return found


def _of_type(connection: Any, lake: Lake, silo: str, kind: str, tree: Any, files: list[Path]) -> Finding:
    """The live rows of a type against the records of bronze at their places, by all that they say."""
    scan = f"delta_scan({literal(lake.silver(kind))})"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW rows AS SELECT * FROM {scan} WHERE silo = {literal(silo)}")
    live = f"(SELECT DISTINCT file_hash, place FROM live WHERE kind = {literal(kind)})"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE records AS SELECT b.file_hash, b."offset", b.payload FROM {parquet(files)} b
        SEMI JOIN {live} l ON l.file_hash = b.file_hash AND l.place = b."offset" """
    )
    connection.register("refused", REFUSED.empty_table())
    held = {row[0] for row in connection.execute("DESCRIBE rows").fetchall()}
    compared = compare_json(connection, _typed(tree, held), ADDED)
    found = Finding("bronze = silver", f"{silo}.{kind}", compared.records, compared.does.rows)
    found.must, found.does, found.problems = compared.must, compared.does, compared.problems
    return found


def _typed(tree: Any, held: set[str]) -> Any:
    """The tree of the elements that the table has: one that was declared later is not there yet."""
    return replace(tree, children={name: child for name, child in tree.children.items() if name in held})


def _keys(connection: Any, lake: Lake, silo: str, kind: str) -> Finding:
    """A type's live rows: each id once, each from a record of bronze, none older than its tombstone."""
    of = f"FROM live WHERE kind = {literal(kind)}"
    rows, ids = connection.execute(f"SELECT count(*), count(DISTINCT id) {of}").fetchone()
    found = Finding("silver", f"{silo}.{kind}", rows, rows)
    if ids != rows:
        found.problems.append(f"{rows - ids:,} rows repeat a key")
    bronze = f"delta_scan({literal(lake.bronze(silo))})"
    strange = connection.execute(
        f"SELECT count(*) FROM (SELECT * {of}) l ANTI JOIN {bronze} b ON l.file_hash = b.file_hash "
        f'AND l.place = b."offset"'
    ).fetchone()[0]
    if strange:
        found.problems.append(f"{strange:,} rows are from no record of bronze")
    if (lake.tombstones / "_delta_log").is_dir():
        tombs = f"delta_scan({literal(lake.tombstones)})"
        undead = connection.execute(
            f"SELECT count(*) FROM (SELECT * {of}) l JOIN {tombs} t ON t.silo = {literal(silo)} "
            f"AND t.resource_type = {literal(kind)} AND t.id = l.id AND t._version > l._version"
        ).fetchone()[0]
        if undead:
            found.problems.append(f"{undead:,} rows are older than what deleted them")
    return found
