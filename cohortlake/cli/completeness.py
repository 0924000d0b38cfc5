"""`cohortlake completeness`: what of each silo's columns is there, what is hollow, and who needs it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

import typer
from rich.table import Table

from cohortlake.cli import LAKE, CatalogOption, LakeOption, app, out
from cohortlake.core.completeness.cells import Cell
from cohortlake.core.completeness.kept import FINDINGS, Judged, Kept, newest, read_kept
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal


@app.command()
def completeness(
    lake: LakeOption = LAKE,
    silo: Annotated[str | None, typer.Option(help="Only this silo.")] = None,
    table: Annotated[
        str | None, typer.Option(help="Only this table of gold, or this resource type: then silver, counted anew.")
    ] = None,
    deliveries: Annotated[bool, typer.Option("--deliveries", help="Each silo's last delivery, not gold.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Every kept profile, oldest first.")] = False,
    rows: Annotated[int, typer.Option(help="Show at most so many.")] = 60,
    catalog: CatalogOption = None,
) -> None:
    """Show how complete the columns of each silo are; what is hollow stands first.

    A value is **present**, **absent for a reason** (FHIR's data-absent-reason: unknown, masked, not-asked, ...), or
    **null**. **Known** are the rows whose value can be used: present, and of a code in the system that it should be in.
    **Hollow** is a column that is empty, collapsed against earlier runs, or below a floor; `needed by` says what cannot
    be told without it. A silo says in `completeness:` of its `silo.yaml` what its floors and known gaps are.

    **Examples**

    `cohortlake completeness`: gold, as the last run made it

    `cohortlake completeness --silo site_c_ccda --table encounters --history`: one table over the runs

    `cohortlake completeness --table Encounter`: the elements of a resource type in silver

    `cohortlake completeness --deliveries`: what the last delivery of each silo held, passed by its gate or not
    """
    place = Lake(lake.absolute())
    if table and table[:1].isupper() and not deliveries and not history:
        _show([Judged(cell) for cell in _silver(place, table, catalog)], silo, rows)
        return
    is_delivery = deliveries or bool(table and table[:1].isupper())
    where = [f"zone = {literal('delivery' if is_delivery else 'gold')}"]
    where += [f"silo = {literal(silo)}"] if silo else []
    where += [f'"table" = {literal(table)}'] if table else []
    kept = read_kept(place, " AND ".join(where))
    if not kept:
        raise UsageError(
            f"no profile is kept in {place.root} of what was asked for", "`cohortlake run` makes one a delivery."
        )
    if history:
        _show_history(kept, rows)
    else:
        _show([one.judged for one in newest(kept)], None, rows)


def _silver(lake: Lake, resource: str, catalog: CatalogOption) -> list[Cell]:
    from cohortlake.core.catalog import load_catalog
    from cohortlake.core.completeness.live import profile_silver

    cells = profile_silver(lake, load_catalog(catalog), resource)
    if not cells:
        raise UsageError(
            f"silver has no {resource} in {lake.root}", "`cohortlake completeness --deliveries` names all."
        )
    return cells


def _order(one: Judged) -> tuple[object, ...]:
    return (FINDINGS.index(one.finding), not one.needed_by, one.cell.known_percent, one.cell.name, one.cell.silo)


def _show(found: list[Judged], silo: str | None, rows: int) -> None:
    listed = sorted((one for one in found if silo in (None, one.cell.silo)), key=_order)
    made = _table("column", *NUMBERS, "notes")
    for one in listed[:rows]:
        made.add_row(_name(one.cell), *_numbers(one.cell), _notes(one))
    out.print(made)
    hollow = sum(one.is_hollow for one in found)
    out.print(f"[dim]{len(listed):,} columns of silos, {hollow:,} hollow; {min(rows, len(listed)):,} shown[/]")


def _show_history(kept: list[Kept], rows: int) -> None:
    made = _table("column", *NUMBERS, "notes", "run")
    for one in kept[-rows:]:
        gate = "passed" if one.is_passed else "stopped"
        cell = one.judged.cell
        made.add_row(_name(cell), *_numbers(cell), _notes(one.judged), f"{one.at:%Y-%m-%d %H:%M}\n{gate}")
    out.print(made)
    out.print(f"[dim]{len(kept):,} cells, the last {min(rows, len(kept)):,} shown[/]")


NUMBERS = ("rows", "known", "null", "mapped")


def _table(*columns: str) -> Table:
    made = Table(*columns, box=None, header_style="dim")
    for column in made.columns:
        column.overflow = "fold"
        if column.header in NUMBERS:
            # A number that is cut is another number.
            column.justify, column.no_wrap = "right", True
    made.columns[0].min_width = 26
    return made


def _name(cell: Cell) -> str:
    return f"{cell.name}\n[dim]{cell.silo}[/]"


def _numbers(cell: Cell) -> list[str]:
    return [
        f"{cell.rows:,}",
        _share(cell.known_percent, cell.known),
        f"{cell.nulls:,}",
        "" if cell.mapped_percent is None else _share(cell.mapped_percent, cell.mapped or 0),
    ]


def _share(percent: float, rows: int) -> str:
    """Percent that never rounds some to none, or most to all."""
    if rows and percent < 0.1:
        return "< 0.1 %"
    return "> 99.9 %" if 99.9 < percent < 100 else f"{percent:.1f} %"


def _notes(one: Judged) -> str:
    """What is found of a column, why values are absent, and who needs it and for how many things: a line each."""
    users = Counter(re.split(r"[. ]", need)[0] for need in one.needed_by.split(", ") if need)
    needs = ", ".join(f"{name} ({number})" for name, number in users.items())
    absent = ", ".join(f"{reason} {number:,}" for reason, number in one.cell.absent.items())
    lines = [_found(one), f"absent: {absent}" if absent else "", f"[dim]needed by {needs}[/]" if needs else ""]
    return "\n".join(line for line in lines if line)


def _found(one: Judged) -> str:
    if not one.finding:
        return ""
    style = {"fail": "bold red", "warn": "yellow"}.get(one.severity, "dim")
    asked = f", {one.floor_percent:.4g} % asked" if one.floor_percent is not None else ""
    return f"[{style}]{one.finding}{asked}[/]"
