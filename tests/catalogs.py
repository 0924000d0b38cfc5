"""Catalogs for tests: the project's, with silos and curated tables of the test's choice and no cohorts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from cohortlake.core.catalog import PROJECT_CATALOG

SILOS = Path(__file__).parent / "silos"


def catalog_of(folder: Path, silos: Iterable[Path], tables: Iterable[str] = ()) -> Path:
    """A copy of the project's catalog, in `folder`, that has these silos (their folders) and these tables; gives it."""
    kept = {*tables}
    catalog = Path(shutil.copytree(PROJECT_CATALOG, folder, ignore=shutil.ignore_patterns("silos", "cohorts")))
    for table in (catalog / "tables").iterdir():
        if table.name not in kept:
            shutil.rmtree(table)
    for silo in silos:
        shutil.copytree(silo, catalog / "silos" / silo.name)
    return catalog
