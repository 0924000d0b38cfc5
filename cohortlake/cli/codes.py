"""`cohortlake codes` and `restandardise`: the codes and units that no map knows, and the concept maps in use."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
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
    `cohortlake restandardise` the silo. Below them stand the concept maps in use, with their versions, and how many of
    gold's codes are in another system than the table prefers. The codes are values, so this reads the phi zone.

    **Example**: `cohortlake codes --silo site_b_csv`
    """
    place = Lake(lake.absolute())
    listed = _summed(place.unmapped_codes, ("silo", "map", "code"), "records", silo, code_map)
    table = Table("silo", "map", "code", "records", box=None, header_style="dim")
    table.columns[-1].justify = "right"
    for (name, of, code), records in sorted(listed.items(), key=lambda item: (-item[1], item[0]))[:rows]:
        table.add_row(name, of, code, f"{records:,}")
    out.print(table)
    more = f", {rows} shown" if len(listed) > rows else ""
    out.print(f"{len(listed):,} codes that no map knows{more}.")
    used = _summed(place.ops("mapped_codings"), ("silo", "map", "version"), "codings", silo, code_map)
    if used:
        _show_maps(used, catalog)
    if code_map is None:
        _show_other_systems(place, silo, catalog)


def _summed(
    place: Path, key: tuple[str, str, str], count: str, silo: str | None, code_map: str | None
) -> Counter[tuple[str, str, str]]:
    """A table's counts, summed over batches."""
    from spark_jobs import delta

    found = delta.rows(place, [*key, count])
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


def _show_other_systems(lake: Lake, silo: str | None, catalog: Any) -> None:
    """How many codes and rows of gold are in another code system than their table prefers, by that system."""
    from cohortlake.core import gold
    from cohortlake.core.catalog import load_catalog
    from cohortlake.core.sql import identifier, literal

    live = set(gold.tables(lake))
    table = Table("table", "preferred", "silo", "code system", "codes", "rows", box=None, header_style="dim")
    for place in (4, 5):
        table.columns[place].justify = "right"
    connection = gold.connect(lake) if live else None
    for name, declared in sorted(load_catalog(catalog).tables.items()):
        for concept, preferred in declared.coded_in.items() if connection is not None and name in live else ():
            code, system = identifier(f"{concept}_code"), identifier(f"{concept}_system")
            found = connection.sql(  # type: ignore[union-attr]
                f"SELECT silo, coalesce({system}, 'none'), count(DISTINCT {code}), count(*) FROM {identifier(name)} "  # noqa: S608
                f"WHERE {code} IS NOT NULL AND {system} IS DISTINCT FROM {literal(preferred)} "
                + (f"AND silo = {literal(silo)} " if silo else "")
                + "GROUP BY ALL ORDER BY ALL"
            )
            for of, other, codes, rows in found.fetchall():
                table.add_row(name, preferred, of, other, f"{codes:,}", f"{rows:,}")
    if table.row_count:
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
