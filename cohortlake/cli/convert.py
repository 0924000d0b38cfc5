"""`cohortlake convert`: files of a hospital's formats to FHIR, with no lake."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from cohortlake.cli import app, out
from cohortlake.core.convert import (
    FORMATS,
    Converted,
    Options,
    Problem,
    dumps,
    format_named,
    guess_format,
)
from cohortlake.core.errors import QuarantinedError, SourceError, UsageError
from cohortlake.core.readers.framing import UnreadableFileError, open_stream

# The formats that exist, by name; mypy asks for names that it can read.
FormatName = StrEnum("FormatName", {name: name for name in FORMATS})  # type: ignore[misc]
# Rows of a list of the summary; of resource types all are shown.
SHOWN = 15


@dataclass
class Tally:
    """What was done, for the summary."""

    files: int = 0
    records: int = 0
    quarantined: int = 0
    resources: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, converted: Converted) -> None:
        """Count a record's outcome."""
        self.records += 1
        self.errors.update(p.reason for p in converted.problems if p.severity == "error")
        self.warnings.update(p.reason for p in converted.problems if p.severity == "warning")
        self.unmapped += converted.unmapped
        self.codes += converted.codes
        if converted.error:
            self.quarantined += 1
        else:
            self.resources.update(str(resource["resourceType"]) for resource in converted.resources)


@app.command()
def convert(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files, plain or gzip; a folder for all in it.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The NDJSON file to write; its folder must exist.")],
    format_name: Annotated[
        FormatName | None, typer.Option("--format", "-f", help="The format [default: guessed from each file].")
    ] = None,
    zone: Annotated[str, typer.Option(help="The zone of times that carry none (Europe/Berlin).")] = "UTC",
) -> None:
    """Convert files to FHIR R4: a resource a line, and beside them what could not be converted, with the reason.

    `out.quarantine.ndjson` names file, byte offset, reason and place. These files hold patients' data. The same message
    gives the same resources with the same ids, so that what was sent twice can be told. Ends with exit code 15 when
    some records were quarantined.

    **Examples**

    `cohortlake convert feed/*.hl7 -o out.ndjson`

    `cohortlake convert adt.hl7 --format hl7v2 --zone America/Chicago -o out.ndjson`
    """
    options = Options(zone=_known_zone(zone))
    paths = list(_expanded(files))
    beside = output.with_name(f"{output.name.removesuffix('.ndjson')}.quarantine.ndjson")
    tally = Tally()
    columns = (SpinnerColumn(), TextColumn("{task.description:<26}"), BarColumn(24), TextColumn("{task.fields[what]}"))
    with ExitStack() as stack:
        good, bad = (stack.enter_context(_opened(path)) for path in (output, beside))
        bars = stack.enter_context(Progress(*columns, console=out, disable=not sys.stdout.isatty(), transient=True))
        task = bars.add_task("convert", total=len(paths), what="")
        for path in paths:
            bars.update(task, what=path.name)
            _convert_file(path, format_name, options, good, bad, tally)
            bars.advance(task)
    if not tally.quarantined:
        beside.unlink()
    _summary(tally, output)
    if tally.quarantined:
        raise QuarantinedError(f"{tally.quarantined} of {tally.records} records quarantined", f"See {beside}.")


def _known_zone(zone: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(
            f"{zone!r} is not a time zone", "Name one as IANA does: Europe/Berlin, America/Chicago."
        ) from error
    return zone


def _expanded(files: list[Path]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from (inner for inner in sorted(path.iterdir()) if inner.is_file())
        elif path.is_file():
            yield path
        else:
            raise SourceError(f"{path}: there is no such file", "Check the name.")


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", "Name a file in a folder that exists."
        ) from error


def _convert_file(
    path: Path, name: FormatName | None, options: Options, good: TextIO, bad: TextIO, tally: Tally
) -> None:
    tally.files += 1
    try:
        with open_stream(path) as stream:
            data = stream.read()
    except (UnreadableFileError, OSError, EOFError) as error:
        _take(
            path,
            0,
            Converted(problems=[Problem(f"the file cannot be read: {type(error).__name__}", "file")]),
            good,
            bad,
            tally,
        )
        return
    guessed = name.value if name else guess_format(data)
    if guessed is None:
        _take(
            path, 0, Converted(problems=[Problem("the file is of no format that is known", "file")]), good, bad, tally
        )
        return
    fmt = format_named(guessed)
    for record in fmt.records(data):
        _take(path, record.offset, fmt.to_fhir(record, options), good, bad, tally)


def _take(path: Path, offset: int, converted: Converted, good: TextIO, bad: TextIO, tally: Tally) -> None:
    tally.add(converted)
    if converted.error is None:
        good.writelines(dumps(resource) + "\n" for resource in converted.resources)
        return
    for problem in converted.problems:
        row: dict[str, Any] = {"file": str(path), "offset": offset, "reason": problem.reason, "place": problem.place}
        bad.write(json.dumps({**row, "severity": problem.severity}, ensure_ascii=False) + "\n")


def _summary(tally: Tally, output: Path) -> None:
    held = f", {tally.quarantined:,} quarantined" if tally.quarantined else ""
    made = sum(tally.resources.values())
    out.print(f"{tally.files:,} files, {tally.records:,} records{held}: {made:,} resources in {output}")
    codes = Counter({f"{table}: {code}": count for (table, code), count in tally.codes.items()})
    _list("resources", tally.resources, len(tally.resources))
    for title, counts in (
        ("quarantined, by reason", tally.errors),
        ("warnings", tally.warnings),
        ("not mapped, by name", tally.unmapped),
        ("codes that no map knows, kept as they came", codes),
    ):
        _list(title, counts)


def _list(title: str, counts: Counter[str], shown: int = SHOWN) -> None:
    if not counts:
        return
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 1))
    table.add_column(justify="right")
    table.add_column()
    for name, count in counts.most_common(shown):
        table.add_row(f"{count:,}", name)
    if len(counts) > shown:
        table.add_row("", f"and {len(counts) - shown:,} more")
    out.print(table)
