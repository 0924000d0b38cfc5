"""A commit that can be looked at before it is made: the next entry of a table's log, rehearsed and then put in place.

An entry adds data files, and takes rows out of live ones by deletion vectors, at once. `rehearse` shows the table with
the entry to any reader of Delta, in a folder of links; `put` makes it visible by creating its file in the log, which
only one writer can do. https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema

from cohortlake.core.errors import CohortlakeError
from cohortlake.core.history import CHECKPOINT
from cohortlake.core.lake import write_error
from spark_jobs.delta import Part
from spark_jobs.delta_vectors import Numbers, write_vectors

Action = dict[str, Any]
LOG = "_delta_log"
# What this writer keeps to; a table that asks for more is not for it to write.
KNOWN = frozenset({"deletionVectors", "variantType", "appendOnly", "invariants", "timestampNtz"})
# Delta-rs and this writer fold the log every so many commits.
CHECKPOINT_EVERY = 100


class TakenError(Exception):
    """Another writer made this version first."""


@dataclass(frozen=True)
class Entry:
    """The log's entry that makes `version`: its actions, and the data files that it adds, below the table's folder."""

    version: int
    actions: Sequence[Action]
    added: Sequence[str]

    def saying(self, facts: Mapping[str, str]) -> Entry:
        """The same entry, with more said of it."""
        told = {"commitInfo": {**self.actions[0]["commitInfo"], **facts}}
        return replace(self, actions=[told, *self.actions[1:]])

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return len(self.actions) == 1

    @property
    def text(self) -> str:
        """The entry as it stands in the log."""
        lines = (json.dumps(action, ensure_ascii=False, separators=(",", ":")) for action in self.actions)
        return "".join(f"{line}\n" for line in lines)


def entry(
    table: Path, version: int, parts: Sequence[Part], gone: Mapping[str, Numbers], operation: str,
    facts: Mapping[str, str],
) -> Entry:  # fmt: skip
    """The entry after `version`: `parts` come, and rows go, by data file: all that are not live in it then.

    Vectors are written here, and read by nobody before the entry is put. Raises CohortlakeError for a table whose log
    asks for more than this writer keeps to, LakeWriteError where the disk refuses.
    """
    _check_features(table, cuts=bool(gone))
    now = int(time.time() * 1000)
    try:
        actions = [{"commitInfo": _told(version, operation, facts, now)}]
        if gone:
            live = live_files(table, version)
            kept = {path: rows for path, rows in gone.items() if len(rows) < _physical(table, live[path])}
            vectors = write_vectors(table, kept)
            for path in gone:
                actions.append({"remove": _removed(live[path], now)})
                if path in vectors:
                    actions.append({"add": _cut(live[path], vectors[path], _physical(table, live[path]))})
        actions += [{"add": _added(part, now)} for part in parts]
        return Entry(version + 1, actions, [part.path for part in parts])
    except OSError as error:
        raise write_error(error, table) from error


def replacing(table: Path, version: int, schema: pa.Schema, parts: Sequence[Part], facts: Mapping[str, str]) -> Entry:
    """The entry after `version` that makes `parts` the whole of a table; columns that changed change with them.

    Raises as `entry` does.
    """
    _check_features(table)
    now = int(time.time() * 1000)
    live = DeltaTable(str(table), version=version)
    actions = [{"commitInfo": _told(version, "WRITE", facts, now)}]
    if live.schema() != Schema.from_arrow(schema):
        actions.append({"metaData": _described(live, schema)})
    held, wanted = live_files(table, version), {part.path for part in parts}
    actions += [{"remove": _removed(add, now)} for path, add in held.items() if path not in wanted]
    # A publish that was killed half-way may have made some of them live.
    actions += [{"add": _added(part, now)} for part in parts if part.path not in held]
    return Entry(version + 1, actions, [part.path for part in parts])


def _described(live: DeltaTable, schema: pa.Schema) -> Action:
    about = live.metadata()
    found = {"id": str(about.id), "name": about.name, "description": about.description}
    found |= {"format": {"provider": "parquet", "options": {}}, "schemaString": Schema.from_arrow(schema).to_json()}
    found |= {"partitionColumns": about.partition_columns, "createdTime": about.created_time}
    return found | {"configuration": about.configuration}


def _told(version: int, operation: str, facts: Mapping[str, str], now: int) -> Action:
    said = {"timestamp": now, "operation": operation, "operationParameters": {}, "readVersion": version}
    return {**said, "isolationLevel": "Serializable", "isBlindAppend": operation == "WRITE", **facts}


def _check_features(table: Path, *, cuts: bool = False) -> None:
    protocol = DeltaTable(str(table)).protocol()
    features = {*(protocol.writer_features or []), *(protocol.reader_features or [])}
    if features - KNOWN or (cuts and "deletionVectors" not in features):
        asked = ", ".join(sorted(features - KNOWN)) or "no deletion vectors"
        raise CohortlakeError(
            f"{table.name} cannot be published to: its Delta log has {asked}",
            "Another tool changed the table's features. RESTORE it to the version before, and run again.",
        )


def _physical(table: Path, add: Action) -> int:
    """Rows of a data file, live or not."""
    stats = json.loads(add["stats"]) if add.get("stats") else {}
    return (
        int(stats["numRecords"]) if "numRecords" in stats else pq.read_metadata(table / unquote(add["path"])).num_rows
    )


def _added(part: Part, now: int) -> Action:
    stats = {"numRecords": part.rows, "minValues": part.minimum, "maxValues": part.maximum, "nullCount": {}}
    about = {"path": quote(part.path, safe="/=-_.~"), "partitionValues": part.partition, "size": part.bytes}
    return about | {"modificationTime": now, "dataChange": True, "stats": json.dumps(stats)}


def _removed(add: Action, now: int) -> Action:
    about = {"path": add["path"], "deletionTimestamp": now, "dataChange": True, "extendedFileMetadata": True}
    about |= {"partitionValues": add["partitionValues"], "size": add["size"]}
    return about | ({"deletionVector": add["deletionVector"]} if add.get("deletionVector") else {})


def _cut(add: Action, vector: Action, rows: int) -> Action:
    stats = {**(json.loads(add["stats"]) if add.get("stats") else {}), "numRecords": rows, "tightBounds": False}
    kept = {name: add[name] for name in ("path", "partitionValues", "size", "modificationTime")}
    tags = {"tags": add["tags"]} if add.get("tags") else {}
    return {**kept, **tags, "dataChange": True, "stats": json.dumps(stats), "deletionVector": vector}


def live_files(table: Path, version: int) -> dict[str, Action]:
    """The `add` of each data file that is live in a version, by its path below the table's folder."""
    log = table / LOG
    folded = [(int(name[1]), path) for path in log.iterdir() if (name := CHECKPOINT.fullmatch(path.name))]
    start = max((number for number, _ in folded if number <= version), default=-1)
    found: dict[str, Action] = {}
    for path in (path for number, path in folded if number == start):
        found |= {unquote(add["path"]): _plain(add) for add in pq.read_table(path)["add"].to_pylist() if add}
    for number in range(start + 1, version + 1):
        actions = [json.loads(line) for line in (log / f"{number:020}.json").read_text(encoding="utf-8").splitlines()]
        for action in actions:
            if remove := action.get("remove"):
                found.pop(unquote(remove["path"]), None)
        found |= {unquote(action["add"]["path"]): action["add"] for action in actions if "add" in action}
    return found


def _plain(add: Action) -> Action:
    """An `add` of a checkpoint, where maps are lists of pairs and what is not there is null."""
    maps = {name: dict(add[name]) for name in ("partitionValues", "tags") if add.get(name) is not None}
    return {name: value for name, value in add.items() if value is not None} | maps


@contextmanager
def rehearse(table: Path, made: Entry) -> Iterator[Path]:
    """A folder that reads as the table will once the entry is put: links to its files, and the log with the entry."""
    # Not in the lake: a folder with a log would be taken for a table of its own, if a run is killed here.
    folder, table = Path(tempfile.mkdtemp(prefix="cohortlake-")), table.resolve()
    try:
        (folder / LOG).mkdir(parents=True)
        for path in table.iterdir():
            if path.name != LOG and not path.name.startswith("."):
                (folder / path.name).symlink_to(path)
        for path in (table / LOG).iterdir():
            if not path.name.startswith(".") and path.is_file():
                (folder / LOG / path.name).symlink_to(path)
        (folder / LOG / f"{made.version:020}.json").write_text(made.text, encoding="utf-8")
        yield folder
    except OSError as error:
        raise write_error(error, table) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(table: Path, made: Entry) -> int:
    """Make the entry visible; gives its version. Raises TakenError where another writer was first."""
    log = table / LOG
    fresh = log / f".{uuid.uuid4().hex}.tmp"
    try:
        with fresh.open("w", encoding="utf-8") as stream:
            stream.write(made.text)
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(fresh, log / f"{made.version:020}.json")
        except FileExistsError as error:
            raise TakenError(str(made.version)) from error
    except OSError as error:
        raise write_error(error, table) from error
    finally:
        fresh.unlink(missing_ok=True)
    if made.version % CHECKPOINT_EVERY == 0:
        DeltaTable(str(table)).create_checkpoint()
    return made.version


def all_gone(table: Path, add: Action, live: Numbers | None, more: Numbers) -> Numbers:
    """The rows of a data file that are not live once `more` go, where `live` are those that are now (None: all)."""
    rows = np.asarray(more, dtype=np.uint64)
    if live is None:
        return rows
    every = np.arange(_physical(table, add), dtype=np.uint64)
    return np.asarray(np.union1d(rows, np.setdiff1d(every, live)), dtype=np.uint64)
