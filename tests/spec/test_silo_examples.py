"""Every silo's `example/`: its input through land and standardise gives the expected FHIR, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog
from cohortlake.core.lake import Lake
from spark_jobs import land, standardise
from spark_jobs.context import Context
from spark_jobs.fhir_types import LAKE_COLUMNS
from spark_jobs.staged import read_staged

NOON = 1_750_000_000
SILOS = sorted(path.parent.name for path in (PROJECT_CATALOG / "silos").glob("*/example"))


def pruned(value: Any) -> Any:
    """A value as FHIR JSON has it: nothing null, nothing empty, numbers by value."""
    if isinstance(value, dict):
        kept = {key: pruned(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner not in (None, {}, [])} or None
    if isinstance(value, list):
        return [inner for inner in map(pruned, value) if inner is not None] or None
    return value.normalize() if isinstance(value, Decimal) else value


def expected(folder: Path) -> dict[str, dict[str, Any]]:
    """Resource type -> id -> resource."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.ndjson")):
        for line in path.read_text(encoding="utf-8").splitlines():
            resource = pruned(json.loads(line, parse_float=Decimal, parse_int=lambda text: Decimal(text)))
            found.setdefault(resource.pop("resourceType"), {})[resource["id"]] = resource
    return found


def numbers_as_decimals(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: numbers_as_decimals(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [numbers_as_decimals(inner) for inner in value]
    return Decimal(value).normalize() if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.spark
@pytest.mark.parametrize("silo", SILOS)
def test_the_example_comes_out_as_written(spark, silo, tmp_path):
    example = PROJECT_CATALOG / "silos" / silo / "example"
    catalog = load_catalog()
    source = tmp_path / "data" / catalog.silos[silo].folder
    shutil.copytree(example / "input", source)
    for path in source.rglob("*"):
        # A checkout gives files any time, and what is told twice is as new as its file.
        os.utime(path, (NOON, NOON))
    ctx = Context(Lake(tmp_path / "lake"), tmp_path / "data", catalog, silo, "example")
    for step in (land, standardise):
        assert all(book.is_balanced for book in step.run(ctx).books)
    made: dict[str, dict[str, Any]] = {}
    newest: dict[tuple[str, str], str] = {}
    for name, staged in read_staged(ctx.lake.staging("phi", silo)).items():
        for part in staged.parts:
            for row in pq.ParquetFile(ctx.lake.silver(name) / part.path).read().to_pylist():
                key = (name, row["id"])
                if row["_version"] < newest.get(key, ""):
                    continue
                newest[key] = row["_version"]
                resource = pruned({key: value for key, value in row.items() if key not in LAKE_COLUMNS})
                made.setdefault(name, {})[resource["id"]] = numbers_as_decimals(resource)
    wanted = expected(example / "expected")
    assert made.keys() == wanted.keys()
    for name, resources in wanted.items():
        assert made[name] == resources, name
