"""An exported Great Expectations project: a lake's live tables and their suites, which plain Great Expectations runs.

```
FOLDER/data/<table>.parquet     the rows, as the checks judge them
FOLDER/gx/                      Great Expectations' file context: a data source, suites, definitions, a checkpoint
FOLDER/gx/plugins/*.py          the expectation classes that are not Great Expectations' own
FOLDER/run.py, README.md        how to run it
```

Checks across tables need the lake, and checks that are DuckDB's queries need DuckDB: both are left out, and named.
"""

from __future__ import annotations

import contextlib
import inspect
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import great_expectations as gx
from great_expectations.checkpoint import actions as gx_actions
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from cohortlake.core import sql as core_sql
from cohortlake.core.catalog import Catalog
from cohortlake.core.catalog.source import Declaration, load
from cohortlake.core.checks import gold_checks, silo_checks, strictest
from cohortlake.core.errors import CatalogError, UsageError
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.rules import FHIR_DATES
from cohortlake.core.sql import literal
from expectations import custom, own, paths
from expectations.audit import FAILED, audit_columns, audit_sql
from expectations.suites import Judged, judged, judged_items
from spark_jobs import delta
from spark_jobs.fhir_types import PARTITION

Engine = Literal["pandas", "spark"]
CHECKPOINT, SOURCE, PLUGIN = "all_tables", "lake", "cohortlake_expectations"
COUNTS = {"result_format": "BASIC", "exclude_unexpected_values": True, "partial_unexpected_count": 0}
RUN = '''"""Judge every table again. Needs great_expectations alone; run it anywhere: `python run.py`."""

import importlib
import os
import sys
from pathlib import Path

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
import great_expectations as gx

HERE = Path(__file__).resolve().parent
os.chdir(HERE)
context = gx.get_context(mode="file", project_root_dir=HERE)
sys.path.insert(0, str(HERE / "gx/plugins"))
for plugin in sorted((HERE / "gx/plugins").glob("*.py")):
    importlib.import_module(plugin.stem)
found = context.checkpoints.get("all_tables").run()
for result in found.run_results.values():
    failed = [one.expectation_config.meta["check"] for one in result.results if not one.success]
    print(f"{result.suite_name}: {len(result.results)} checks, {len(failed)} failed", *failed, sep="\\n  ")
sys.exit(0 if found.success else 1)
'''
README = """# A Great Expectations project of a lake's tables

Made by `cohortlake checks export`. In this folder, `python run.py` judges each table again with plain Great
Expectations (`pip install great_expectations=={version} pandas pyarrow`), and
`gx.get_context(mode="file", project_root_dir=".")` opens it.

{phi}The tables: {tables}.

Left out, since they need the lake or DuckDB: {left_out}.
"""


class _Actions(Declaration):
    """`actions.yaml`: what the checkpoint does after a run, each in Great Expectations' own words."""

    actions: list[dict[str, Any]] = []


@dataclass
class Exported:
    """What was exported: rows by table, checks by table, and the names of the checks that were left out."""

    rows: dict[str, int] = field(default_factory=dict)
    checks: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    name: str
    sql: str
    checks: tuple[Judged, ...]


def export(
    lake: Lake, catalog: Catalog, folder: Path, silos: Sequence[str] = (), engine: Engine = "pandas"
) -> Exported:
    """Write the project of the lake's curated tables, and of the resources of `silos`, into a new or empty folder.

    Raises UsageError where the folder holds something, or the lake has no such table; CatalogError for wrong actions.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "Name a new folder.")
    actions = own_actions()
    tables = [*_gold(lake, catalog), *(table for silo in silos for table in _silo(lake, catalog, silo))]
    if not tables:
        raise UsageError("the lake has no table to export", "Run `cohortlake run` first, or name a silo.")
    (folder / "data").mkdir(parents=True)
    with contextlib.chdir(folder):
        # Great Expectations reads a folder that is named relatively from where it is started.
        found = _write(tables, actions, engine)
    found.left_out += [name for silo in silos for name in _across(catalog, silo, found.rows)]
    _explain(folder, found, silos)
    return found


def _write(tables: Sequence[_Table], actions: Sequence[Any], engine: Engine) -> Exported:
    """Write data, suites, definitions and the checkpoint into the folder where this runs."""
    context = gx.get_context(mode="file", project_root_dir=Path.cwd())
    context.variables.progress_bars = {"globally": False}
    context.variables.save()
    _write_classes(Path("gx/plugins"))
    sources = context.data_sources
    add = sources.add_pandas_filesystem if engine == "pandas" else sources.add_spark_filesystem
    source = add(name=SOURCE, base_directory="data")
    found, definitions = Exported(), []
    with delta_connection() as connection:
        for table in tables:
            file = f"{table.name}.parquet"
            copied = connection.execute(f"COPY ({table.sql}) TO {literal(Path('data', file))} (FORMAT parquet)")
            ((found.rows[table.name],),) = copied.fetchall()
            kept = [one for one in table.checks if one.rows_sql is None]
            found.checks[table.name] = len(kept)
            found.left_out += [one.check.name for one in table.checks if one.rows_sql is not None]
            batch = source.add_parquet_asset(name=table.name).add_batch_definition_path(name="whole", path=file)
            suite = context.suites.add(gx.ExpectationSuite(table.name, expectations=[_anew(one) for one in kept]))
            definition = gx.ValidationDefinition(name=table.name, data=batch, suite=suite)
            definitions.append(context.validation_definitions.add(definition))
    checkpoint = gx.Checkpoint(
        name=CHECKPOINT, validation_definitions=definitions, actions=list(actions), result_format=dict(COUNTS)
    )
    context.checkpoints.add(checkpoint)
    return found


def own_actions() -> list[Any]:
    """The actions that `actions.yaml` declares; none where there is no such file. Raises CatalogError naming it."""
    path = own.folder() / "actions.yaml"
    if not path.exists():
        return []
    known = {
        one.__fields__["type"].default: one
        for one in _classes(gx_actions)
        if issubclass(one, gx_actions.ValidationAction) and "type" in one.__fields__
    }
    made = []
    for place, given in enumerate(load(path, _Actions).actions):
        kind = known.get(given.get("type"))
        if kind is None:
            expected = ", ".join(sorted(str(name) for name in known if name))
            raise CatalogError(f"{path}: actions.{place}: `type` is {given.get('type')!r}; expected one of {expected}")
        try:
            made.append(kind(**given))
        except Exception as error:
            raise CatalogError(f"{path}: actions.{place}: {' '.join(str(error).split())}", own.HINT) from error
    return made


def _classes(module: Any) -> list[Any]:
    return [one for one in vars(module).values() if inspect.isclass(one)]


def _anew(one: Judged) -> Any:
    """An expectation as one that belongs to no other suite."""
    given = one.expectation.configuration
    return ExpectationConfiguration(
        type=given.type, kwargs=given.kwargs, meta=given.meta, notes=given.notes, description=given.description,
        severity=given.severity,
    ).to_domain_obj()  # fmt: skip


def _gold(lake: Lake, catalog: Catalog) -> Iterator[_Table]:
    for name, declared in catalog.tables.items():
        if delta.exists(lake.gold(name)):
            checks = [judged(check, check.element) for check in gold_checks(declared) if not check.is_fact]
            sql = f"SELECT * FROM delta_scan({literal(lake.gold(name))})"  # noqa: S608
            yield _Table(f"gold.{name}", sql, (*checks, *own.gold_checks(declared)))


def _silo(lake: Lake, catalog: Catalog, silo: str) -> Iterator[_Table]:
    """A silo's live resources, flattened as the gate flattens staged ones."""
    if silo not in catalog.silos:
        raise UsageError(f"there is no silo {silo}", f"There are {', '.join(catalog.silos)}.")
    for name, tree in catalog.resources.items():
        table = lake.silver(name)
        if not delta.exists(table):
            continue
        checks = [one for one in silo_checks(catalog, silo, [name]) if one.table == name and not one.is_fact]
        items = [item for item in audit_columns(strictest(checks), tree) if not item.is_across]
        brought = own.silo_checks(silo, tree)
        live = f"SELECT * FROM delta_scan({literal(table)}) WHERE {PARTITION} = {literal(silo)}"  # noqa: S608
        flat = audit_sql(items, {FAILED: "CAST(NULL AS VARCHAR[])"}, brought.columns)
        sql = f"WITH staged AS ({live}) {flat}"
        with delta_connection() as connection:
            if connection.execute(f"SELECT 1 FROM ({live}) LIMIT 1").fetchall():  # noqa: S608
                yield _Table(f"{silo}.{name}", sql, (*judged_items(items), *brought.checks))


def _across(catalog: Catalog, silo: str, rows: dict[str, int]) -> Iterator[str]:
    for name, tree in catalog.resources.items():
        if f"{silo}.{name}" in rows:
            checks = [one for one in silo_checks(catalog, silo, [name]) if one.table == name and not one.is_fact]
            yield from (item.check.name for item in audit_columns(strictest(checks), tree) if item.is_across)


def _write_classes(folder: Path) -> None:
    """The classes of this project as one module that needs none of it, and those that users brought as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    text = inspect.getsource(custom)
    needed = [
        f"FHIR_DATES = {FHIR_DATES!r}",
        inspect.getsource(core_sql.identifier),
        inspect.getsource(paths.first_day),
    ]
    for line in ("from cohortlake.core.rules import FHIR_DATES\n", "from cohortlake.core.sql import identifier\n"):
        text = text.replace(line, "")
    text = text.replace("from expectations.paths import first_day\n", "\n\n".join(needed))
    (folder / f"{PLUGIN}.py").write_text(text, encoding="utf-8")
    for path in sorted((own.folder() / "classes").glob("*.py")):
        shutil.copy(path, folder / path.name)


def _explain(folder: Path, found: Exported, silos: Sequence[str]) -> None:
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    told = README.format(
        version=gx.__version__,
        tables=", ".join(f"{name} ({rows:,} rows)" for name, rows in found.rows.items()),
        left_out="; ".join(found.left_out) or "nothing",
        phi="**It holds patients' data as they came: keep it in the phi zone.** " if silos else "",
    )
    (folder / "README.md").write_text(told, encoding="utf-8")
