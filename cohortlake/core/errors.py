"""Errors that a user meets: each class has a stable exit code and says what to do next."""

from __future__ import annotations


class CohortlakeError(Exception):
    """Base of our errors. `exit_code` is what the command line ends with; `hint` is the next thing to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CohortlakeError):
    """Asked for something that does not exist (a table, a silo, an option)."""

    exit_code = 2


class CatalogError(CohortlakeError):
    """A declaration is wrong. The message names file, line, what was found and what is expected."""

    exit_code = 10


class UnsignedProtocolError(CohortlakeError):
    """A silo's protocol is not signed off."""

    exit_code = 11


class SourceError(CohortlakeError):
    """The source folder cannot be read."""

    exit_code = 12


class GateFailedError(CohortlakeError):
    """A check of severity `fail` failed: nothing was published, the last good version is live."""

    exit_code = 20


class BooksError(CohortlakeError):
    """A step's books do not balance: rows that came in are lost, made or changed. Nothing of the step went live."""

    exit_code = 21


class LakeBusyError(CohortlakeError):
    """Another run holds the lake."""

    exit_code = 30


class LakeWriteError(CohortlakeError):
    """The lake cannot be written: disk full, read-only, no permission."""

    exit_code = 31


class ViewError(CohortlakeError):
    """A ViewDefinition is wrong. The message names the path in the view, what was found and what is allowed."""

    exit_code = 13


class NotConformantError(CohortlakeError):
    """Cases of the suite failed."""

    exit_code = 14


class QuarantinedError(CohortlakeError):
    """Some records could not be converted; the others were."""

    exit_code = 15


class NotProvenError(CohortlakeError):
    """An erasure's proof found the person in the lake."""

    exit_code = 22
