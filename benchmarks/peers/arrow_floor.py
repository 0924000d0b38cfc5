"""PyArrow's JSON reader with delta-rs's writer as a floor: typed as our silver is, nothing kept beside or checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from pyarrow import json

from benchmarks.hospital import SILO
from benchmarks.peers.worker import serve
from cohortlake.core.catalog import load_catalog
from spark_jobs.fhir_types import fhir_schema

CATALOG = load_catalog()


def readable(kind: pa.DataType) -> pa.DataType:
    """The type with decimals as doubles: Arrow's reader refuses one of more places than a column has."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(kind.field(i).name, readable(kind.field(i).type)) for i in range(kind.num_fields)])
    if pa.types.is_list(kind):
        return pa.list_(readable(kind.value_type))
    return pa.float64() if pa.types.is_decimal(kind) else kind


def ingest(data: str, target: str) -> Mapping[str, Any]:
    """Each NDJSON file to a Delta table."""
    resources = 0
    for path in sorted((Path(data) / SILO).glob("*.ndjson")):
        typed = fhir_schema(CATALOG.resources[path.stem])
        schema = pa.schema([pa.field(field.name, readable(field.type)) for field in typed])
        options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        table = json.read_json(path, parse_options=options)
        write_deltalake(str(Path(target) / path.stem), table)
        resources += table.num_rows
    return {"resources": resources}


if __name__ == "__main__":
    serve({"ingest": ingest})
