"""`cohortlake audit`: what a lake says, held against a recount that shares no code with what made it."""

from __future__ import annotations

from typing import Annotated

import typer

from cohortlake.cli import DATA, LAKE, CatalogOption, DataOption, LakeOption, app, err, out
from cohortlake.core.errors import BooksError, UsageError
from cohortlake.core.lake import Lake

commands = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(commands, name="audit", help="Hold what a lake says against a recount that had no part in making it.")


@commands.callback()
def group() -> None:
    """Hold what a lake says against a recount that had no part in making it."""


@commands.command()
def books(
    lake: LakeOption = LAKE,
    data: DataOption = DATA,
    catalog: CatalogOption = None,
    every: Annotated[bool, typer.Option("--all", help="Show what agrees too, not only where it does not.")] = False,
) -> None:
    """Recount a whole lake, from the source files to the releases, and say where it does not agree.

    DuckDB and Python read the files themselves: no Spark is started, nothing is written, and no step's own numbers are
    believed. At each boundary the rows that came are held against those that are there and those that are away for a
    reason (quarantined, superseded, deleted, not mapped, left out by a `where`), with digests of their content:

    * **file → bronze**: each record's bytes, cut from the source by other code (`--data` names the sources);
    * **bronze → silver**: each record by its place; FHIR records element by element;
    * **silver → gold**: each view's rows and each SQL table once more, by another engine; every live resource of a type
      is in the table or left out for a reason;
    * **staged → release**: each release's files and rows.

    Ends with 0 where all agrees, with 21 where something does not.

    **Examples**

    `cohortlake audit books`

    `cohortlake audit books --lake /srv/lake --data /srv/incoming --all`
    """
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Table

    from cohortlake.core.catalog import load_catalog
    from cohortlake.core.recount.lake import recount_lake, unreached

    place, declared = Lake(lake.absolute()), load_catalog(catalog)
    if not (place.root / "phi").is_dir():
        raise UsageError(f"there is no lake in {place.root}", "Make one with `cohortlake run`, or name a --lake.")
    sources = data.absolute() if data.is_dir() else None
    with Progress(TextColumn("{task.description}"), BarColumn(), console=err, transient=True) as bar:
        task = bar.add_task("recount", total=None)
        found = list(
            recount_lake(
                place, declared, sources,
                lambda done, total, what: bar.update(task, completed=done, total=total, description=what or "recount"),
            )
        )  # fmt: skip
    shown = [one for one in found if every or not one.is_agreed]
    if shown:
        table = Table("boundary", "what", "came", "out", "away", "", header_style="bold", box=None, pad_edge=False)
        for column in table.columns[2:4]:
            column.justify = "right"
        for column in table.columns[:2]:
            column.overflow = "fold"
        for one in shown:
            away = "; ".join(f"{count:,} {name}" for name, count in one.classes.items() if count)
            verdict = "[green]agrees[/]" if one.is_agreed else f"[red]{'; '.join(one.trouble)}[/]"
            table.add_row(one.boundary, one.table, f"{one.came:,}", f"{one.out:,}", away, verdict)
        out.print(table)
    for note in dict.fromkeys(f"{one.table}: {note}" for one in found for note in one.notes):
        out.print(note, style="dim", markup=False)
    if sources is None:
        out.print(f"{data} is not there, so the source files were not recounted.", style="dim")
    if nowhere := unreached(place, declared):
        told = ", ".join(f"{name} ({rows:,} live rows)" for name, rows in nowhere.items())
        out.print(f"Reaches no gold table: {told}.", style="dim", markup=False)
    wrong = [one for one in found if not one.is_agreed]
    if wrong:
        raise BooksError(
            f"{len(wrong)} of {len(found)} recounts do not agree",
            "Restore what was changed, or make it anew from what is left of it: `cohortlake restandardise SILO`.",
        )
    out.print(f"{len(found):,} recounts, and all agree.")
