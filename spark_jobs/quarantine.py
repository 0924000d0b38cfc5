"""Quarantine: records that were rejected, why, and where their raw form lies. Nothing is dropped.

A row points at its bronze record by file hash and offset; what never reached bronze (bytes that are not text, files
that cannot be read) is kept here, as `payload` bytes or as a copy of the file under `quarantine/files`.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from cohortlake.core.lake import Lake, write_error
from spark_jobs import delta

SCHEMA = pa.schema(
    [
        ("quarantine_id", pa.string()),
        ("silo", pa.string()),
        ("step", pa.string()),
        ("batch", pa.string()),
        ("run_id", pa.string()),
        ("feed", pa.string()),
        ("resource_type", pa.string()),
        ("resource_id", pa.string()),
        ("file", pa.string()),
        ("file_hash", pa.string()),
        ("offset", pa.int64()),
        ("reasons", pa.list_(pa.string())),
        ("detail", pa.string()),
        ("status", pa.string()),
        ("quarantined_at", pa.timestamp("us", tz="UTC")),
        ("payload", pa.binary()),
    ]
)
# A row is `open` until a replay takes it up again (`replay`), and `released` once its record went through.
OPEN, REPLAY, RELEASED = "open", "replay", "released"
WHOLE_FILE = -1


def quarantine_id(row: Mapping[str, Any]) -> str:
    """The row's identity: the same record rejected again is the same row."""
    made = (row.get("resource_type") or "", row.get("resource_id") or "")
    parts = (row["silo"], row["file_hash"], str(row["offset"]), *made)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def hold(lake: Lake, rows: Iterable[Mapping[str, Any]]) -> int:
    """Put rejected records into quarantine; one that is there already is brought up to date. Gives their number."""
    now = datetime.datetime.now(datetime.UTC)
    filled = {}
    names: dict[str, dict[str, str]] = {}
    for row in rows:
        key = quarantine_id(row)
        if not row.get("file"):
            if row["silo"] not in names:
                names[row["silo"]] = _file_names(lake, row["silo"])
            row = {**row, "file": names[row["silo"]].get(row["file_hash"])}
        filled[key] = {**row, "quarantine_id": key, "status": OPEN, "quarantined_at": now}
    if not filled:
        return 0
    with lake.lock("quarantine"):
        data = pa.Table.from_pylist(list(filled.values()), schema=SCHEMA)
        try:
            table = delta.create(lake.quarantine, SCHEMA, description="Rejected records, why, and where they lie")
            (
                table.merge(data, "t.quarantine_id = s.quarantine_id", source_alias="s", target_alias="t")
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute()
            )
        except OSError as error:
            raise write_error(error, lake.quarantine) from error
    return len(filled)


def _file_names(lake: Lake, silo: str) -> dict[str, str]:
    """The names of the files that a silo's bronze holds, by hash; from the log, no data is read."""
    table = lake.bronze(silo)
    if not delta.exists(table):
        return {}
    actions = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))
    if actions.num_rows == 0:
        return {}
    return dict(zip(actions["min.file_hash"].to_pylist(), actions["min.file"].to_pylist(), strict=True))


def raw_record(lake: Lake, row: Mapping[str, Any]) -> str | Path:
    """A held record as it came, or the copy of a file that was held whole; bytes that are no text, escaped."""
    if row["offset"] == WHOLE_FILE:
        copy = lake.quarantined_files / str(row["file_hash"])
        return copy if copy.exists() else "(no copy is kept)"
    kept = delta.rows(lake.quarantine, ["payload"], [("quarantine_id", "=", row["quarantine_id"])])
    payload = kept["payload"][0].as_py() if kept is not None and kept.num_rows else None
    if payload is not None:
        return repr(payload)[2:-1]
    bronze = lake.bronze(row["silo"])
    if not delta.exists(bronze):
        return "(not in bronze)"
    # Not by delta-rs' own filter: it takes a column without statistics in the log for one without values.
    files = ds.dataset(DeltaTable(str(bronze)).file_uris(), format="parquet")
    place = (ds.field("file_hash") == row["file_hash"]) & (ds.field("offset") == row["offset"])
    found = files.to_table(columns=["payload"], filter=place)
    return str(found["payload"][0].as_py()) if found.num_rows else "(not in bronze)"


def set_status(lake: Lake, ids: Iterable[str], status: str) -> int:
    """Give the rows with these ids a status; gives how many changed."""
    listed = sorted(set(ids))
    if not listed or not delta.exists(lake.quarantine):
        return 0
    with lake.lock("quarantine"):
        quoted = ", ".join(f"'{key}'" for key in listed)
        done = DeltaTable(str(lake.quarantine)).update(
            predicate=f"quarantine_id IN ({quoted}) AND status <> '{status}'", new_values={"status": status}
        )
    return int(done["num_updated_rows"])


def held(lake: Lake, silo: str, status: str | None = None) -> list[dict[str, Any]]:
    """A silo's rows, without payloads; all of them, or those of a status."""
    filters = [("silo", "=", silo)] + ([("status", "=", status)] if status else [])
    columns = [name for name in SCHEMA.names if name != "payload"]
    found = delta.rows(lake.quarantine, columns=columns, filters=filters)
    return [] if found is None else found.to_pylist()
