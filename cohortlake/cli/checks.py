"""`cohortlake checks`: the expectations that users brought, and an exported Great Expectations project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from cohortlake.cli import LAKE, CatalogOption, LakeOption, app, out
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake

checks = typer.Typer(
    help="Great Expectations: suites of your own, and a project that runs elsewhere. "
    "How a suite is written: `expectations/own/README.md`.",
    no_args_is_help=True,
)
app.add_typer(checks, name="checks")
Scope = Annotated[str, typer.Argument(help="A silo, `every_silo`, or `gold`.")]
OfTable = Annotated[str, typer.Argument(help="A resource type, or a curated table.")]
EXAMPLE = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "COLUMN"},
    "description": "COLUMN is there",
    "meta": {"severity": "warn", "kind": "completeness"},
}


@checks.command("list")
def listed(catalog: CatalogOption = None) -> None:
    """Read every suite and class of your own, say what is wrong with one, and list them.

    **Example**: `cohortlake checks list`
    """
    from cohortlake.core.catalog import load_catalog
    from expectations import own

    suites = own.own_suites()
    own.check_places(load_catalog(catalog) if catalog else load_catalog())
    table = Table("scope", "table", "check", "severity", "expectation", box=None, header_style="dim")
    for suite in suites:
        for one in suite.checks:
            told = one.expectation.configuration.type
            table.add_row(suite.scope, suite.table, one.check.name, one.check.severity, told)
    out.print(table)
    out.print(f"{sum(len(suite.checks) for suite in suites)} checks in {len(suites)} suites of {own.folder()}")


@checks.command()
def new(scope: Scope, table: OfTable, name: Annotated[str, typer.Argument(help="The suite's name.")]) -> None:
    """Write a first suite for a resource type of a silo, or for a curated table.

    **Example**: `cohortlake checks new gold patients ages`
    """
    from expectations import own

    path = own.folder() / "suites" / scope / table / f"{name}.json"
    if path.exists():
        raise UsageError(f"{path} exists", "Choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": name, "expectations": [EXAMPLE]}, indent=2) + "\n", encoding="utf-8")
    out.print(f"wrote {path}: name a column in it, then `cohortlake checks list`")


@checks.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    lake: LakeOption = LAKE,
    silo: Annotated[list[str] | None, typer.Option(help="Also this silo's resources; may be given again.")] = None,
    engine: Annotated[Literal["pandas", "spark"], typer.Option(help="What runs the suites there.")] = "pandas",
    catalog: CatalogOption = None,
) -> None:
    """Write a Great Expectations project of the curated tables, which plain Great Expectations runs: `python run.py`.

    With `--silo` it holds that silo's resources as they came, too: treat it as the phi zone then.

    **Example**: `cohortlake checks export expectations_project`
    """
    from cohortlake.core.catalog import load_catalog
    from expectations.export import export as write

    found = write(
        Lake(lake.absolute()),
        load_catalog(catalog) if catalog else load_catalog(),
        folder.absolute(),
        silo or (),
        engine,
    )
    for name, rows in found.rows.items():
        out.print(f"{rows:>10,} rows  {found.checks[name]:>4} checks  {name}")
    if found.left_out:
        out.print(f"{len(found.left_out)} checks are left out: {folder}/README.md names them")
    out.print(f"python {folder}/run.py")
