"""`cohortlake export fhir`: silver as FHIR files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from cohortlake.cli import LAKE, AsOfOption, LakeOption, app, out
from cohortlake.core.lake import Lake

exports = typer.Typer(help="Give the lake's records back in a standard form.", no_args_is_help=True)
app.add_typer(exports, name="export")


@exports.command()
def fhir(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to; it is made.")],
    lake: LakeOption = LAKE,
    silo: Annotated[list[str] | None, typer.Option(help="Only this silo; may be given again.")] = None,
    only: Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this resource type; may recur.")] = None,
    zipped: Annotated[bool, typer.Option("--gzip", help="Write .ndjson.gz.")] = False,
    at: AsOfOption = None,
) -> None:
    """Write silver's resources as FHIR R4 bulk NDJSON: a file a resource type, a resource a line.

    What came in as FHIR comes out as it was written, but for the order of its elements. These files hold patients'
    data with names and dates: treat them as the phi zone. No Spark is started.

    **Examples**

    `cohortlake export fhir -o outbox`

    `cohortlake export fhir -o outbox --silo site_b_csv -t Patient -t Encounter --gzip`

    `cohortlake export fhir -o outbox --as-of 2026-11-02T08:00:00Z`
    """
    from cohortlake.core.export import export
    from cohortlake.core.history import as_of

    columns = (SpinnerColumn(), TextColumn("{task.description:<26}"), BarColumn(24), TextColumn("{task.fields[what]}"))
    with Progress(*columns, console=out, disable=not sys.stdout.isatty(), transient=True) as bars:
        task = bars.add_task("export", total=None, what="")
        counts = export(
            Lake(lake.absolute()), output, silos=silo or (), only=only or (), zipped=zipped,
            at=as_of(at) if at else None,
            progress=lambda done, total, what: bars.update(task, completed=done, total=total, what=what),
        )  # fmt: skip
    for name, count in counts.items():
        out.print(f"{count:>10,}  {name}")
    out.print(f"{sum(counts.values()):>10,}  resources in {output}")
