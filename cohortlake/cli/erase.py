"""`cohortlake erase`: take a person out of every table, every version and quarantine, and prove it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cohortlake.cli import LAKE, CatalogOption, LakeOption, app, out
from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.persons.ids import Key

if TYPE_CHECKING:
    from spark_jobs.erase_plan import Plan


@app.command()
def erase(
    targets: Annotated[list[str] | None, typer.Argument(metavar="PERSON|SILO/ID…", help="Whom.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="The request, by its number. It is kept.")] = "",
    by: Annotated[str, typer.Option("--by", help="The role that asks for it. It is kept.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and touch nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    only: Annotated[bool, typer.Option("--only", help="The named records, not those that are linked to them.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an erasure that was stopped.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="End it though the proof finds something, and say so.")
    ] = False,
    listed: Annotated[bool, typer.Option("--list", help="List what was erased.")] = False,
    lake: LakeOption = LAKE,
    catalog: CatalogOption = None,
) -> None:
    """Erase a person: from bronze to releases, in every version, with a proof. It cannot be undone.

    All records that are linked to the one named go. What would go is shown first. Erased records stay out: a later
    delivery that brings them again is booked as deleted.

    **Examples**

    `cohortlake erase site_b_csv/79ec7229-ea19-5f1e-9db0-a1d880710970 --dry-run`

    `cohortlake erase 95d530ef91f9ef0608e0830f126eb17f --reason "request 2026-117" --by "data protection officer"`

    `cohortlake erase --resume`

    `cohortlake erase --list`
    """
    from spark_jobs.erase import held, settle
    from spark_jobs.erase_look import go_on, make_plan
    from spark_jobs.erase_plan import read_journal

    place, declared = Lake(lake.absolute()), load_catalog(catalog)
    if listed:
        _list(place)
        return
    if not place.root.is_dir():
        raise UsageError(f"there is no lake {lake}", "Name one with --lake.")
    with held(place, declared):
        noted = read_journal(place)
        if noted and not resume:
            raise UsageError(
                f"erasure {noted.erasure} was stopped before its end", "End it: `cohortlake erase --resume`."
            )
        if resume:
            if not noted:
                raise UsageError("no erasure was stopped", "Name a person's id, or a record as SILO/ID.")
            settle(place)
            plan = go_on(place, declared, noted, _tell)
        else:
            if not targets:
                raise UsageError("nobody is named", "Name a person's id, or a record as SILO/ID.")
            if not dry_run and not (reason and by):
                raise UsageError(
                    "an erasure has a reason", "Give the request's number with --reason, your role with --by."
                )
            at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            records = _records(place, declared, targets, only)
            plan = make_plan(place, declared, records, reason=reason, by=by, at=at, tell=_tell)
        _show(place, plan)
        if dry_run:
            out.print("Nothing was touched.", style="dim")
            return
        if not (yes or resume):
            typer.confirm("Erase this for good?", abort=True)
        _carry_out(place, plan, accept)


def _tell(what: str) -> None:
    if out.is_terminal:
        out.print(f"[dim]{what:<70}[/]", end="\r")


def _records(lake: Lake, catalog: Catalog, targets: list[str], only: bool) -> list[Key]:
    """The records that are meant: those named, and (without `only`) those of the same persons."""
    from spark_jobs.link_tables import live, read_members

    now = live(read_members(lake))
    found: set[Key] = set()
    for target in targets:
        silo, slash, patient = target.partition("/")
        if slash and silo not in catalog.silos:
            raise UsageError(f"there is no silo {silo}", f"Silos are {', '.join(catalog.silos)}.")
        person = now.get((silo, patient)) if slash else target
        mine = {key for key, of in now.items() if of == person}
        if slash and (only or not mine):
            mine = {(silo, patient)}
        if not mine:
            raise UsageError(f"there is no person {target}", "Give the whole id, or a record as SILO/ID.")
        found |= mine
    return sorted(found)


def _show(lake: Lake, plan: Plan) -> None:
    from rich.table import Table

    out.print(f"[bold]erasure {plan.erasure}[/]: {len(plan.records)} records of {len(plan.names)} silos")
    for silo, patient in plan.records:
        out.print(f"  {silo}/{patient}")
    table = Table("table", "rows", "files", "of versions", header_style="bold", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    counts = plan.counts(lake)
    for name, rows, files, versions in counts:
        table.add_row(name, f"{rows:,}", f"{files:,}", f"{versions:,}")
    table.add_row(
        "in all", f"{sum(rows for _, rows, *_ in counts):,}", f"{sum(files for *_, files, _ in counts):,}", ""
    )
    out.print(table)
    for name in plan.releases:
        out.print(f"{name} is withdrawn")
    if plan.copies:
        out.print(f"{len(plan.copies)} files held whole in quarantine are removed")
    if plan.several:
        out.print(f"[bold]{plan.several:,} rows name other people too[/]: they go whole")
    if plan.shared:
        out.print(
            f"{plan.shared:,} traits (a number, a phone) are another patient's too: the proof leaves them out. Is it"
        )
        out.print(
            "the same person under another record? `cohortlake person explain` shows who is linked, and who is not."
        )


def _carry_out(lake: Lake, plan: Plan, accept: bool) -> None:
    from spark_jobs.erase import erase as carry_out

    record = carry_out(lake, plan, accept=accept, tell=_tell)
    rows = sum(count for _, count in record["rows_by_table"])
    out.print(f"erased {rows:,} rows of {len(record['rows_by_table'])} tables, in every version")
    searched = f"{record['files_searched']:,} files ({record['texts_searched']:,} texts) were searched"
    if record["is_proven"]:
        out.print(f"proof: {searched} for {record['traits_searched']:,} traits, none was found")
    else:
        out.print(f"[bold]not proven[/]: {searched}; what was found is in the record")
    out.print("`cohortlake run` makes anew what was made of these rows.", style="dim")


def _list(lake: Lake) -> None:
    from rich.table import Table

    from spark_jobs.erase import records

    table = Table("erasure", "done", "reason", "by", "rows", "files searched", "proven", header_style="bold", box=None)
    for row in records(lake):
        rows = sum(count for _, count in row["rows_by_table"])
        done = row["done_at"].isoformat(timespec="seconds")
        proven = "yes" if row["is_proven"] else f"no: {len(row['found'])} files"
        table.add_row(row["erasure"], done, row["reason"], row["by"], f"{rows:,}", f"{row['files_searched']:,}", proven)
    out.print(table)
