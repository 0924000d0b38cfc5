"""The person of each patient: the one place where a training set learns which records are one human's.

A patient is a record of a silo (`patient_key`); a person may have several (`person_key`). Which curated table says so
is read off the declarations: the one whose rows are patients (its key is `patient_key`) and that has a `person_key`.
"""

from __future__ import annotations

from collections.abc import Mapping

from cohortlake.core.catalog import Catalog
from spark_jobs.context import Context

PATIENT, PERSON = "patient_key", "person_key"


def person_table(catalog: Catalog) -> str | None:
    """The curated table that gives each patient its person, or None where no table does."""
    found = (table.name for table in catalog.tables.values() if table.key == [PATIENT] and PERSON in table.columns)
    return next(found, None)


def person_keys(ctx: Context, gold: Mapping[str, int]) -> dict[str, str]:
    """`person_key` by `patient_key`, from the session's view of the pinned table; empty where no table gives it."""
    table = person_table(ctx.catalog)
    if table not in gold:
        return {}
    found = ctx.spark.table(str(table)).select(PATIENT, PERSON).toArrow()
    return dict(zip(found[PATIENT].to_pylist(), found[PERSON].to_pylist(), strict=True))


def person_of(patient_key: str, persons: Mapping[str, str]) -> str:
    """A patient's person; a patient whom no table links is a person of their own."""
    return persons.get(patient_key) or patient_key
