"""`cohortlake run` and `cohortlake plan`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from cohortlake.cli import DATA, LAKE, CatalogOption, DataOption, LakeOption, app, out
from cohortlake.plan import Step, load_plan


class _Bars:
    """A progress bar a step on a terminal; a line a step elsewhere."""

    def __init__(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<34}"),
            BarColumn(24),
            TextColumn("{task.fields[what]}"),
        )
        self.progress = Progress(*columns, TimeElapsedColumn(), console=out, disable=not sys.stdout.isatty())
        self.tasks: dict[str, TaskID] = {}

    def on_step(self, step: Step, status: str, record: dict[str, Any]) -> None:
        if status == "waiting":
            out.print("another run holds this lake; waiting for it to end (--no-wait refuses instead)")
        elif status == "running":
            self.tasks[step.name] = self.progress.add_task(step.name, total=None, what="")
        else:
            self._end(step, status, record)

    def _end(self, step: Step, status: str, record: dict[str, Any]) -> None:
        rows = sum(book["rows_out"] for book in record.get("books", []))
        held = sum(book["quarantined"] for book in record.get("books", []))
        said = f"{rows:,} rows" + (f", {held:,} quarantined" if held else "") if record.get("books") else "nothing new"
        if status != "done":
            said = "failed" if status == "failed" else "skipped"
        if step.name in self.tasks:
            self.progress.update(self.tasks[step.name], total=1, completed=1, what=said)
        if self.progress.disable:
            seconds = f"{record['seconds']:6.1f} s" if "seconds" in record else " " * 8
            out.print(f"{status:<8} {step.name:<34} {seconds}  {said}")

    def on_progress(self, step: Step, done: int, total: int, what: str) -> None:
        if step.name in self.tasks:
            self.progress.update(self.tasks[step.name], total=total or None, completed=done, what=what)


@app.command()
def run(
    lake: LakeOption = LAKE,
    data: DataOption = DATA,
    catalog: CatalogOption = None,
    only: Annotated[str | None, typer.Option(help="Only this silo, `gold`, or cohort.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run silos whose protocol is not signed off.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for another run on this lake, or refuse.")] = True,
) -> None:
    """Run the whole plan in this process: silos in, a curated lake and training sets out.

    Run it again after new files came: only they are taken up. A run that was killed is simply run again.

    **Examples**

    `cohortlake run` (the bundled hospitals into ./lake)

    `cohortlake run --lake /srv/lake --data /srv/incoming`

    `cohortlake run --only site_b_csv`
    """
    from cohortlake.run import print_summary, run_plan

    bars = _Bars()
    with bars.progress:
        run_id = run_plan(
            lake=lake, data=data, catalog=catalog, force=force, wait=wait,
            only=lambda step: only in (None, step.scope), on_step=bars.on_step, progress=bars.on_progress,
        )  # fmt: skip
    print_summary(run_id, lake=lake)


@app.command()
def plan(catalog: CatalogOption = None) -> None:
    """Show the steps that the catalog gives, in order, with what each needs; checks every declaration.

    **Example**

    `cohortlake plan --catalog my/catalog`
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("step", "DAG", "needs", "reads", "writes"):
        table.add_column(heading)
    for step in load_plan(catalog):
        table.add_row(step.name, step.stage, ", ".join(step.needs), ", ".join(step.inputs), ", ".join(step.outputs))
    out.print(table)
