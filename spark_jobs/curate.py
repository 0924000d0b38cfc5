"""curate: silver to gold. ViewDefinitions compiled to one pass over each resource type, then SQL over those views."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cohortlake.core.catalog import Catalog, Table
from cohortlake.core.errors import CatalogError
from cohortlake.core.lake import Lake
from cohortlake.core.views import ViewPlan, compile_view
from cohortlake.core.views.needed import needed
from spark_jobs import delta, delta_read
from spark_jobs.context import Context, StepResult
from spark_jobs.curate_books import curated_books, unreached
from spark_jobs.displays import displays
from spark_jobs.fhir_types import table_schema
from spark_jobs.link_tables import table as members_table
from spark_jobs.match import replaced_keys, replaced_rows
from spark_jobs.materialise import Known, check_columns, view_structs, write_views
from spark_jobs.person_rows import person_keys, persons_of
from spark_jobs.pseudonyms import pseudonym, vault_secret
from spark_jobs.staged import Staged, write_staged

THREADS = 2
BATCH_FILE = "_batch.json"


def _fingerprint(catalog: Catalog) -> str:
    digest = hashlib.sha256()
    declared = [
        *(catalog.folder / "tables").rglob("*.*"),
        *(catalog.folder / "units").glob("*.yaml"),
        *(catalog.folder / "conceptmaps").glob("*.*"),
    ]
    for path in sorted(declared):
        if "example" not in path.parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def sources(lake: Lake, catalog: Catalog) -> dict[str, Any]:
    """What gold is made from: the versions of the silver tables, and the declarations."""
    types = sorted({str(view["resource"]) for view in catalog.views.values()})
    silver = {name: delta.version(lake.silver(name)) for name in types}
    found = {"same_facts": delta.version(lake.same_facts), "persons": delta.version(members_table(lake, "members"))}
    return {"silver": silver, **found, "declared": _fingerprint(catalog)}


def _progress(lake: Lake) -> dict[str, Any]:
    path = lake.ops("progress") / "gold.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def curated_from(lake: Lake) -> dict[str, Any]:
    """What the live gold was made from, or {}."""
    made_from: dict[str, Any] = _progress(lake).get("made_from", {})
    return made_from


def gold_receipt(lake: Lake) -> dict[str, Any] | None:
    """The receipt of gold's last publish."""
    return _progress(lake).get("receipt")


def mark_curated(lake: Lake, made_from: Mapping[str, Any], receipt: Mapping[str, Any]) -> None:
    """Say what the live gold was made from, with the receipt of its publish."""
    delta.write_json(lake.ops("progress") / "gold.json", {"made_from": made_from, "receipt": receipt})


def conformed(frame: DataFrame, table: Table) -> DataFrame:
    """The declared columns in their order and types. Raises CatalogError where the frame has others."""
    check_columns(table, frame.columns)
    return frame.select(*(F.col(name).cast(column.type).alias(name) for name, column in table.columns.items()))


def in_order(tables: dict[str, Table]) -> list[Table]:
    """SQL tables, each after those that it needs. Raises CatalogError for a circle."""
    waiting = {name: table for name, table in tables.items() if table.is_sql}
    ordered: list[Table] = []
    while waiting:
        ready = [table for table in waiting.values() if not set(table.needs) & set(waiting)]
        if not ready:
            raise CatalogError(f"tables need each other in a circle: {', '.join(sorted(waiting))}")
        ordered += ready
        for table in ready:
            del waiting[table.name]
    return ordered


def _stage(ctx: Context, frame: DataFrame, table: Table, folder: Path) -> Staged:
    parts = delta.write_spark_parts(conformed(frame, table), ctx.lake.gold(table.name), {})
    staged = Staged(table.name, parts, sum(part.rows for part in parts))
    write_staged(folder, staged)
    return staged


def staged_frame(ctx: Context, staged: Staged, table: Table) -> DataFrame:
    """A staged table's rows, with its declared columns."""
    schema = ", ".join(f"`{name}` {column.type}" for name, column in table.columns.items())
    if not staged.parts:
        return ctx.spark.createDataFrame([], schema)
    return delta_read.read_parts(ctx.spark, ctx.lake.gold(table.name), staged.parts, schema)


def _persons(ctx: Context, table: Table, patients: Staged, folder: Path) -> Staged:
    """Stage one row a human, made of the staged rows of `patients`."""
    place = ctx.lake.gold(table.name)
    schema = table_schema({name: column.type for name, column in table.columns.items()})
    rows = schema.empty_table()
    if table.resolve is not None and patients.parts:
        rows = persons_of([ctx.lake.gold(patients.table) / part.path for part in patients.parts], table.resolve, schema)
    parts = [delta.write_part(place, rows, {})] if rows.num_rows else []
    staged = Staged(table.name, parts, sum(part.rows for part in parts))
    write_staged(folder, staged)
    return staged


def scans(views: Mapping[str, ViewPlan]) -> list[dict[str, ViewPlan]]:
    """The views of one type, parted into those that are made in one scan.

    A view with a union has one of its own: each of its rows would carry the lists that the other views go through.
    """
    plain = {name: view for name, view in views.items() if not view.select.has_union}
    return [*([plain] if plain else []), *({name: view} for name, view in views.items() if name not in plain)]


def run(ctx: Context) -> StepResult:
    """Stage every table of gold, or nothing where silver and the declarations are as they were.

    Books, by a recount that had no part in the making: a table's rows that must be there = rows staged, and for each
    view the live resources of its type = those in the table + left out, by reason (`accounts` in the facts). Raises
    BooksError where they do not balance; nothing is staged for the gate then.
    """
    folder = ctx.lake.staging("research", "gold")
    made_from = sources(ctx.lake, ctx.catalog)
    shutil.rmtree(folder, ignore_errors=True)
    if curated_from(ctx.lake) == made_from:
        return StepResult([], {"unchanged": True, "reaches_no_table": unreached(ctx)})
    types = {name: version for name, version in made_from["silver"].items() if version >= 0}
    key = pseudonym(vault_secret(ctx.lake))
    replaced, persons = replaced_keys(ctx.lake, vault_secret(ctx.lake)), person_keys(ctx.lake)
    by_type: dict[str, dict[str, ViewPlan]] = {}
    for table in ctx.catalog.tables.values():
        if table.is_view and (name := str(ctx.catalog.views[table.name]["resource"])) in types:
            by_type.setdefault(name, {})[table.name] = compile_view(ctx.catalog.views[table.name])
    touched = {ctx.lake.silver(name): (types[name], needed(*views.values()).tree) for name, views in by_type.items()}
    shown = displays(touched, ctx.catalog.concept_maps.values())
    made_here = [table for table in ctx.catalog.tables.values() if not table.is_view]
    total, done = sum(map(len, by_type.values())) + len(made_here), 0

    def scan(of_one: tuple[str, Mapping[str, ViewPlan]]) -> dict[str, Staged]:
        nonlocal done
        name, plans = of_one
        tables = {table: ctx.catalog.tables[table] for table in plans}
        views = {table: (tables[table], plan) for table, plan in plans.items()}
        silver = delta_read.read(ctx.spark, ctx.lake.silver(name), types[name])
        folders = {table: ctx.lake.gold(table) for table in tables}
        known = Known(replaced, ctx.catalog.units, persons, shown)
        made = write_views(view_structs(silver, views, key), tables, folders, known)
        for staged in made.values():
            write_staged(folder, staged)
        done += len(tables)
        ctx.progress(done, total, ", ".join(tables))
        return made

    ctx.spark  # noqa: B018 (started here, once, before the threads share it)
    staged: dict[str, Staged] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for made in pool.map(scan, [(name, plans) for name, views in by_type.items() for plans in scans(views)]):
            staged |= made
    # The steps of a run share a Spark session, so one at a time makes views of these names.
    with ctx.lake.lock("views"):
        for table in ctx.catalog.tables.values():
            if not table.is_sql:
                if table.source == "persons":
                    patients = staged.get(table.needs[0], Staged(table.needs[0], [], 0))
                    staged[table.name] = _persons(ctx, table, patients, folder)
                    done += 1
                    ctx.progress(done, total, table.name)
                empty = staged.setdefault(table.name, Staged(table.name, [], 0))
                staged_frame(ctx, empty, table).createOrReplaceTempView(table.name)
        for table in in_order(ctx.catalog.tables):
            sql = (ctx.catalog.folder / "tables" / table.name / "table.sql").read_text(encoding="utf-8")
            staged[table.name] = _stage(ctx, ctx.spark.sql(sql), table, folder)
            staged_frame(ctx, staged[table.name], table).createOrReplaceTempView(table.name)
            done += 1
            ctx.progress(done, total, table.name)
    ctx.progress(done, total, "recount")
    books, facts = curated_books(ctx, staged, types, replaced_rows(ctx.lake))
    facts |= {"made_from": made_from}
    delta.write_json(folder / BATCH_FILE, {"batch": f"gold-{ctx.run_id}", "made_from": made_from})
    return StepResult(books, facts)
