"""fetch: bring a silo's new records from where it lives into its landing folder, as one delivery."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cohortlake.core.catalog import Silo
from cohortlake.core.catalog.origin import BulkFhir, Postgresql
from spark_jobs.landing import Delivered, Landing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Tell = Callable[[str], None]


def fetch_bulk(source: BulkFhir, folder: Path, tell: Tell, *, full: bool = False) -> Delivered:
    """Fetch one delivery from a FHIR server. Raises SourceError, LakeBusyError, LakeWriteError."""
    from spark_jobs.bulk_export import BulkExport

    return BulkExport(source, Landing(folder), tell=tell).fetch(full=full)


def fetch(
    silo: Silo, data: Path, tell: Tell, *, full: bool = False, session: Callable[[], SparkSession] | None = None
) -> Delivered | None:
    """Fetch a silo's delivery into its folder under the data folder; None for a silo without a source.

    `session` gives the Spark session that reads a database, by default the process's own.
    """
    if isinstance(silo.source, BulkFhir):
        return fetch_bulk(silo.source, data / silo.folder, tell, full=full)
    if isinstance(silo.source, Postgresql):
        from spark_jobs.database import Database
        from spark_jobs.session import spark_session

        landing = Landing(data / silo.folder)
        return Database(silo.source, silo.feeds, landing, session or spark_session, tell).fetch(full=full)
    return None
