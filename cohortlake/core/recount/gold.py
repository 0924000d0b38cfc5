"""The recount of gold: each curated table against silver, or against the tables that it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohortlake.core.catalog import Catalog, Table
from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.made import recount_displays, recount_unit_names
from cohortlake.core.recount.people import recount_people
from cohortlake.core.recount.sql_tables import recount_sql
from cohortlake.core.recount.views import LOST, Silver, View, prepare, recount_view
from cohortlake.core.sql import literal

BOUNDARY = "silver → gold"


@dataclass(frozen=True)
class Sources:
    """What gold was made from: silver's tables with their versions, the lake's secret, the pairs of doors, the people.

    `doubles` is an Arrow table of resource_type, silo, id, stands_silo, stands_id; `members` one of silo, patient_id,
    person_id: the linked records, each with its person.
    """

    silver: Mapping[str, tuple[Path, int]]
    secret: str
    doubles: Any
    members: Any


def recount_table(
    connection: Any, catalog: Catalog, table: Table, sources: Sources, files: Mapping[str, Sequence[Path]]
) -> list[Finding]:
    """The findings of one table; `files` are those of all tables, staged or live, by name.

    A view's are two: its rows, and the resources of its type.
    """
    if table.is_sql:
        text = (catalog.folder / "tables" / table.name / "table.sql").read_text(encoding="utf-8")
        made = recount_sql(connection, table, text, files)
        found = Finding("gold → gold", f"gold.{table.name}", made.does.rows, made.does.rows)
        if made.problem:
            found.notes.append(f"not recounted: {made.problem}")
        else:
            found.came, found.must, found.does = made.must.rows, made.must, made.does
        return [found]
    if table.resolve is not None:
        records = files.get(table.needs[0], ())
        return [recount_people(connection, table, table.resolve, files.get(table.name, ()), records)]
    declared = catalog.views[table.name]
    kind = str(declared["resource"])
    if kind not in sources.silver:
        return [Finding(BOUNDARY, f"gold.{table.name}", 0, sum(1 for _ in files.get(table.name, ())))]
    prepare(connection, sources.secret, sources.doubles, sources.members)
    silver = Silver(*sources.silver[kind], catalog.resources[kind])
    view = recount_view(connection, silver, declared, table, files.get(table.name, ()))
    if table.standard_units and not view.problem:
        units = {code: one.unit for code, one in catalog.units.codes.items()}
        view.problems += filter(None, [recount_unit_names(connection, table.standard_units, units)])
    return _of_view(table, kind, view)


def _of_view(table: Table, kind: str, view: View) -> list[Finding]:
    rows = Finding(BOUNDARY, f"gold.{table.name}", view.must.rows, view.does.rows, must=view.must, does=view.does)
    if view.problem:
        rows.came, rows.must, rows.does = view.does.rows, None, None
        rows.notes.append(f"not recounted: {view.problem}")
        return [rows]
    if view.uncounted:
        rows.notes.append(f"columns not recounted: {', '.join(view.uncounted)}")
    rows.problems += view.problems
    resources = Finding(BOUNDARY, f"{kind} in gold.{table.name}", view.resources, view.present, dict(view.left_out))
    for reason, count in view.left_out.items():
        if reason == LOST or reason.startswith("in the table"):
            resources.problems.append(f"{count:,} resources {'are lost' if reason == LOST else reason}")
    return [rows, resources]


def recount_words(connection: Any, catalog: Catalog, sources: Sources) -> Finding:
    """Whether what codes are called was said by somebody; after all tables were recounted with this connection."""
    targets = (
        (group.target, target.code, target.display)
        for one in catalog.concept_maps.values()
        for group in one.groups
        for target in group.codes.values()
        if target.code and target.display
    )
    held = sources.silver.items()
    silver = {kind: f"delta_scan({literal(table)}, version = {version})" for kind, (table, version) in held}
    types = {name: str(view["resource"]) for name, view in catalog.views.items()}
    return Finding(BOUNDARY, "gold's displays", problems=recount_displays(connection, targets, silver, types))


def reaches_no_table(connection: Any, catalog: Catalog, silver: Mapping[str, tuple[Path, int]]) -> dict[str, int]:
    """The live rows of each resource type that no curated table is made from, the most first."""
    taken = {str(view["resource"]) for view in catalog.views.values()}
    found = {}
    for name, (table, version) in silver.items():
        if name not in taken:
            scan = f"delta_scan({literal(table)}, version = {version})"
            found[name] = int(connection.execute(f"SELECT count(*) FROM {scan}").fetchone()[0])
    return {name: rows for name, rows in sorted(found.items(), key=lambda item: (-item[1], item[0])) if rows}
