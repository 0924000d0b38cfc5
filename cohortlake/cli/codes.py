"""`cohortlake codes` and `restandardise`: the codes and units that no map knows, and the concept maps in use."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table

from cohortlake.cli import LAKE, CatalogOption, LakeOption, app, out
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake


@app.command()
def codes(
    lake: LakeOption = LAKE,
    silo: Annotated[str | None, typer.Option(help="Only this silo.")] = None,
    code_map: Annotated[str | None, typer.Option("--map", help="Only this map; `unit` for units.")] = None,
    rows: Annotated[int, typer.Option(help="Show at most so many.")] = 50,
    catalog: CatalogOption = None,
) -> None:
    """List the codes and units that no map knows: the silo, the map that lacks them, and in how many records they came.

    The records keep them as they came (`_unmapped` in silver). Add a code to the map, a unit to `catalog/units`, then
    `cohortlake restandardise` the silo. Below them stand the concept maps in use, with their versions.

    **Example**: `cohortlake codes --silo site_b_csv`
    """
    place = Lake(lake.absolute())
    listed = _summed(place, "unmapped_codes", ("silo", "map", "code"), "records", silo, code_map)
    table = Table("silo", "map", "code", "records", box=None, header_style="dim")
    table.columns[-1].justify = "right"
    for (name, of, code), records in sorted(listed.items(), key=lambda item: (-item[1], item[0]))[:rows]:
        table.add_row(name, of, code, f"{records:,}")
    out.print(table)
    more = f", {rows} shown" if len(listed) > rows else ""
    out.print(f"{len(listed):,} codes that no map knows{more}.")
    used = _summed(place, "mapped_codings", ("silo", "map", "version"), "codings", silo, code_map)
    if used:
        _show_maps(used, catalog)


def _summed(
    lake: Lake, name: str, key: tuple[str, str, str], count: str, silo: str | None, code_map: str | None
) -> Counter[tuple[str, str, str]]:
    """A table of the books, its counts summed over batches."""
    from spark_jobs import delta

    found = delta.rows(lake.ops(name), [*key, count])
    summed: Counter[tuple[str, str, str]] = Counter()
    for row in [] if found is None else found.to_pylist():
        if silo in (None, row["silo"]) and code_map in (None, row["map"]):
            summed[row[key[0]], row[key[1]], row[key[2]]] += row[count]
    return summed


def _show_maps(used: Counter[tuple[str, str, str]], catalog: Any) -> None:
    from cohortlake.core.catalog import load_catalog

    declared = load_catalog(catalog).concept_maps
    table = Table("silo", "concept map", "version", "codings added", "", box=None, header_style="dim")
    table.columns[3].justify = "right"
    for (silo, name, version), codings in sorted(used.items()):
        is_old = name not in declared or declared[name].version != version
        todo = f"not the declared one: cohortlake restandardise {silo}" if is_old else ""
        table.add_row(silo, name, version, f"{codings:,}", todo)
    out.print()
    out.print(table)


@app.command()
def restandardise(silo: str, lake: LakeOption = LAKE) -> None:
    """Have the next run make a silo's silver anew from bronze: after a mapping, a concept map or a unit changed.

    Until then silver has what the declarations said when the records came. Nothing is fetched or landed again, history
    stays, and the records are gated as they were the first time.

    **Example**: `cohortlake restandardise site_b_hl7v2`, then `cohortlake run`
    """
    from spark_jobs.batches import ask_again

    if not ask_again(Lake(lake.absolute()), silo):
        raise UsageError(f"nothing of silo {silo!r} has been published in {lake}", "`cohortlake run` does that.")
    out.print(f"The next `cohortlake run` makes the silver of {silo} anew.")
