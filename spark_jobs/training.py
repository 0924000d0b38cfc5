"""What the steps of a training set share: what they depend on, and where they hand over.

`cohort` stages its rows, `augment` stages synthetic rows beside them, `release` publishes both. Each step first asks
whether what it depends on (`inputs`) has been released; then there is nothing to do, and no Spark session is started.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.catalog import Cohort
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import write_error
from cohortlake.core.releases import FACTS, file_sha256
from spark_jobs import delta
from spark_jobs.context import Context, StepResult
from spark_jobs.eligibility import every_need
from spark_jobs.person_keys import person_table

SQL = ("index.sql", "features.sql", "outcome.sql")
KEYS = ("patient_key", "silo", "index_date")
ENGINE = ("cohortlake", "sdv")


def declared_cohort(ctx: Context) -> Cohort:
    """The cohort of the step's scope. Raises UsageError where the catalog has none of that name."""
    if ctx.scope not in ctx.catalog.cohorts:
        raise UsageError(f"there is no cohort {ctx.scope!r}", f"The catalog has: {', '.join(ctx.catalog.cohorts)}.")
    return ctx.catalog.cohorts[ctx.scope]


def cohort_folder(ctx: Context) -> Path:
    return ctx.catalog.folder / "cohorts" / ctx.scope


def recipe_path(ctx: Context) -> Path:
    """Where the recipe for synthetic rows stands, if the cohort has one: `synthetic/`, beside the catalog."""
    return ctx.catalog.folder.parent / "synthetic" / f"{ctx.scope}.yaml"


def recipe(ctx: Context) -> dict[str, str]:
    """The recipe's part of the definition: its SHA-256 by name; empty where the cohort has no recipe."""
    path = recipe_path(ctx)
    return {f"synthetic/{path.name}": file_sha256(path)} if path.exists() else {}


def inputs(ctx: Context) -> dict[str, dict[str, Any]]:
    """All that a release depends on: the definition's files (SHA-256), the gold tables' versions, the packages.

    A gold table counts if the SQL names it, if something in the cohort needs it, or if it says which records are one
    person's: others may change and bring no new release.
    """
    text = "\n".join((cohort_folder(ctx) / name).read_text(encoding="utf-8") for name in SQL)
    needed = {need.table for need in every_need(declared_cohort(ctx))}
    words = {person_table(ctx.catalog), *re.findall(r"\w+", text), *needed}
    versions = {name: delta.version(ctx.lake.gold(name)) for name in sorted(ctx.catalog.tables) if name in words}
    return {
        "definition": {name: file_sha256(cohort_folder(ctx) / name) for name in ("cohort.yaml", *SQL)} | recipe(ctx),
        "gold": {name: version for name, version in versions.items() if version >= 0},
        "engine": {name: package_version(name) for name in ENGINE},
    }


def staging(ctx: Context) -> Path:
    return ctx.lake.staging("research", ctx.scope)


def unchanged(ctx: Context) -> StepResult | None:
    """The result of a step that has nothing to do, since its inputs have been released; None where it has work."""
    pointer = staging(ctx) / "_release.json"
    if ctx.force or not pointer.exists():
        return None
    released = json.loads(pointer.read_text(encoding="utf-8"))
    if released["inputs"] != inputs(ctx) or not (ctx.lake.releases(ctx.scope) / released["version"] / FACTS).exists():
        return None
    return StepResult(facts={"unchanged": True, "version": released["version"]})


def release_receipt(ctx: Context) -> dict[str, Any] | None:
    """The receipt of the last release."""
    pointer = staging(ctx) / "_release.json"
    return json.loads(pointer.read_text(encoding="utf-8")).get("receipt") if pointer.exists() else None


def write_parquet(path: Path, rows: pa.Table) -> None:
    """Write rows whole or not at all; equal rows give equal bytes. Raises LakeWriteError where the disk refuses."""
    fresh = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows.replace_schema_metadata(None), fresh, **delta.COMPRESSION)
        fresh.replace(path)
    except OSError as error:
        raise write_error(error, path) from error


def stage(ctx: Context, name: str, rows: pa.Table, facts: dict[str, Any]) -> None:
    """Hand rows and facts to the next step. The facts are written last, and so say that the rows are whole."""
    write_parquet(staging(ctx) / f"{name}.parquet", rows)
    delta.write_json(staging(ctx) / f"_{name}.json", facts)


def unstage(ctx: Context, name: str) -> None:
    """Take back what was staged: the next step finds nothing until it is staged anew."""
    (staging(ctx) / f"_{name}.json").unlink(missing_ok=True)


def staged(ctx: Context, name: str) -> tuple[pa.Table, dict[str, Any]]:
    """The rows and facts of an earlier step. Raises UsageError where it did not run."""
    try:
        facts = json.loads((staging(ctx) / f"_{name}.json").read_text(encoding="utf-8"))
        return pq.read_table(staging(ctx) / f"{name}.parquet"), facts
    except FileNotFoundError as error:
        raise UsageError(f"{ctx.scope} has no staged {name} rows", "Run the cohort's earlier steps first.") from error
