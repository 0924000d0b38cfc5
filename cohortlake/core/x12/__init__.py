"""X12 transaction sets (837P, 837I, 835) to FHIR R4: a format of `cohortlake.core.convert`."""

from __future__ import annotations

from cohortlake.core.convert import Converted, Options, Record
from cohortlake.core.readers.x12 import looks_like, parse, records
from cohortlake.core.x12.mapper import mapper

__all__ = ["looks_like", "records", "to_fhir"]


def to_fhir(record: Record, options: Options | None = None) -> Converted:
    """The resources of a transaction set. What cannot be read is its one problem; nothing in a set raises."""
    if record.problem is not None:
        return Converted(problems=[record.problem])
    return mapper().to_fhir(parse(record.payload), options or Options())
