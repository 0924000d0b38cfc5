"""Taking rows out of every version of a table, so that versions, their times and all other rows stay.

A data file with such rows is written anew without them, once for each deletion vector that a version gives it. The log
is written anew beside the old one, with the new files' names, sizes and statistics, and takes its place by renaming;
what no version names any more is deleted. Checkpoints hold statistics too: they are made anew. Whoever purges holds the
lake, and a purge that was killed is ended by the next one (docs/erasure.md).
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from cohortlake.core.gold import delta_connection
from cohortlake.core.history import CHECKPOINT, COMMIT, first_version
from cohortlake.core.lake import write_error
from cohortlake.core.sql import literal
from spark_jobs import delta

LOG, PARTIAL, NEW, OLD = "_delta_log", "_delta_log.part", "_delta_log.new", "_delta_log.old"
ERASED = "(erased)"
Action = dict[str, Any]


@dataclass
class Gone:
    """What is to go of a table, by data file and physical row number: rows, and texts that others take the place of.

    `changed` has the new text (or null) by row and column; `meta.source` is an element of the column `meta`.
    """

    rows: dict[str, list[int]] = field(default_factory=dict)
    changed: dict[str, dict[int, dict[str, str | None]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rows or self.changed)

    @property
    def files(self) -> set[str]:
        return {*self.rows, *self.changed}


@dataclass(frozen=True)
class _File:
    """A data file as a version names it: its name in the log, its deletion vector, a version in which it is live."""

    name: str
    vector: str
    version: int


def _vector(action: Action) -> str:
    found = action.get("deletionVector")
    return f"{found['storageType']}{found['pathOrInlineDv']}@{found.get('offset')}" if found else ""


def _logged(table: Path) -> Iterator[tuple[Path, list[Action]]]:
    """The log's files from the oldest version on: commits, and the checkpoint that stands for what came before."""
    log, first = table / LOG, first_version(table)
    for path in sorted(log.iterdir()):
        if (name := CHECKPOINT.fullmatch(path.name)) and first > 0 and int(name[1]) == first:
            yield path, pq.read_table(path).to_pylist()
        elif (name := COMMIT.fullmatch(path.name)) and int(name[1]) >= first:
            yield path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _files(table: Path) -> list[_File]:
    found: dict[tuple[str, str], _File] = {}
    for path, actions in _logged(table):
        version = int(path.name[:20])
        for action in actions:
            if add := action.get("add"):
                found.setdefault((add["path"], _vector(add)), _File(add["path"], _vector(add), version))
    return list(found.values())


def data_files(table: Path) -> list[str]:
    """Every data file that a version names and that is still there: its path below the table's folder."""
    named = dict.fromkeys(unquote(file.name) for file in _files(table))
    return [name for name in named if (table / name).exists()]


def finish(table: Path) -> None:
    """End the exchange of a log that was killed in between."""
    shutil.rmtree(table / PARTIAL, ignore_errors=True)
    if (table / NEW).exists():
        if (table / LOG).exists():
            shutil.rmtree(table / OLD, ignore_errors=True)
            (table / LOG).rename(table / OLD)
        (table / NEW).rename(table / LOG)
    shutil.rmtree(table / OLD, ignore_errors=True)


def purge(table: Path, gone: Gone, *, facts: Mapping[str, str], keeps: Collection[str] = ()) -> None:
    """Take rows out of every version, and say so in one more commit, with `facts`. Done again, it does nothing.

    Files that no version names go in any case. `keeps` are the columns whose one value a file that is left without rows
    still tells. Raises LakeWriteError where the disk refuses.
    """
    try:
        finish(table)
        fresh = {
            (file.name, file.vector): _without(table, file, gone, keeps)
            for file in _files(table)
            if unquote(file.name) in gone.files and (table / unquote(file.name)).exists()
        }
        if fresh:
            had_checkpoint = any(CHECKPOINT.fullmatch(path.name) for path in (table / LOG).iterdir())
            _write_log(table, fresh, facts)
            finish(table)
            if had_checkpoint:
                DeltaTable(str(table)).create_checkpoint()
        _sweep(table)
    except OSError as error:
        raise write_error(error, table) from error


def _without(table: Path, file: _File, gone: Gone, keeps: Collection[str]) -> Action:
    """Write a file's rows anew without those that go; gives what its `add` has now."""
    name = unquote(file.name)
    place = name.rpartition("/")[0]
    fresh = f"{place}/part-{uuid.uuid4().hex}.parquet".removeprefix("/")
    live = _live(table, file) if file.vector else None
    rows = _rewrite(table / name, table / fresh, set(gone.rows.get(name, ())), live, gone.changed.get(name, {}))
    return {"path": quote(fresh, safe="/=-_.~"), "size": (table / fresh).stat().st_size, "rows": rows, "keeps": keeps}


def _live(table: Path, file: _File) -> set[int]:
    """The rows of a file that its deletion vector leaves."""
    connection = delta_connection()
    scan = f"delta_scan({literal(table)}, version={file.version}, filename=true, file_row_number=true)"
    path = literal(table / unquote(file.name))
    found = connection.sql(f"SELECT file_row_number FROM {scan} WHERE filename = {path}").fetchall()  # noqa: S608
    return {row for (row,) in found}


def _rewrite(
    source: Path, target: Path, gone: set[int], live: set[int] | None, changed: Mapping[int, Mapping[str, str | None]]
) -> int:
    """Copy a file row group by row group, but for some rows; gives the rows written."""
    reader = pq.ParquetFile(source)
    start = written = 0
    with pq.ParquetWriter(target, _plain(reader.schema_arrow), **_like(reader.metadata), **delta.COMPRESSION) as writer:
        for group in range(reader.num_row_groups):
            rows = without_views(reader.read_row_group(group))
            numbers = range(start, start + rows.num_rows)
            start += rows.num_rows
            if changed:
                rows = _changed(rows, numbers, changed)
            kept = rows.filter(pa.array([n not in gone and (live is None or n in live) for n in numbers], pa.bool_()))
            if kept.num_rows:
                writer.write_table(kept, row_group_size=kept.num_rows)
            written += kept.num_rows
    return written


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([one.with_type(_plain_type(one.type)) for one in schema], schema.metadata)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain_type(kind.value_type)))
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return views.get(kind, kind)


def without_views(rows: pa.Table) -> pa.Table:
    """Rows with texts as texts: files that delta-rs wrote again have views of texts, which Arrow cannot filter."""
    schema = _plain(rows.schema)
    return rows if schema == rows.schema else rows.cast(schema)


def _changed(rows: pa.Table, numbers: range, changed: Mapping[int, Mapping[str, str | None]]) -> pa.Table:
    for path in sorted({path for values in changed.values() for path in values}):
        new = {n - numbers.start: values[path] for n, values in changed.items() if n in numbers and path in values}
        if new:
            name, _, element = path.partition(".")
            place = rows.schema.get_field_index(name)
            column = rows.column(place).combine_chunks()
            rows = rows.set_column(place, rows.schema.field(place), _replaced(column, element, new))
    return rows


def _replaced(column: pa.Array, element: str, new: Mapping[int, str | None]) -> pa.Array:
    """A column of texts with others in some rows; or a column of structs, one of whose elements is such a column."""
    if element:
        fields = list(column.type)
        children = [column.field(one.name) for one in fields]
        place = column.type.get_field_index(element)
        children[place] = _replaced(children[place], "", new)
        return pa.StructArray.from_arrays(children, fields=fields, mask=column.is_null())
    return pa.array([new.get(n, value) for n, value in enumerate(column.to_pylist())], column.type)


def _like(metadata: pq.FileMetaData) -> dict[str, Any]:
    """A file's own choice of dictionaries and statistics."""
    if not metadata.num_row_groups:
        return {}
    group = metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return {
        "use_dictionary": [c.path_in_schema for c in columns if any("DICTIONARY" in e for e in c.encodings)] or False,
        "write_statistics": [c.path_in_schema for c in columns if c.statistics is not None] or False,
    }


def _write_log(table: Path, fresh: Mapping[tuple[str, str], Action], facts: Mapping[str, str]) -> None:
    """Write the log anew, to stand in for the old one; a commit of its own at the end says that rows went."""
    target, last = table / PARTIAL, 0
    target.mkdir()
    for path, actions in _logged(table):
        last = int(path.name[:20])
        mapped = [_mapped(action, fresh) for action in actions]
        if path.suffix == ".json":
            lines = (json.dumps(action, ensure_ascii=False, separators=(",", ":")) for action in mapped)
            (target / path.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            pq.write_table(pa.Table.from_pylist(mapped, schema=pq.read_schema(path)), target / path.name)
        # A reader without a commit's own time takes its file's.
        stat = path.stat()
        os.utime(target / path.name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    said = {"timestamp": int(time.time() * 1000), "operation": "ERASE", "operationParameters": {}, **facts}
    (target / f"{last + 1:020}.json").write_text(f"{json.dumps({'commitInfo': said})}\n", encoding="utf-8")
    target.rename(table / NEW)


def _mapped(action: Action, fresh: Mapping[tuple[str, str], Action]) -> Action:
    for kind in ("add", "remove"):
        about = action.get(kind)
        if not about or (about["path"], _vector(about)) not in fresh:
            continue
        new = fresh[about["path"], _vector(about)]
        mapped = {**about, "path": new["path"], "size": new["size"]}
        mapped |= {name: None for name in ("deletionVector", "stats_parsed") if name in about}
        if about.get("stats"):
            mapped["stats"] = _statistics(json.loads(about["stats"]), new["rows"], new["keeps"])
        return {**action, kind: mapped}
    return action


def _statistics(old: Mapping[str, Any], rows: int, keeps: Collection[str]) -> str:
    """Statistics without a value of a row that went: only of columns that have one value in the whole file."""
    least, most = old.get("minValues") or {}, old.get("maxValues") or {}
    same = {name: value for name, value in least.items() if isinstance(value, str) and most.get(name) == value}
    if not rows:
        same = {name: value if name in keeps else ERASED for name, value in same.items()}
    return json.dumps({"numRecords": rows, "minValues": same, "maxValues": same, "nullCount": {}})


def _sweep(table: Path) -> None:
    """Delete the data files that no version names, with what Hadoop keeps of them."""
    named = {unquote(file.name) for file in _files(table)}
    for path in sorted(table.rglob("*"), reverse=True):
        place = path.relative_to(table)
        if place.parts[0] == LOG or path.suffix == ".bin":
            continue
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
            continue
        of = place.with_name(place.name.removeprefix(".").removesuffix(".crc")) if path.suffix == ".crc" else place
        if str(of) not in named:
            path.unlink()


def tables(root: Path) -> Sequence[Path]:
    """The Delta tables below a folder, those too whose log is being exchanged."""
    logs = {path.parent for name in (LOG, NEW) for path in root.rglob(name) if path.is_dir()}
    return sorted(logs)
