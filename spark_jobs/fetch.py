"""fetch: bring a silo's new records from where it lives into its landing folder, as one delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cohortlake.core.catalog.origin import BulkFhir
from cohortlake.core.catalog.silo import check_signed
from spark_jobs.bulk_export import BulkExport
from spark_jobs.context import Context, StepResult
from spark_jobs.landing import Delivered, Landing


def fetch(
    source: BulkFhir, folder: Path, *, full: bool = False, tell: Callable[[str], None] = lambda what: None
) -> Delivered:
    """Fetch one delivery into a landing folder. Raises SourceError, LakeBusyError, LakeWriteError."""
    return BulkExport(source, Landing(folder), tell=tell).fetch(full=full)


def run(ctx: Context) -> StepResult:
    """Fetch the silo's delivery. No books: what is fetched is counted when it lands."""
    silo = ctx.catalog.silos[ctx.scope]
    check_signed(silo, ctx.force)
    if silo.source is None:
        return StepResult()
    delivered = fetch(silo.source, ctx.data / silo.folder, tell=lambda what: ctx.progress(0, 0, what))
    return StepResult(facts=asdict(delivered))
