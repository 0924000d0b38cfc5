"""`cohortlake fetch`: a silo's new records from its server or database into its landing folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from cohortlake.cli import DATA, CatalogOption, DataOption, app, err, out
from cohortlake.core.catalog.origin import BulkFhir, Client
from cohortlake.core.errors import UsageError

if TYPE_CHECKING:
    from cohortlake.core.catalog import Silo
    from spark_jobs.landing import Delivered

ONE_OF_TWO = "Name a silo, or a server and a folder: --server URL -o FOLDER."


@app.command()
def fetch(
    silo: Annotated[str | None, typer.Argument(help="A silo whose declaration has a `source`.")] = None,
    data: DataOption = DATA,
    catalog: CatalogOption = None,
    full: Annotated[bool, typer.Option("--full", help="Fetch everything, not what changed.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the export that is under way.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even where the protocol is not signed off.")] = False,
    server: Annotated[str | None, typer.Option(help="A FHIR server's base URL, in place of a silo.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder for --server; it is made.")] = None,
    only: Annotated[list[str] | None, typer.Option("--type", "-t", help="Only this resource type; may recur.")] = None,
    group: Annotated[str | None, typer.Option(help="Only the patients of this Group.")] = None,
    level: Annotated[str, typer.Option(help="`patient` or `system`, where no group is named.")] = "patient",
    client_id: Annotated[str | None, typer.Option(help="How the server knows us (SMART Backend Services).")] = None,
    key_id: Annotated[str | None, typer.Option(help="The `kid` of our public key there.")] = None,
    key_file_variable: Annotated[
        str, typer.Option(help="The environment variable that holds the path of our private key (PEM).")
    ] = "COHORTLAKE_KEY_FILE",
) -> None:
    """Fetch what is new at a silo's source into its folder under the data folder, as one delivery.

    `cohortlake run` does so by itself before it lands. Killed and run again, it goes on. The files hold patients' data.

    **Examples**

    `cohortlake fetch site_a_fhir_r4`

    `cohortlake fetch --server https://ehr.example.org/fhir -t Patient -t Condition -o incoming/site_x`
    """
    if (silo is None) == (server is None) or (server is None) != (output is None):
        raise UsageError("what is to be fetched is not clear", ONE_OF_TWO)
    from spark_jobs.fetch import fetch as fetch_silo
    from spark_jobs.fetch import fetch_bulk

    if server is not None and output is not None:
        asked = {"level": "group" if group else level, "group": group, "types": only or []}
        place = _server(server, asked, client_id, key_id, key_file_variable)
        if cancel:
            _cancel(place, output)
        else:
            _summary(_telling(lambda tell: fetch_bulk(place, output, tell, full=full)), output)
        return
    declared = _declared(str(silo), data, catalog, force)
    folder = data / declared.folder
    if not cancel:
        _summary(_telling(lambda tell: fetch_silo(declared, data, tell, full=full)), folder)
    elif isinstance(declared.source, BulkFhir):
        _cancel(declared.source, folder)
    else:
        raise UsageError(f"silo {silo} lives in a database: there is no export to cancel", "Leave --cancel out.")


def _declared(name: str, data: Path, catalog: Path | None, force: bool) -> Silo:
    from cohortlake.core.catalog import load_catalog
    from cohortlake.core.catalog.silo import check_signed

    silos = load_catalog(catalog).silos
    if name not in silos:
        raise UsageError(f"there is no silo {name!r}", f"There are {', '.join(silos)}.")
    check_signed(silos[name], force)
    if silos[name].source is None:
        raise UsageError(
            f"silo {name} has no source: its files are put into {data / silos[name].folder}",
            "Declare where it is fetched from: docs/bulk-export.md, docs/databases.md.",
        )
    return silos[name]


def _server(url: str, asked: dict[str, Any], client_id: str | None, key_id: str | None, variable: str) -> BulkFhir:
    if (client_id is None) != (key_id is None):
        raise UsageError("a client needs both its id and its key's", "Give --client-id and --key-id.")
    client = Client(id=client_id, key_file_variable=variable, key_id=key_id) if client_id and key_id else None
    try:
        return BulkFhir.model_validate({"kind": "bulk_fhir", "url": url, "client": client, **asked})
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'source'}: {e['msg']}" for e in error.errors())
        raise UsageError(said, "See `cohortlake fetch --help`.") from error


def _telling(work: Callable[[Callable[[str], None]], Delivered | None]) -> Delivered | None:
    """Do the work, and say what is going on: on a terminal in one line, elsewhere a line each."""
    with err.status("fetch") as status:

        def tell(what: str) -> None:
            status.update(what)
            if not sys.stderr.isatty():
                err.print(what)

        return work(tell)


def _cancel(source: BulkFhir, folder: Path) -> None:
    from spark_jobs.bulk_export import BulkExport
    from spark_jobs.landing import Landing

    was_there = BulkExport(source, Landing(folder)).cancel()
    out.print("the export is cancelled" if was_there else "no export is under way")


def _summary(delivered: Delivered | None, folder: Path) -> None:
    if delivered is None or delivered.delivery is None:
        out.print("nothing new")
        return
    since = f"changes since {delivered.since}" if delivered.since else "everything"
    out.print(f"{folder / delivered.delivery}: {since}, up to {delivered.until}")
    for title, counts in (
        ("records", delivered.rows), ("gone", delivered.deleted), ("the source says", delivered.issues),
    ):  # fmt: skip
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 1))
        table.add_column(justify="right")
        table.add_column()
        for name, count in sorted(counts.items()):
            table.add_row(f"{count:,}", name)
        if counts:
            out.print(table)
    for name, problem in delivered.problems.items():
        err.print(f"warning: {name}: {problem}")
