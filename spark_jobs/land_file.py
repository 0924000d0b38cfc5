"""The task of `land`: one source file, or a range of it, to one bronze part."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.convert import format_named
from cohortlake.core.readers.csv_text import csv_header
from cohortlake.core.readers.framing import (
    Records,
    UnreadableFileError,
    read_csv_records,
    read_records,
    read_whole,
)
from cohortlake.core.recount.land import recount_landed
from spark_jobs import delta
from spark_jobs.erase_door import Door
from spark_jobs.parallel import Unit

SCHEMA = pa.schema(
    [
        ("silo", pa.string()),
        ("feed", pa.string()),
        ("file", pa.string()),
        ("file_hash", pa.string()),
        ("file_modified_at", pa.timestamp("us", tz="UTC")),
        ("offset", pa.int64()),
        ("header", pa.string()),
        ("payload", pa.string()),
        # Null where the payload is the record's own UTF-8; `latin-1` where it gives back the record's bytes so encoded.
        ("encoding", pa.string()),
        ("batch", pa.string()),
        ("landed_at", pa.timestamp("us", tz="UTC")),
    ]
)
REPEATED = ["silo", "feed", "file", "file_hash", "file_modified_at", "header", "encoding", "batch", "landed_at"]
# So much of a format that is converted makes a row group: its conversion is a task.
GROUP_BYTES = 4 * 1024 * 1024
CHANGED = "the file changed while it was read: it is still being written"


def _columns(unit: Unit, header: str | None, batch: str, landed_at: str, records: Records) -> pa.Table:
    """A bronze table of some records; what repeats is dictionary-encoded by Parquet."""
    rows = len(records.offsets)
    constant = {
        "silo": unit["silo"], "feed": unit["feed"], "file": unit["file"], "file_hash": unit["file_hash"],
        "file_modified_at": datetime.datetime.fromisoformat(unit["modified"]), "header": header, "batch": batch,
        "landed_at": datetime.datetime.fromisoformat(landed_at),
    }  # fmt: skip
    made = {name: pa.repeat(pa.scalar(value, SCHEMA.field(name).type), rows) for name, value in constant.items()}
    made |= {"offset": records.offsets}
    made |= dict(zip(("payload", "encoding"), _as_text(records.payload), strict=True))
    return pa.table([made[name] for name in SCHEMA.names], schema=SCHEMA)


def _as_text(payload: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Payloads as text, and its encoding where that is not UTF-8."""
    try:
        return payload.cast(pa.string()), pa.nulls(len(payload), pa.string())
    except pa.ArrowInvalid:
        texts = [_text(value) for value in payload.to_pylist()]
        return pa.array([text for text, _ in texts], pa.string()), pa.array([code for _, code in texts], pa.string())


def _text(value: bytes) -> tuple[str, str | None]:
    try:
        return value.decode("utf-8"), None
    except UnicodeDecodeError:
        return value.decode("latin-1"), "latin-1"


def _split_bad(records: Records, limit: int, *, only_utf8: bool) -> tuple[Records, list[dict[str, Any]]]:
    """Records that bronze can hold, and those that it cannot: longer than the limit, or not UTF-8 where they must be.

    A format that is converted says itself how its records are encoded.
    """
    too_long = pc.greater(pc.binary_length(records.payload), limit)
    bad = {}
    for index in pc.indices_nonzero(too_long).to_pylist():
        bad[index] = f"record too long: more than {limit} bytes"
    try:
        if only_utf8:
            records.payload.cast(pa.string())
    except pa.ArrowInvalid:
        for index, value in enumerate(records.payload.to_pylist()):
            try:
                value.decode("utf-8")
            except UnicodeDecodeError as error:
                bad.setdefault(index, f"not UTF-8: at byte {error.start}")
    if not bad:
        return records, []
    rejected = [
        {"offset": records.offsets[i].as_py(), "reason": reason, "payload": records.payload[i].as_py()}
        for i, reason in bad.items()
    ]
    keep = pa.array([i not in bad for i in range(len(records.offsets))])
    return Records(records.offsets.filter(keep), records.payload.filter(keep)), rejected


def _header_problem(header: str, columns: list[str], optional: list[str]) -> str | None:
    found = csv_header(header)
    missing = [name for name in columns if name not in found and name not in optional]
    extra = [name for name in found if name not in columns and name not in optional]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        return f"column stands twice: {', '.join(twice)}"
    if missing:
        return f"missing column: {', '.join(missing)}" + (f"; unknown column: {', '.join(extra)}" if extra else "")
    return None


def _read_converted(path: Path, name: str, rejected: list[dict[str, Any]]) -> Iterator[Records]:
    """The records of a file of a format that is converted; those that its reader refuses go to `rejected`.

    Raises UnreadableFileError.
    """
    offsets: list[int] = []
    payloads: list[bytes] = []
    size = 0
    for record in format_named(name).records(read_whole(path)):
        if record.problem:
            reason = f"{record.problem.reason}: {record.problem.place}".removesuffix(": ")
            rejected.append({"offset": record.offset, "reason": reason, "payload": record.payload})
            continue
        offsets.append(record.offset)
        payloads.append(record.payload)
        size += len(record.payload)
        if size >= GROUP_BYTES:
            yield Records(pa.array(offsets, pa.int64()), pa.array(payloads, pa.binary()))
            offsets, payloads, size = [], [], 0
    if offsets:
        yield Records(pa.array(offsets, pa.int64()), pa.array(payloads, pa.binary()))


def land_file(unit: Unit, door: Door | None = None) -> Unit:
    """One task: a file (or a range of it) to a bronze part. Gives the part, or the reason why there is none.

    `door` leaves out what was erased, if anything was erased of the silo.
    """
    path, table = Path(unit["path"]), Path(unit["table"])
    name = delta.part_path({})
    target = table / name
    target.parent.mkdir(parents=True, exist_ok=True)
    rows, erased, rejected = 0, 0, list[dict[str, Any]]()
    header, fail, writer = None, None, None
    batches: Iterator[tuple[str | None, Records]]
    try:
        if unit["format"] == "csv":
            batches = read_csv_records(path)
        elif unit["is_converted"]:
            batches = ((None, records) for records in _read_converted(path, unit["format"], rejected))
        else:
            batches = ((None, records) for records in read_records(path, *(unit["range"] or ())))
        for header, records in batches:
            if header is not None and rows == 0:
                fail = _header_problem(header, unit["columns"], unit["optional_columns"])
                if fail:
                    break
            good, bad = _split_bad(records, unit["max_record_bytes"], only_utf8=not unit["is_converted"])
            data = _columns(unit, header, unit["batch"], unit["landed_at"], good)
            if door:
                passed = door.open_for(unit["feed"], data, bad)
                data, bad, erased = passed.data, passed.rejected, erased + passed.erased
            rejected += bad
            if data.num_rows:
                if writer is None:
                    writer = pq.ParquetWriter(
                        target,
                        SCHEMA,
                        use_dictionary=REPEATED,
                        write_statistics=["file_hash", "offset"],
                        **delta.COMPRESSION,
                    )
                writer.write_table(data)
                rows += data.num_rows
    except UnreadableFileError as error:
        fail = str(error)
    finally:
        if writer:
            writer.close()
    if erased and not rows:
        # A part without rows says that the file was landed.
        pq.write_table(SCHEMA.empty_table(), target)
    stat = path.stat()
    if fail is None and [stat.st_size, stat.st_mtime_ns] != unit["stat"]:
        fail = CHANGED
    if fail:
        target.unlink(missing_ok=True)
        return {"fail": fail}
    kept = _keep_rejected(Path(unit["rejects"]), rejected) if rejected else None
    part = None
    if rows or erased:
        statistics = {"file_hash": unit["file_hash"], "feed": unit["feed"], "file": unit["file"]}
        part = asdict(delta.Part(name, rows, target.stat().st_size, {}, statistics, statistics))
    extra = [c for c in csv_header(header or "") if c not in unit["columns"] and c not in unit["optional_columns"]]
    return {
        "part": part, "rows": rows, "rejected": len(rejected), "rejects": str(kept) if kept else None,
        "erased": erased, "extra_columns": extra,
    }  # fmt: skip


def _keep_rejected(folder: Path, rejected: list[dict[str, Any]]) -> Path:
    schema = pa.schema([("offset", pa.int64()), ("reason", pa.string()), ("payload", pa.binary())])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / delta.part_path({})
    pq.write_table(pa.Table.from_pylist(rejected, schema=schema), path)
    return path


def recounted(unit: Unit, door: Door | None = None) -> Unit:
    """`land_file`, and what a recount of the file finds: its records, those in bronze and those held, and digests."""
    result = land_file(unit, door)
    if "fail" in result:
        return result
    found = recount_landed(
        Path(unit["path"]), unit["format"], [Path(unit["table"]) / result["part"]["path"]] if result["part"] else [],
        Path(result["rejects"]) if result["rejects"] else None, unit["range"], result["erased"] if door else None,
    )  # fmt: skip
    counts = {"records": found.records, "rows": found.rows, "held": found.held, "problems": found.problems}
    return {**result, "recount": {**counts, "must": found.must.digest, "does": found.does.digest}}
