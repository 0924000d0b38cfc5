"""C-CDA R2.1 documents to FHIR R4: a format of `cohortlake.core.convert`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from cohortlake.core.ccda.mapper import mapper
from cohortlake.core.convert import Converted, Options, Problem, Record
from cohortlake.core.readers.ccda import NotADocumentError, looks_like, parse, records

__all__ = ["looks_like", "records", "to_fhir"]


def to_fhir(record: Record, options: Options | None = None) -> Converted:
    """The resources of a document. What cannot be read is its one problem; nothing in a document raises."""
    if record.problem is not None:
        return Converted(problems=[record.problem])
    with _no_collection():
        try:
            root = parse(record.payload)
        except NotADocumentError as error:
            return Converted(problems=[Problem(str(error), error.place)])
        return mapper().to_fhir(root, options or Options())


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the search for garbage: all of a document's tree stands until the end, and is a fifth of the time."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()
