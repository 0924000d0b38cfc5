"""What of a batch goes live in a table, and what goes of the table: the newest version of each key stays.

A staged part of which all rows go live is committed as it is; of the others the rows that do are written anew. Rows
that they replace are taken out of their files by deletion vectors, so that no more is written than came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.sql import literal
from spark_jobs import delta
from spark_jobs.delta_commit import Entry, all_gone, entry, live_files
from spark_jobs.delta_vectors import Numbers
from spark_jobs.fhir_types import PARTITION
from spark_jobs.staged import PLACE, Staged

THREADS = 2


@dataclass
class Change:
    """What a commit does to a table: parts that come, and rows that go, by data file below the table's folder."""

    parts: list[delta.Part] = field(default_factory=list)
    gone: dict[str, Numbers] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True)
class Target:
    """A silo's share of a table, as it is in `version`; `duckdb` is a connection that reads Delta."""

    table: Path
    silo: str
    version: int
    duckdb: Any

    @property
    def scan(self) -> str:
        """The SQL that reads the table, with the place of each row."""
        return f"delta_scan({literal(self.table)}, version = {self.version}, filename = true, file_row_number = true)"


def merged(target: Target, staged: Staged, refused: Path | None, deleted: pa.Table, *, is_again: bool) -> Change:
    """The change that makes a batch live. `refused` are rows that the gate keeps back, `deleted` are tombstones.

    With `is_again` a row of the version that is live takes its place.
    """
    files = [str(target.table / part.path) for part in staged.parts]
    duck = target.duckdb
    rows = f"read_parquet({files}, filename = true, file_row_number = true, hive_partitioning = false)"
    chosen = f"SELECT id, _version, filename, file_row_number, _file_hash, _offset FROM {rows}"  # noqa: S608
    if refused:
        same = " AND ".join(f"s.{name} IS NOT DISTINCT FROM f.{name}" for name in PLACE)
        chosen = f"SELECT s.* FROM ({chosen}) s ANTI JOIN read_parquet({literal(refused)}) f ON {same}"  # noqa: S608
    duck.register("tombs", deleted)
    chosen = f"SELECT s.* FROM ({chosen}) s ANTI JOIN tombs t ON s.id = t.id AND s._version < t._version"  # noqa: S608
    place = "arg_max({f: filename, n: file_row_number}, _version) AS place"
    newest = f"SELECT id, max(_version) AS _version, {place} FROM ({chosen}) GROUP BY id"  # noqa: S608
    duck.execute(f"CREATE OR REPLACE TEMP TABLE coming AS {newest}")
    newer = ">=" if is_again else ">"
    duck.execute(f"CREATE OR REPLACE TEMP TABLE here AS {_live(target, 'coming')}")
    duck.execute(
        f"DELETE FROM coming WHERE EXISTS (FROM here WHERE here.id = coming.id AND NOT coming._version {newer} "  # noqa: S608
        "here._version)"
    )
    taken = _by_file(duck, "SELECT place.f, place.n FROM coming")
    going = _by_file(duck, "SELECT filename, file_row_number FROM here SEMI JOIN coming USING (id)")
    return Change(_parts(target, staged, taken), _gone(target, going))


def without(target: Target, deleted: pa.Table) -> Change:
    """The change that takes out what is older than its tombstone."""
    target.duckdb.register("tombs", deleted)
    target.duckdb.execute(f"CREATE OR REPLACE TEMP TABLE here AS {_live(target, 'tombs')}")
    older = "FROM here JOIN tombs ON here.id = tombs.id AND here._version < tombs._version"
    going = _by_file(target.duckdb, f"SELECT DISTINCT here.filename, here.file_row_number {older}")
    return Change(gone=_gone(target, going))


def to_entry(target: Target, change: Change, facts: Mapping[str, str]) -> Entry:
    """The log's entry that makes a change."""
    operation = "MERGE" if change.gone else "WRITE"
    return entry(target.table, target.version, change.parts, change.gone, operation, facts)


def _live(target: Target, keys: str) -> str:
    """The live rows of the silo that have one of the keys, with where each lies."""
    columns = "s.id, s._version, s.filename, s.file_row_number"
    of_silo = f"WHERE s.{PARTITION} = {literal(target.silo)}"
    return f"SELECT {columns} FROM {target.scan} s SEMI JOIN {keys} k ON s.id = k.id {of_silo}"  # noqa: S608


def _by_file(duck: Any, sql: str) -> dict[str, Numbers]:
    found = duck.execute(sql).fetchnumpy()
    names, numbers = (np.asarray(found[name]) for name in found)
    return {str(name): np.sort(numbers[names == name].astype(np.uint64)) for name in np.unique(names.astype(str))}


def _gone(target: Target, going: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Rows that go and those that are gone already, by file."""
    if not going:
        return {}
    files = live_files(target.table, target.version)
    below = {_below(target.table, name): name for name in going}
    cut = [name for path, name in below.items() if files[path].get("deletionVector")]
    live = {}
    if cut:
        scan = (
            f"delta_scan({literal(target.table)}, version = {target.version}, filename = true, file_row_number = true)"
        )
        chosen = f"WHERE filename IN ({', '.join(map(literal, cut))})"
        live = _by_file(target.duckdb, f"SELECT filename, file_row_number FROM {scan} {chosen}")  # noqa: S608
    return {path: all_gone(target.table, files[path], live.get(name), going[name]) for path, name in below.items()}


def _below(table: Path, name: str) -> str:
    """A data file's path below its table's folder."""
    path = Path(unquote(name.removeprefix("file://")))
    return str(path.relative_to(table if path.is_relative_to(table) else table.resolve()))


def _parts(target: Target, staged: Staged, taken: Mapping[str, Numbers]) -> list[delta.Part]:
    """The staged parts whose rows all go live, and new ones of those rows of the others that do."""

    def one(part: delta.Part) -> delta.Part | None:
        rows = taken.get(str(target.table / part.path))
        if rows is None:
            return None
        return part if len(rows) == part.rows else write_rows(target.table, part, rows)

    with ThreadPoolExecutor(THREADS) as pool:
        return [part for part in pool.map(one, staged.parts) if part]


def write_rows(table: Path, part: delta.Part, rows: Sequence[int] | Numbers) -> delta.Part:
    """Some rows of a part (their numbers in order) as a part of their own."""
    source = pq.ParquetFile(table / part.path)
    kept, start = [], 0
    numbers = np.asarray(rows, dtype=np.int64)
    for group in range(source.num_row_groups):
        held = source.metadata.row_group(group).num_rows
        mine = numbers[(numbers >= start) & (numbers < start + held)] - start
        if len(mine):
            kept.append(source.read_row_group(group).take(pa.array(mine)))
        start += held
    return delta.write_part(table, pa.concat_tables(kept).combine_chunks(), part.partition)
