"""`cohortlake codes`: the codes that no map knows."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from cohortlake.cli import LAKE, LakeOption, app, out
from cohortlake.core.lake import Lake


@app.command()
def codes(
    lake: LakeOption = LAKE,
    silo: Annotated[str | None, typer.Option(help="Only this silo.")] = None,
    code_map: Annotated[str | None, typer.Option("--map", help="Only this map.")] = None,
    rows: Annotated[int, typer.Option(help="Show at most so many.")] = 50,
) -> None:
    """List the codes that no map knows: the silo, the map that lacks them, and in how many records they came.

    The records keep them as they came (`_unmapped` in silver). Add them to the map, then run again.

    **Example**: `cohortlake codes --silo site_b_csv`
    """
    from spark_jobs import delta

    found = delta.rows(Lake(lake.absolute()).ops("unmapped_codes"), ["silo", "map", "code", "records"])
    listed: dict[tuple[str, str, str], int] = {}
    for row in [] if found is None else found.to_pylist():
        if silo in (None, row["silo"]) and code_map in (None, row["map"]):
            key = (row["silo"], row["map"], row["code"])
            listed[key] = listed.get(key, 0) + row["records"]
    table = Table("silo", "map", "code", "records", box=None, header_style="dim")
    table.columns[-1].justify = "right"
    for (name, of, code), records in sorted(listed.items(), key=lambda item: (-item[1], item[0]))[:rows]:
        table.add_row(name, of, code, f"{records:,}")
    out.print(table)
    more = f", {rows} shown" if len(listed) > rows else ""
    out.print(f"{len(listed):,} codes that no map knows{more}.")
