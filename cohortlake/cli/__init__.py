"""The command line: `cohortlake --help` teaches it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cohortlake.core.errors import CohortlakeError

app = typer.Typer(
    name="cohortlake",
    help="Siloed clinical data in, trusted cohorts out.",
    epilog="Exit codes: 0 done · 2 usage · 10 catalog · 11 unsigned protocol · 12 source folder · 13 view · "
    "14 conformance · 15 records quarantined · 20 gate failed · 21 books do not balance · 22 erasure not proven · "
    "30 lake busy · 31 lake cannot be written · 1 anything else.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
err = Console(stderr=True, highlight=False, soft_wrap=True)

LakeOption = Annotated[Path, typer.Option("--lake", envvar="COHORTLAKE_LAKE", help="The lake's folder.")]
DataOption = Annotated[
    Path, typer.Option("--data", envvar="COHORTLAKE_DATA_FOLDER", help="The folder that holds the silos' folders.")
]
CatalogOption = Annotated[
    Path | None,
    typer.Option("--catalog", envvar="COHORTLAKE_CATALOG", help="The catalog folder [default: the project's]."),
]
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME|VERSION", help="As it was at a time (UTC) or in a version of each table."),
]
PROJECT = Path(__file__).parent.parent.parent
LAKE, DATA = Path("lake"), PROJECT / "data"


def main() -> None:
    """Run the command line; an error of ours is told in two lines, with its own exit code."""
    from cohortlake.cli import (  # noqa: F401 (they register commands)
        audit,
        checks,
        codes,
        completeness,
        convert,
        doctor,
        erase,
        export,
        fetch,
        look,
        new,
        person,
        person_conflicts,
        person_eval,
        quarantine,
        run,
        training,
        view,
    )

    try:
        app(standalone_mode=True)
    except CohortlakeError as error:
        for line in str(error).split("\n"):
            err.print(f"[bold red]error:[/] {line}", markup=True)
        if error.hint:
            err.print(f"[dim]→ {error.hint}[/]")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("stopped; run again to go on: what was published is whole")
        sys.exit(130)
