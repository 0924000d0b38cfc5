"""The recount of a publish: what a batch must change in a table, and what its commit changes, read as by a stranger.

Both are counted before the commit is visible. What must change follows from the staged parts, the rows that the gate
refused, the tombstones and the table as it was; what changes is read by DuckDB's own Delta reader from a table that has
the commit already (`after`: the same files, and the log with one more entry).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.recount.tally import Tally, file_digest, files_tally, parquet, tally, tally_of
from cohortlake.core.sql import literal

KEY = "hash(id, _version, _file_hash, _offset)"
PLACE = ("_file_hash", "_offset", "id")


@dataclass(frozen=True)
class Staged:
    """What waits to be published: files, those of them whose digest is known, refused rows, and what counts as newer.

    `deleted` are the silo's tombstones of this type (id, _version); with `is_again` a row of the same version is newer.
    """

    files: Sequence[Path]
    digests: Mapping[str, str]
    refused: Path | None
    deleted: pa.Table
    is_again: bool = False


@dataclass(frozen=True)
class Log:
    """A table before and after a commit: its folder and version, the folder that shows the commit, its new files."""

    before: Path
    version: int
    after: Path
    added: Sequence[Path]


@dataclass
class Found:
    """Rows of the batch by what becomes of them; what must go live and what does, as tallies; and what is wrong."""

    passed: int = 0
    refused: int = 0
    superseded: int = 0
    deleted: int = 0
    must: Tally = field(default_factory=Tally)
    does: Tally = field(default_factory=Tally)
    problems: list[str] = field(default_factory=list)


def recount_publish(connection: Any, silo: str, staged: Staged, log: Log) -> Found:
    """Count a publish. `connection` reads Delta (`delta_scan`); its temporary tables are made anew."""
    found = Found()
    _sort(connection, silo, staged, log)
    counts = dict(connection.execute("SELECT fate, count(*) FROM fates GROUP BY fate").fetchall())
    found.refused, found.deleted = counts.get("refused", 0), counts.get("deleted", 0)
    found.superseded = counts.get("superseded", 0)
    found.passed = sum(counts.values()) - found.refused
    _check_refused(connection, found)
    whole = [file for file in log.added if file in set(staged.files)]
    found.must, found.does = _keys(connection, silo, log)
    contents = _contents(connection, staged, [file for file in log.added if file not in set(whole)], whole)
    found.must, found.does = found.must + contents[0], found.does + contents[1]
    found.must, found.does = Tally(counts.get("live", 0), found.must.digest), Tally(_new(connection), found.does.digest)
    _check_whole(staged, whole, found)
    return found


def recount_delete(connection: Any, silo: str, tombstones: pa.Table, log: Log) -> Found:
    """Count a publish of deletes: `tombstones` has each once, with id and _version. `deleted` are live rows that go."""
    found = Found()
    connection.register("tombs", tombstones)
    _live(connection, silo, log)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE fates AS SELECT t.*, CASE WHEN EXISTS (FROM live WHERE live.id = t.id "
        "AND live._version < t._version) THEN 'deleted' ELSE 'superseded' END AS fate FROM tombs t"
    )
    counts = dict(connection.execute("SELECT fate, count(*) FROM fates GROUP BY fate").fetchall())
    found.deleted, found.superseded = counts.get("deleted", 0), counts.get("superseded", 0)
    gone = "(FROM live WHERE id IN (SELECT id FROM fates WHERE fate = 'deleted'))"
    went = tally_of(connection, "live", KEY) - tally_of(connection, "after_live", KEY)
    found.must, found.does = tally_of(connection, gone, KEY), went
    return found


def _live(connection: Any, silo: str, log: Log) -> None:
    """Tables `live` and `after_live`: the silo's keys before and after the commit."""
    columns = "id, _version, _file_hash, _offset"
    for name, table, version in (("live", log.before, f", version = {log.version}"), ("after_live", log.after, "")):
        scan = f"delta_scan({literal(table)}{version})"
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {columns} FROM {scan} WHERE silo = {literal(silo)}"
        )


def _sort(connection: Any, silo: str, staged: Staged, log: Log) -> None:
    """Table `fates`: each staged row's file, number, key, and what becomes of it."""
    _live(connection, silo, log)
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM k.{name}" for name in PLACE)
    none = "(SELECT '' AS _file_hash, 0::BIGINT AS _offset, '' AS id WHERE false)"
    source = parquet([staged.refused]) if staged.refused else none
    connection.execute(f"CREATE OR REPLACE TEMP TABLE refused AS SELECT {', '.join(PLACE)} FROM {source}")
    connection.register("tombs", staged.deleted.select(["id", "_version"]))
    older = ">" if staged.is_again else ">="
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fates AS
        WITH k AS (SELECT id, _version, _file_hash, _offset, filename, file_row_number
                   FROM {parquet(staged.files, numbered=True)} k),
        judged AS (SELECT k.*, EXISTS (SELECT 1 FROM refused r WHERE {same}) AS is_refused,
                   EXISTS (SELECT 1 FROM tombs t WHERE t.id = k.id AND t._version > k._version) AS is_deleted FROM k),
        ranked AS (SELECT *, row_number() OVER (PARTITION BY is_refused OR is_deleted, id
                   ORDER BY _version DESC, filename, file_row_number) AS place FROM judged)
        SELECT filename, file_row_number, id, _version, _file_hash, _offset, CASE
          WHEN is_refused THEN 'refused' WHEN is_deleted THEN 'deleted' WHEN place > 1 THEN 'superseded'
          WHEN EXISTS (SELECT 1 FROM live WHERE live.id = ranked.id AND live._version {older} ranked._version)
          THEN 'superseded' ELSE 'live' END AS fate
        FROM ranked"""
    )


def _check_refused(connection: Any, found: Found) -> None:
    listed = connection.execute("SELECT count(*) FROM refused").fetchone()[0]
    if listed != found.refused:
        found.problems.append(f"the gate refused {listed:,} rows, of which {found.refused:,} are among the staged ones")


def _keys(connection: Any, silo: str, log: Log) -> tuple[Tally, Tally]:
    """What must be added to the live keys, less what that replaces; and by what they differ."""
    new = "(FROM fates WHERE fate = 'live')"
    replaced = "(SELECT l.* FROM live l SEMI JOIN (FROM fates WHERE fate = 'live') f ON l.id = f.id)"
    must = tally_of(connection, new, KEY) - tally_of(connection, replaced, KEY)
    return must, tally_of(connection, "after_live", KEY) - tally_of(connection, "live", KEY)


def _new(connection: Any) -> int:
    """Rows of the batch that are live after the commit; one that is live twice counts twice."""
    same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM f.{name}" for name in (*PLACE, "_version"))
    rows = f"after_live a JOIN fates f ON f.fate = 'live' AND {same}"
    return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])


def _contents(connection: Any, staged: Staged, written: Sequence[Path], whole: Sequence[Path]) -> tuple[Tally, Tally]:
    """All columns of the rows that were written anew, as staged and as written; files taken whole by their digests."""
    known = files_tally((staged.digests[str(file)] for file in whole if str(file) in staged.digests), 0)
    found = files_tally((file_digest(file) for file in whole if str(file) in staged.digests), 0)
    rest = [file for file in staged.files if file not in set(whole)]
    if not rest:
        return known, found
    columns = _columns(connection, staged.files)
    chosen = (
        f"(SELECT s.* FROM {parquet(rest, numbered=True)} s SEMI JOIN (FROM fates WHERE fate = 'live') f "
        "ON s.filename = f.filename AND s.file_row_number = f.file_row_number)"
    )
    known += tally(connection, chosen, columns)
    return known, found + (tally(connection, parquet(written), columns) if written else Tally())


def _columns(connection: Any, files: Sequence[Path]) -> list[str]:
    found = connection.execute(f"DESCRIBE FROM {parquet(files)}").fetchall()
    return sorted(row[0] for row in found)


def _check_whole(staged: Staged, whole: Sequence[Path], found: Found) -> None:
    changed = [file for file in whole if file_digest(file) != staged.digests.get(str(file), file_digest(file))]
    if changed:
        found.problems.append(f"{len(changed)} staged files are not what they were when they were staged")


def shown(connection: Any, after: Path) -> Tally:
    """The rows that a table shows, and its files by their SHA-256; for a table whose files are taken as they are."""
    scan = f"delta_scan({literal(after)})"
    rows = connection.execute(f"SELECT count(*) FROM {scan}").fetchone()[0]
    listed = connection.execute(f"SELECT data_file FROM delta_list_files({literal(after)})").fetchall()
    return files_tally((file_digest(Path(file)) for (file,) in listed), int(rows))
