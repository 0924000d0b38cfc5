"""fetch: bring a silo's new records from where it lives into its landing folder, as one delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cohortlake.core.catalog import Silo
from cohortlake.core.catalog.origin import BulkFhir, Postgresql
from cohortlake.core.catalog.silo import check_signed
from spark_jobs.bulk_export import BulkExport
from spark_jobs.context import Context, StepResult
from spark_jobs.landing import Delivered, Landing

Tell = Callable[[str], None]


def fetch_bulk(source: BulkFhir, folder: Path, tell: Tell, *, full: bool = False) -> Delivered:
    """Fetch one delivery from a FHIR server. Raises SourceError, LakeBusyError, LakeWriteError."""
    return BulkExport(source, Landing(folder), tell=tell).fetch(full=full)


def fetch_database(source: Postgresql, silo: Silo, folder: Path, tell: Tell, *, full: bool = False) -> Delivered:
    """Fetch one delivery from a database. Raises SourceError, LakeBusyError, LakeWriteError."""
    from spark_jobs.database import Database
    from spark_jobs.session import spark_session

    return Database(source, silo.feeds, Landing(folder), spark_session, tell).fetch(full=full)


def fetch(silo: Silo, data: Path, tell: Tell, *, full: bool = False) -> Delivered:
    """Fetch a silo's delivery into its folder under the data folder; none for a silo without a source."""
    if isinstance(silo.source, BulkFhir):
        return fetch_bulk(silo.source, data / silo.folder, tell, full=full)
    if isinstance(silo.source, Postgresql):
        return fetch_database(silo.source, silo, data / silo.folder, tell, full=full)
    return Delivered(None, None, None)


def run(ctx: Context) -> StepResult:
    """The step. No books: what is fetched is counted when it lands."""
    silo = ctx.catalog.silos[ctx.scope]
    check_signed(silo, ctx.force)
    return StepResult(facts=asdict(fetch(silo, ctx.data, lambda what: ctx.progress(0, 0, what))))
