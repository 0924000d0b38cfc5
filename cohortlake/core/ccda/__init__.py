"""C-CDA R2.1 documents to FHIR R4: a format of `cohortlake.core.convert`."""

from __future__ import annotations

from cohortlake.core.ccda.mapper import mapper
from cohortlake.core.convert import Converted, Options, Problem, Record
from cohortlake.core.readers.ccda import NotADocumentError, looks_like, parse, records

__all__ = ["looks_like", "records", "to_fhir"]


def to_fhir(record: Record, options: Options | None = None) -> Converted:
    """The resources of a document. What cannot be read is its one problem; nothing in a document raises."""
    if record.problem is not None:
        return Converted(problems=[record.problem])
    try:
        root = parse(record.payload)
    except NotADocumentError as error:
        return Converted(problems=[Problem(str(error), error.place)])
    return mapper().to_fhir(root, options or Options())
