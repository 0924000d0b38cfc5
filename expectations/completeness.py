"""The gates' look at completeness: a delivery's columns, and gold's, held to what they should hold.

A delivery is profiled as it is staged, and judged against floors, needs and the silo's earlier deliveries; what is
found becomes facts for Great Expectations to judge. The profile is kept in `ops/completeness`, passed or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from cohortlake.core.catalog import Catalog
from cohortlake.core.catalog.completeness import Completeness
from cohortlake.core.completeness.cells import Cell
from cohortlake.core.completeness.judge import MIN_ROWS, Rules, judge
from cohortlake.core.completeness.kept import Judged, earlier_shares
from cohortlake.core.completeness.lineage import source_of
from cohortlake.core.completeness.live import paths_of
from cohortlake.core.completeness.needs import needed_columns, needed_elements
from cohortlake.core.completeness.profile import profile_resources, profile_table, why_absent
from cohortlake.core.errors import GateFailedError
from cohortlake.core.forms import choices
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.rules import Check, Within
from cohortlake.core.sql import literal
from spark_jobs.completeness import keep
from spark_jobs.context import Context
from spark_jobs.pseudonyms import HEX_DIGITS, vault_secret
from spark_jobs.staged import Staged

# The least share, in percent, of a column that is not empty.
SOME = 0.001


@dataclass(frozen=True)
class Found:
    """A profile that is judged, of the batch of a silo or of gold."""

    lake: Lake
    run_id: str
    scope: str
    batch: str
    judged: Sequence[Judged]

    def checks(self, table: str | None = None) -> list[Check]:
        """The checks of columns that something needs, that the protocol names, or in which something is found."""
        chosen = (one for one in self.judged if table in (None, one.cell.table) and one.cell.rows >= MIN_ROWS)
        return [_check(one) for one in chosen if one.finding or one.needed_by or one.is_declared]

    def facts(self, table: str | None = None) -> dict[str, float]:
        """The known shares that the checks judge, in percent."""
        return {_fact(one.cell): one.cell.known_percent for one in self.judged if table in (None, one.cell.table)}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the profile, as one that passed unless the gate within stops the publish."""
        try:
            yield
        except GateFailedError:
            keep(self.lake, self.run_id, self.scope, self.batch, self.judged, is_passed=False)
            raise
        keep(self.lake, self.run_id, self.scope, self.batch, self.judged, is_passed=True)


def _fact(cell: Cell) -> str:
    whose = f" of {cell.silo}" if cell.zone == "gold" else ""
    return f"{cell.name}{whose} known percent"


def _check(one: Judged) -> Check:
    """The check of a judged column: its share reaches the limit; of a gap that is closed, that it is one still."""
    cell = one.cell
    whose = f" of {cell.silo}" if cell.zone == "gold" else ""
    reasons = [f"needed by {one.needed_by}"] if one.needed_by else []
    reasons += [f"known gap: {one.known_gap}"] if one.known_gap else []
    reason = "; ".join(reasons) or "earlier deliveries, or the protocol"
    if one.finding == "gap is closed":
        name, rule = f"{cell.name}{whose} is the gap that the protocol says", Within(None, SOME)
    else:
        name, rule = f"{cell.name}{whose} is complete enough", Within(one.floor_percent or SOME, None)
    # One that passes is told with the weight that it would have had.
    severity = one.severity or ("fail" if one.needed_by and cell.zone == "delivery" and not one.known_gap else "warn")
    return Check(
        cell.table,
        name,
        "completeness",
        "fail" if severity == "fail" else "warn",
        rule,
        _fact(cell),
        reason,
        is_fact=True,
    )


def of_delivery(ctx: Context, staged: Mapping[str, Staged], batch: str | None) -> Found:
    """Profile and judge what a silo's batch has staged."""
    catalog, silo = ctx.catalog, ctx.scope
    needed, connection = needed_elements(catalog), duckdb.connect()
    cells: list[Cell] = []
    for name, table in sorted(staged.items()):
        if relation := _staged_rows(ctx.lake.silver(name), table):
            paths = paths_of(needed, name)
            cells += profile_resources(connection, "delivery", catalog.resources[name], relation, literal(silo), paths)
    where = f"zone = 'delivery' AND silo = {literal(silo)} AND batch <> {literal(batch)}"
    earlier = {name: shares for (_, name), shares in earlier_shares(ctx.lake, where, MIN_ROWS).items()}
    never = not_carried(catalog, silo, needed)
    rules = Rules(catalog.silos[silo].completeness, needed, carried(catalog, silo), never, earlier)
    return Found(ctx.lake, ctx.run_id, silo, batch or "", [judge(cell, rules) for cell in cells])


def carried(catalog: Catalog, silo: str) -> set[str]:
    """The elements that a silo's records should carry, as its protocol or its mappings say: `ResourceType.element`."""
    found: set[tuple[str, str]] = set()
    for feed in catalog.silos[silo].feeds.values():
        if feed.resource:
            found |= {(feed.resource, path.partition(".")[0]) for path in (*feed.required, *feed.expected)}
    for mapping in catalog.mappings[silo].values():
        columns = catalog.silos[silo].feeds[mapping.feed]
        if columns.required or columns.expected:
            held = {*columns.required, *columns.expected}
            found |= {(mapping.resource, element) for element in _plain(mapping.elements, held)}
    return {f"{resource}.{_root(catalog, resource, element)}" for resource, element in found}


def not_carried(catalog: Catalog, silo: str, names: Iterable[str]) -> set[str]:
    """Of some elements those that a tabular silo's mappings never fill: it cannot lose them, and never tells them."""
    if catalog.silos[silo].format != "csv":
        return set()
    filled = {
        f"{mapping.resource}.{_root(catalog, mapping.resource, element)}"
        for mapping in catalog.mappings[silo].values()
        for element in mapping.elements
    }
    types = {mapping.resource for mapping in catalog.mappings[silo].values()}

    def is_filled(resource: str, path: str) -> bool:
        firsts = (one.partition(".")[0] for one in path.split(" | "))
        return any(f"{resource}.{_root(catalog, resource, first)}" in filled for first in firsts)

    split = ((name, *name.split(".", 1)) for name in names)
    return {name for name, resource, path in split if resource in types and not is_filled(resource, path)}


def _plain(elements: Mapping[str, Any], columns: set[str]) -> Iterable[str]:
    """The elements that a mapping takes from a column that every record of its feed holds."""
    for name, value in elements.items():
        if isinstance(value, str) and value.removeprefix("=").partition("|")[0].strip() in columns:
            yield name


def _root(catalog: Catalog, resource: str, element: str) -> str:
    grouped = {one: f"{choice}[x]" for choice, found in choices(catalog.resources[resource]).items() for one in found}
    return grouped.get(element, element)


def of_gold(ctx: Context, staged: Mapping[str, Staged], silver: Mapping[str, int]) -> Found:
    """Profile and judge gold as staged; `silver` are the versions of silver's tables that it was made from."""
    catalog, connection = ctx.catalog, delta_connection()
    reasons = _reasons(ctx, connection, silver)
    cells: list[Cell] = []
    for name, table in staged.items():
        if relation := _staged_rows(ctx.lake.gold(name), table):
            cells += profile_table(connection, catalog, name, relation, reasons)
    earlier = earlier_shares(ctx.lake, f"zone = 'gold' AND run_id <> {literal(ctx.run_id)}", MIN_ROWS)
    needed = needed_columns(catalog)
    rules = {
        silo: Rules(
            gaps_in_gold(catalog, silo), needed, (), (),
            {name: shares for (of, name), shares in earlier.items() if of == silo}, needs_floor=True, stops=False,
        )
        for silo in {cell.silo for cell in cells}
    }  # fmt: skip
    return Found(ctx.lake, ctx.run_id, "gold", "gold", [judge(cell, rules[cell.silo]) for cell in cells])


def _reasons(ctx: Context, connection: Any, silver: Mapping[str, int]) -> dict[str, str]:
    """Tables of why elements are absent, by resource type, keyed as gold keys its rows."""
    catalog, secret, found = ctx.catalog, vault_secret(ctx.lake), {}
    for name in sorted({str(view["resource"]) for view in catalog.views.values()}):
        if silver.get(name, -1) >= 0:
            scan = f"delta_scan({literal(ctx.lake.silver(name))}, version = {int(silver[name])})"
            whole = f"{literal(secret + '|')} || silo || {literal(f'|{name}|')} || id"
            key = f"substring(sha256({whole}), 1, {HEX_DIGITS})"
            if why_absent(connection, catalog.resources[name], scan, key, f"why_{name}"):
                found[name] = f"why_{name}"
    return found


def _staged_rows(folder: Path, table: Staged) -> str:
    """The SQL that reads a table's staged parts; empty where there are none."""
    files = ", ".join(literal(folder / part.path) for part in table.parts)
    return f"read_parquet([{files}], hive_partitioning = false, union_by_name = true)" if files else ""


def gaps_in_gold(catalog: Catalog, silo: str) -> dict[str, Completeness]:
    """The columns of gold that are read from what a silo's protocol declares a known gap, and from nothing else."""
    declared = catalog.silos[silo].completeness if silo in catalog.silos else {}
    gaps = {name: one for name, one in declared.items() if one.known_gap}
    if not gaps:
        return {}
    found = {}
    for table in catalog.tables.values():
        for column in table.columns:
            source = source_of(catalog, table.name, column)
            of = [_gap(catalog, gaps, source.resource, path) for path in source.path.split(" | ")] if source else []
            gap = of[0] if of and all(of) else None
            if gap:
                found[f"{table.name}.{column}"] = gap
    return found


def _gap(catalog: Catalog, gaps: Mapping[str, Completeness], resource: str, path: str) -> Completeness | None:
    """The gap that an element is part of."""
    parts = path.split(".")
    names = [".".join(parts[:end]) for end in range(len(parts), 0, -1)] + [_root(catalog, resource, parts[0])]
    return next((gaps[f"{resource}.{name}"] for name in names if f"{resource}.{name}" in gaps), None)
