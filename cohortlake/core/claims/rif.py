"""CMS research identifiable files (RIF), as the Beneficiary FHIR Data server and the Chronic Conditions Warehouse write
them, to FHIR R4: a format of `cohortlake.core.convert`."""

from __future__ import annotations

from collections.abc import Iterator

from cohortlake.core.claims import recognise
from cohortlake.core.claims import records as framing
from cohortlake.core.claims.declared import load_claims
from cohortlake.core.claims.mapper import mapper
from cohortlake.core.convert import Converted, Options, Record

NAME = "rif"


def looks_like(head: bytes) -> bool:
    """Whether a file that begins with these bytes is one of this format's kinds."""
    return recognise.looks_like(head, NAME)


def records(data: bytes) -> Iterator[Record]:
    """A file's records in order of their first lines, the unreadable ones with their problem."""
    return framing.records(data, load_claims(NAME))


def to_fhir(record: Record, options: Options | None = None) -> Converted:
    """The resources of a record; nothing in it raises."""
    if record.problem is not None:
        return Converted(problems=[record.problem])
    return mapper(NAME).to_fhir(record, options or Options())
