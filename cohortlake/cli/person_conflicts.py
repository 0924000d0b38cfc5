"""`cohortlake person conflicts`: the people whose records say different things, and which of it gold uses."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from cohortlake.cli import LAKE, CatalogOption, LakeOption, out
from cohortlake.cli.person import ShowOption, commands
from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog
from cohortlake.core.catalog.attributes import Resolution
from cohortlake.core.errors import UsageError
from cohortlake.core.gold import connect
from cohortlake.core.lake import Lake
from cohortlake.core.sql import identifier, literal

# The first letters of a person's key that `person explain` needs to know it.
SHOWN = 12


@commands.command()
def conflicts(
    attribute: Annotated[str | None, typer.Option(help="Only of this attribute (birth_date).")] = None,
    rows: Annotated[int, typer.Option(help="Show at most so many of each attribute.")] = 20,
    show: ShowOption = False,
    lake: LakeOption = LAKE,
    catalog: CatalogOption = None,
) -> None:
    """List the people of gold whose records disagree: what each silo says, which value is used, and by which rule.

    Values are masked: a letter stands for each value of a person, `A` for the one that is used; `--show` shows them.
    The rules stand in `catalog/tables/persons/table.yaml`. `cohortlake person explain PERSON` shows the records.

    **Examples**

    `cohortlake person conflicts`

    `cohortlake person conflicts --attribute birth_date --show`
    """
    place, tables = Lake(lake.absolute()), load_catalog(catalog or PROJECT_CATALOG).tables
    table = next((table for table in tables.values() if table.resolve is not None), None)
    if table is None or table.resolve is None:
        raise UsageError("the catalog has no table from persons", "See catalog/tables/persons in the project's own.")
    chosen = [name for name in table.resolve.attributes if attribute in (None, name)]
    if not chosen:
        raise UsageError(f"there is no attribute {attribute!r}", f"There are {', '.join(table.resolve.attributes)}.")
    gold = connect(place)
    people = gold.sql(f"SELECT count(*) FROM {identifier(table.name)}").fetchone()[0]  # noqa: S608
    for name in chosen:
        found = gold.sql(_conflicts(table.name, table.needs[0], table.resolve, name)).fetchall()
        out.print(f"[bold]{name}[/]: {len(found):,} of {people:,} people have several", style="dim")
        if found:
            out.print(_listed(found[:rows], show))


def _conflicts(table: str, records: str, resolution: Resolution, attribute: str) -> str:
    """A row a person with a conflict: key, basis, the value used, and (silo, value) of each record that says one."""
    declared = resolution.attributes[attribute]
    value, basis = identifier(declared.columns[0]), identifier(f"{attribute}_basis")
    unknown = ", ".join(literal(one.lower()) for one in declared.unknown)
    says = f"r.{value} IS NOT NULL" + (f" AND lower(r.{value}::VARCHAR) NOT IN ({unknown})" if unknown else "")
    return (
        f"SELECT p.person_key, p.{basis}, p.{value}::VARCHAR, "  # noqa: S608
        f"list((r.silo, r.{value}::VARCHAR) ORDER BY r.silo, r.{value}) "
        f"FROM {identifier(table)} p JOIN {identifier(records)} r ON r.person_key = p.person_key AND {says} "
        f"WHERE p.{identifier(f'has_{attribute}_conflict')} GROUP BY ALL ORDER BY p.person_key"
    )


def _listed(found: list[tuple[Any, ...]], show: bool) -> Table:
    table = Table("person", "used", "basis", "said by", header_style="dim", box=None, pad_edge=False)
    for person, basis, used, said in found:
        letters: dict[str, str] = {used: "A"}
        for _, value in said:
            letters.setdefault(value, chr(ord("A") + len(letters) % 26))
        told = ", ".join(f"{silo} {value if show else letters[value]}" for silo, value in said)
        table.add_row(person[:SHOWN], used if show else "A", basis, told)
    return table
