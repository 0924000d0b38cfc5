"""The run report: one self-contained HTML page a run, and a summary for the terminal. Counts, names and hashes only."""

from __future__ import annotations

import uuid
from pathlib import Path

from rich.console import RenderableType

from cohortlake.core.lake import Lake, write_error

__all__ = ["summary", "write"]

PAGE = "report.html"


def write(lake: Lake, run_id: str) -> Path:
    """Write the run's page, and the same as `LAKE/report.html`; gives the path of the first.

    Raises UsageError where there is no such run, LakeWriteError where the lake cannot be written.
    """
    from cohortlake.report.page import render
    from cohortlake.report.report import read_report

    report = read_report(lake, run_id)
    own = lake.runs / run_id / PAGE
    for path in (own, lake.root / PAGE):
        _write(path, render(report, path))
    return own


def summary(lake: Lake, run_id: str) -> RenderableType:
    """What the run made and where to look, for a terminal. Raises UsageError where there is no such run."""
    from cohortlake.report.report import read_report
    from cohortlake.report.terminal import in_short

    return in_short(read_report(lake, run_id), lake.runs / run_id / PAGE)


def _write(path: Path, text: str) -> None:
    """A whole file or none: a reader may have the last one open."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise write_error(error, path) from error
