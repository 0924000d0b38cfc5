"""HL7 v2 messages to FHIR R4: a format of `cohortlake.core.convert`."""

from __future__ import annotations

from cohortlake.core.convert import Converted, Options, Problem, Record
from cohortlake.core.hl7v2.mapper import mapper
from cohortlake.core.readers.hl7v2 import NotAMessageError, parse
from cohortlake.core.readers.hl7v2_fields import in_place
from cohortlake.core.readers.hl7v2_framing import looks_like, records

__all__ = ["looks_like", "records", "to_fhir"]


def to_fhir(record: Record, options: Options | None = None) -> Converted:
    """The resources of a message. What cannot be read is its one problem; nothing in a message raises."""
    if record.problem is not None:
        return Converted(problems=[record.problem])
    try:
        message = parse(record.payload)
    except NotAMessageError as error:
        return Converted(problems=[Problem(str(error), "MSH")])
    options = options or Options()
    return mapper().to_fhir(in_place(message, dict(options.field_places)), options)
