"""Deletes as sources tell them, to tombstones: Bundles of DELETE requests, and key columns of tabular feeds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb
import pyarrow.parquet as pq

from cohortlake.core.catalog import Mapping as TableMapping
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.mapping import unpivoted
from cohortlake.core.rules import FHIR_ID
from cohortlake.core.sql import identifier
from spark_jobs.parallel import Unit
from spark_jobs.standardise_fhir import COLUMNS, record_version

URL = re.compile(rf"(?:.*/)?(?P<type>[A-Za-z]+)/(?P<id>{FHIR_ID})")


class NoDeletesError(Exception):
    """A record is no Bundle of deletes; the message says why."""


def deleted(text: str) -> tuple[str | None, list[tuple[str, str]]]:
    """What a Bundle deletes: its time, and type and id of each resource. Raises NoDeletesError.

    https://hl7.org/fhir/uv/bulkdata/STU2/export.html#response---complete-status (`deleted`)
    """
    try:
        bundle = json.loads(text)
    except ValueError as error:
        raise NoDeletesError("not JSON") from error
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise NoDeletesError("not a Bundle")
    entries = bundle.get("entry", [])
    found = []
    for entry in entries if isinstance(entries, list) else [None]:
        request = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict) or request.get("method") != "DELETE":
            raise NoDeletesError("an entry is no DELETE request")
        url = URL.fullmatch(str(request.get("url")))
        if not url or url["type"] not in resource_types():
            raise NoDeletesError("the url of a DELETE request is not Type/id")
        found.append((url["type"], url["id"]))
    meta = bundle.get("meta")
    moment = meta.get("lastUpdated") if isinstance(meta, dict) else None
    return moment if isinstance(moment, str) else bundle.get("timestamp"), found


def read_bundles(unit: Unit) -> Unit:
    """One task: the tombstones of a bronze part, and the records that are none."""
    tombstones, rejected = [], []
    for batch in pq.ParquetFile(unit["source"]).iter_batches(columns=COLUMNS):
        for row in batch.to_pylist():
            place = {"_file_hash": row["file_hash"], "_offset": row["offset"]}
            try:
                moment, resources = deleted(row["payload"])
            except NoDeletesError as error:
                why = {"id": None, "reason": f"deletes: {error}", "resource_type": "", "feed": unit["feed"]}
                rejected.append({name: row[name] for name in ("file", "file_hash", "offset")} | why)
                continue
            modified = row["file_modified_at"].strftime("%Y-%m-%dT%H:%M:%S")
            own = record_version(moment if isinstance(moment, str) else None, None)
            own = f"{modified}{own}" if own.startswith("|") else own
            version = f"{own}|{modified}|{row['file_hash']}|{row['offset']:015}"
            for name, key in resources:
                tombstones.append({"silo": unit["silo"], "resource_type": name, "id": key, "_version": version} | place)
    return {"tombstones": tombstones, "rejected": rejected}


def of_rows(
    silo: str, files: Iterable[str], columns: Iterable[str], mappings: Iterable[TableMapping]
) -> Iterator[Mapping[str, Any]]:
    """The tombstones of parsed rows that hold a tabular feed's key columns: of each resource that a mapping made of it.

    `columns` are the feed's; those that the rows lack are null, since a mapping makes its id of key columns.
    """
    connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
    connection.execute(f"CREATE VIEW keys AS FROM read_parquet({list(files)}, hive_partitioning = false)")
    held = {name for name, *_ in connection.execute("DESCRIBE keys").fetchall()}
    lacking = "".join(f", CAST(NULL AS VARCHAR) AS {identifier(name)}" for name in columns if name not in held)
    connection.execute(f"CREATE VIEW source AS SELECT *{lacking} FROM keys")  # noqa: S608
    for mapping in mappings:
        rows = unpivoted(mapping, with_empty=True)
        made = f"SELECT {mapping.id} AS id, _version, _file_hash, _offset FROM {rows}"  # noqa: S608
        for row in connection.execute(made).arrow().read_all().to_pylist():
            yield {"silo": silo, "resource_type": mapping.resource, **row}
