"""JSON of FHIR resources to staged parts of silver: the tasks of `standardise_fhir`, run and gathered by table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from deltalake import Schema

from cohortlake.core.catalog import Node
from cohortlake.core.terminology.translate import Translator
from spark_jobs import delta
from spark_jobs.context import Context
from spark_jobs.fhir_types import PARTITION, silver_schema
from spark_jobs.parallel import Unit, run_units
from spark_jobs.staged import Staged
from spark_jobs.standardise_fhir import standardise_part
from spark_jobs.standardise_recount import Recounted, recount_typed


@dataclass
class Typed:
    """What was staged, by table; the records that were rejected; the values that silver does not type, by table.

    `recounted` is what the recount of the tasks found, by table; `mapped` counts the codings that each concept map
    added, `unmapped` the codes that they lack.
    """

    staged: dict[str, Staged] = field(default_factory=dict)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    unexpected: dict[str, Counter[str]] = field(default_factory=dict)
    mapped: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    recounted: dict[str, Recounted] = field(default_factory=dict)


def create_silver(ctx: Context, tree: Node) -> None:
    """The silver table of a resource type, partitioned by silo; a column newly declared is added to it."""
    table, schema = ctx.lake.silver(tree.name), silver_schema(tree)
    live = delta.create(
        table,
        schema,
        description=f"FHIR R4 {tree.name}: the newest version of every resource, by silo and id",
        partition_by=[PARTITION],
        properties={"delta.enableDeletionVectors": "true", "delta.dataSkippingStatsColumns": "id"},
    )
    if live.schema() != Schema.from_arrow(schema):
        with ctx.lake.lock(f"silver.{tree.name}"):
            delta.add_columns(ctx.spark, table, schema)


def typing_unit(ctx: Context, resource: str, feed: str, size: int, sources: list[tuple[str, list[int] | None]]) -> Unit:
    """Files of JSON, with the row groups to read of each (all where None), that become one part of silver.

    `size` is how many bytes are read.
    """
    rejects = ctx.lake.staging("phi", ctx.scope) / "rejects"
    unit: Unit = {"resource": resource, "feed": feed, "bytes": size, "sources": sources, "silo": ctx.scope}
    return unit | {"table": str(ctx.lake.silver(resource)), "rejects": str(rejects)}


def stage_typed(ctx: Context, units: Sequence[Unit]) -> Typed:
    """Run the tasks, the largest first, and gather what they made."""
    units = sorted(units, key=lambda unit: -unit["bytes"])
    trees = {name: ctx.catalog.resources[name] for name in sorted({unit["resource"] for unit in units})}
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(create_silver, ctx), trees.values()))
    results = run_units(
        ctx.spark,
        units,
        partial(_work, trees=trees, translator=ctx.catalog.translator(ctx.scope)),
        marks=ctx.lake.staging("phi", ctx.scope) / "marks",
        progress=lambda done, total: ctx.progress(done, total, f"{done} of {total} parts"),
    )
    made = Typed()
    for unit, result in zip(units, results, strict=True):
        name = unit["resource"]
        table = made.staged.setdefault(name, Staged(name, [], 0))
        if result["part"]:
            table.parts.append(delta.Part(**result["part"]))
        table.rows += result["rows"]
        counted = made.recounted.setdefault(name, Recounted())
        counted.add(result["recount"], result["part"])
        table.facts["sha256"] = counted.sha256
        made.refused[name] += result["rejected"]
        made.unexpected.setdefault(name, Counter()).update(result["unexpected"])
        made.mapped.update(result["mapped"])
        made.unmapped.update(result["unmapped"])
        if result["rejects"]:
            rows = pq.read_table(Path(result["rejects"])).to_pylist()
            made.rejected += [{**row, "feed": unit["feed"], "resource_type": name} for row in rows]
    return made


def _work(unit: Unit, trees: dict[str, Node], translator: Translator) -> Unit:
    tree = trees[unit["resource"]]
    result = standardise_part(unit, tree, translator)
    return {**result, "recount": recount_typed(unit, result, tree)}
