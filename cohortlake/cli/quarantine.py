"""`cohortlake quarantine`: what was rejected, why, where its raw form lies; and replays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from cohortlake.cli import LAKE, LakeOption, app, out
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake

commands = typer.Typer(no_args_is_help=False, invoke_without_command=True, rich_markup_mode="markdown")
app.add_typer(commands, name="quarantine", help="Show what was rejected, why and where it lies; replay it after a fix.")

SiloOption = Annotated[str | None, typer.Option("--silo", help="Only this silo.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only reasons that contain this text.")]


def _rows(lake: Lake, silo: str | None, reason: str | None, status: str | None = "open") -> list[dict[str, Any]]:
    from spark_jobs import delta, quarantine

    found = delta.rows(lake.quarantine, columns=[name for name in quarantine.SCHEMA.names if name != "payload"])
    rows = [] if found is None else found.to_pylist()
    return [
        row
        for row in rows
        if silo in (None, row["silo"])
        and status in (None, row["status"])
        and (reason is None or any(reason.lower() in name.lower() for name in row["reasons"]))
    ]


@commands.callback()
def summary(
    context: typer.Context,
    lake: LakeOption = LAKE,
    silo: SiloOption = None,
    reason: ReasonOption = None,
) -> None:
    """Count the open rows by silo, feed and reason.

    **Examples**

    `cohortlake quarantine`

    `cohortlake quarantine list --reason "before birth"`

    `cohortlake quarantine show 3fa2c1d9e0b14c77`

    `cohortlake quarantine replay --silo site_b_csv && cohortlake run`
    """
    if context.invoked_subcommand:
        return
    from rich.table import Table

    rows = _rows(Lake(lake.absolute()), silo, reason)
    counts = Counter((r["silo"], r["feed"] or "-", r["step"], name) for r in rows for name in r["reasons"])
    table = Table("silo", "feed", "step", "reason", "records", header_style="bold", box=None, pad_edge=False)
    table.columns[-1].justify = "right"
    for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(*key, f"{count:,}")
    out.print(table)
    out.print(f"{len(rows):,} records are held. `cohortlake quarantine list` names them.", style="dim")


@commands.command("list")
def list_rows(
    lake: LakeOption = LAKE,
    silo: SiloOption = None,
    reason: ReasonOption = None,
    status: Annotated[str, typer.Option(help="open, replay, released, or all.")] = "open",
    rows: Annotated[int, typer.Option(help="Show at most so many.")] = 50,
) -> None:
    """List held records: id, every reason, and the place of the raw record (file, byte offset)."""
    from rich.table import Table

    found = _rows(Lake(lake.absolute()), silo, reason, None if status == "all" else status)
    table = Table("id", "silo", "feed", "file", "offset", "reasons", header_style="bold", box=None, pad_edge=False)
    for row in found[:rows]:
        place = "whole file" if row["offset"] < 0 else str(row["offset"])
        why = "; ".join(row["reasons"]) + (f" ({row['detail']})" if row["detail"] else "")
        table.add_row(row["quarantine_id"], row["silo"], row["feed"], row["file"] or row["file_hash"][:12], place, why)
    out.print(table)
    if len(found) > rows:
        out.print(f"… {len(found) - rows:,} more; --rows shows more", style="dim")


@commands.command()
def show(quarantine_id: str, lake: LakeOption = LAKE) -> None:
    """Show one held record: why, where, and its raw form. It may hold patient data: mind who looks on."""
    from spark_jobs.quarantine import raw_record

    place = Lake(lake.absolute())
    found = [row for row in _rows(place, None, None, None) if row["quarantine_id"].startswith(quarantine_id)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} rows have an id that starts with {quarantine_id!r}", "See `cohortlake quarantine list`."
        )
    row = found[0]
    for name in (
        "silo",
        "feed",
        "step",
        "status",
        "resource_type",
        "resource_id",
        "file",
        "file_hash",
        "offset",
        "batch",
    ):
        out.print(f"[bold]{name:>14}[/]  {row[name] if row[name] is not None else ''}")
    out.print(f"[bold]{'reasons':>14}[/]  " + "\n                ".join(row["reasons"]))
    if row["detail"]:
        out.print(f"[bold]{'detail':>14}[/]  {row['detail']}")
    raw = raw_record(place, row)
    out.print(f"[bold]{'raw':>14}[/]  ", end="")
    out.print(f"a copy of the file: {raw}" if isinstance(raw, Path) else raw, markup=False)


@commands.command()
def replay(
    lake: LakeOption = LAKE,
    silo: SiloOption = None,
    reason: ReasonOption = None,
    quarantine_id: Annotated[str | None, typer.Option("--id", help="Only the row with this id.")] = None,
) -> None:
    """Mark held records to be tried again by the next run: after a mapping, a check or a protocol was mended."""
    from spark_jobs.quarantine import REPLAY, set_status

    place = Lake(lake.absolute())
    rows = _rows(place, silo, reason)
    ids = [r["quarantine_id"] for r in rows if quarantine_id is None or r["quarantine_id"].startswith(quarantine_id)]
    count = set_status(place, ids, REPLAY)
    out.print(f"{count:,} records will be tried again by the next `cohortlake run`.")
