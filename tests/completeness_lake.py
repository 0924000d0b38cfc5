"""Small planted lakes for completeness: encounters and orders of a hospital as staged Parquet, hollowed at will."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.catalog import Catalog
from cohortlake.core.lake import Lake
from expectations import completeness
from spark_jobs import delta
from spark_jobs.context import Context
from spark_jobs.staged import Staged

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CODING = pa.struct([("system", pa.string()), ("version", pa.string()), ("code", pa.string()), ("display", pa.string())])
PERIOD = pa.struct([("start", pa.string()), ("end", pa.string())])
ENCOUNTER = pa.schema(
    [("id", pa.string()), ("status", pa.string()), ("class", CODING), ("period", PERIOD), ("_rest", pa.string())]
)
DISPENSED = pa.struct([("validityPeriod", PERIOD)])
ORDER = pa.schema(
    [("id", pa.string()), ("status", pa.string()), ("authoredOn", pa.string()), ("dispenseRequest", DISPENSED)]
)


def encounter(number: int, code: str | None = "AMB", system: str | None = ACT_CODE, why: str = "") -> dict[str, Any]:
    """An encounter of a class, or of none; `why` says why there is none."""
    rest = json.dumps({"class": {"extension": [{"url": ABSENT, "valueCode": why}]}}, separators=(",", ":"))
    return {
        "id": f"e{number}", "status": "finished", "_rest": rest if why else None,
        "class": {"system": system, "version": None, "code": code, "display": None} if code else None,
        "period": {"start": "2025-01-01", "end": None},
    }  # fmt: skip


def order(number: int, authored: str | None = "2025-01-01") -> dict[str, Any]:
    return {"id": f"m{number}", "status": "active", "authoredOn": authored}


SCHEMAS = {"Encounter": ENCOUNTER, "MedicationRequest": ORDER}


def stage(lake: Lake, silo: str, resource: str, rows: list[dict[str, Any]]) -> Staged:
    """Rows of a resource type as a silo's gate finds them."""
    data = pa.Table.from_pylist(rows, schema=SCHEMAS[resource])
    part = delta.write_part(lake.silver(resource), data, {"silo": silo})
    return Staged(resource, [part], part.rows)


def deliver(root: Path, catalog: Catalog, silo: str, number: int, **tables: list[dict[str, Any]]) -> completeness.Found:
    """What the gate finds of a delivery, which is kept as one that passed."""
    lake = Lake(root)
    ctx = Context(lake, root, catalog, silo, f"run-{number}")
    staged = {name: stage(lake, silo, name, rows) for name, rows in tables.items()}
    found = completeness.of_delivery(ctx, staged, f"{silo}-{number:06d}")
    with found.kept():
        pass
    return found
