"""`cohortlake training`: releases of training sets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from cohortlake.cli import LAKE, LakeOption, app, out
from cohortlake.core.errors import CohortlakeError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.releases import find_release, list_releases, verify

commands = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(commands, name="training", help="List, read, verify and export the releases of training sets.")

CohortArgument = Annotated[str, typer.Argument(help="The cohort's name.")]
VersionOption = Annotated[str | None, typer.Option("--version", "-v", help="A release; the newest if none is named.")]


def _cohorts(lake: Lake) -> list[str]:
    return sorted(path.name for path in (lake.root / "research/releases").glob("*") if path.is_dir())


@commands.command("list")
def list_all(lake: LakeOption = LAKE) -> None:
    """List every release with its rows, oldest first.

    **Example**

    `cohortlake training list`
    """
    from rich.table import Table

    place = Lake(lake.absolute())
    table = Table(
        "cohort",
        "version",
        "released",
        "persons",
        "real rows",
        "synthetic rows",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for cohort in _cohorts(place):
        for release in list_releases(place, cohort):
            counts, made = release.facts["counts"], release.facts["synthetic"].get("made", 0)
            numbers = (counts["persons"], counts["rows"], made)
            table.add_row(cohort, release.version, release.released_at, *(f"{number:,}" for number in numbers))
    out.print(table)


@commands.command()
def show(cohort: CohortArgument, version: VersionOption = None, lake: LakeOption = LAKE) -> None:
    """Show a release's datasheet: what it holds, how it was made, what it may be used for.

    **Example**

    `cohortlake training show type2_diabetes`
    """
    from rich.markdown import Markdown

    release = find_release(Lake(lake.absolute()), cohort, version)
    out.print(Markdown((release.folder / "datasheet.md").read_text(encoding="utf-8")))


@commands.command("verify")
def check(cohort: CohortArgument, version: VersionOption = None, lake: LakeOption = LAKE) -> None:
    """Check a release's files against the hashes that it was released with; exit code 1 if one differs.

    **Example**

    `cohortlake training verify type2_diabetes`
    """
    release = find_release(Lake(lake.absolute()), cohort, version)
    problems = verify(release)
    if problems:
        raise CohortlakeError("\n".join(problems), "Do not use this copy; export the release again.")
    out.print(f"{cohort} {release.version}: every file is as it was released")


@commands.command()
def export(
    cohort: CohortArgument,
    to: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    version: VersionOption = None,
    lake: LakeOption = LAKE,
) -> None:
    """Copy a release, verified, to a folder of yours.

    **Example**

    `cohortlake training export type2_diabetes ./t2d`
    """
    release = find_release(Lake(lake.absolute()), cohort, version)
    problems = verify(release)
    if problems:
        raise CohortlakeError("\n".join(problems), "The release was changed after it was made.")
    if to.exists():
        raise UsageError(f"{to} is there already", "Name a folder that does not exist yet.")
    shutil.copytree(release.folder, to)
    out.print(f"{cohort} {release.version} → {to}")
