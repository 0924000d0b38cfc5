"""A profile of what is live in a lake, counted when it is asked for."""

from __future__ import annotations

from typing import Any

from cohortlake.core.catalog import Catalog
from cohortlake.core.completeness.cells import Cell
from cohortlake.core.completeness.needs import Needed, needed_elements
from cohortlake.core.completeness.profile import profile_resources
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal


def paths_of(needed: dict[str, Needed], resource: str) -> dict[str, str | None]:
    """The paths of a resource type that something needs, with the code system that each is expected in."""
    found = {name.partition(".")[2]: one.system for name, one in needed.items() if name.partition(".")[0] == resource}
    return {path: system for path, system in found.items() if not path.endswith("[x]")}


def profile_silver(lake: Lake, catalog: Catalog, only: str | None = None, connection: Any = None) -> list[Cell]:
    """The cells of silver as it is live, by silo, resource type and element; of one type alone with `only`."""
    duckdb = connection or delta_connection()
    needed = needed_elements(catalog)
    cells: list[Cell] = []
    for log in sorted(lake.silver("_").parent.glob("*/_delta_log")):
        name = log.parent.name
        if only in (None, name):
            scan = f"delta_scan({literal(log.parent)})"
            paths = paths_of(needed, name)
            cells += profile_resources(duckdb, "silver", catalog.resources[name], scan, "silo", paths)
    return cells
