"""The end of a run on a terminal: what was made, what was rejected, and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cohortlake.report import headline
from cohortlake.report.page import DATA_DOCS, commands
from cohortlake.report.report import Report
from cohortlake.report.training import Training
from cohortlake.report.words import clip, count, duration, plural, sentence

STYLES = {headline.BAD: "bold red", headline.WARN: "bold yellow", headline.GOOD: "bold green", headline.NOTE: "bold"}
TOP = 5


def in_short(report: Report, page: Path) -> RenderableType:
    """The run in a dozen lines; `page` is where its report stands."""
    said = headline.status(report)
    title = Text.assemble((said.word, STYLES[said.level]), f" in {duration(report.run.seconds)}  {report.run.run_id}")
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, told in _lines(report, page):
        lines.add_row(name, Text(told))
    return Group(title, Text(said.told), lines)


def _lines(report: Report, page: Path) -> Iterator[tuple[str, str]]:
    for step in report.run.failed:
        if step.failure:
            yield "failed", f"{step.name}: {step.failure.kind} {clip(step.failure.message, 300)}".strip()
            if step.failure.hint:
                yield "", f"→ {step.failure.hint}"
    for silo in report.silos:
        if silo.absent_folder:
            yield silo.name, f"nothing: the data folder has no folder {silo.absent_folder}"
            continue
        yield (
            silo.name,
            f"{plural(silo.files_new, 'new file')} of {count(silo.files)} · {plural(silo.landed, 'record')} landed · "
            f"{plural(silo.published, 'row')} to silver" + (f", {count(silo.live)} live" if silo.live else ""),
        )
    held = report.quarantine
    if report.quarantined or held.open:
        yield "quarantine", f"{count(report.quarantined)} by this run · {count(held.open)} open in all"
        yield from (("", f"{count(number):>9}  {clip(why, 70)}") for why, number in list(held.reasons().items())[:TOP])
    people = report.people
    if people.doors:
        came, odd = (sum(getattr(door, kind) for door in people.doors) for kind in ("matched", "conflicted"))
        yield "doubles", f"{plural(came, 'fact')} came by two doors and agree, {count(odd)} differ"
    if people.records:
        waits = f" · {plural(people.waiting, 'pair')} to review" if people.waiting else ""
        told = f"{plural(people.persons, 'person')} behind {plural(people.records, 'patient record')} of silver"
        rows = report.published_tables.get("patients", 0)
        twice = [f"{count(people.by_second_door)} by a second door"] if people.by_second_door else []
        parts = [*twice, *([f"{plural(rows, 'row')} of gold's patients"] if rows else [])]
        told += f" ({', '.join(parts)})" if parts else ""
        yield "persons", f"{told}, {count(people.of_several_silos)} known to several silos{waits}"
    tables = report.published_tables
    if tables:
        largest = sorted(tables.items(), key=lambda item: -item[1])
        yield (
            "gold",
            f"{plural(sum(tables.values()), 'row')} in {plural(len(tables), 'table')}: "
            + sentence(
                [f"{name} {count(rows)}" for name, rows in largest[:TOP]]
                + ([f"{len(largest) - TOP} more"] if len(largest) > TOP else [])
            ),
        )
    for cohort in report.cohorts:
        yield cohort.name, _cohort(cohort)
    lake = report.run.lake
    yield "report", str(page)
    if (lake.docs / DATA_DOCS).exists():
        yield "data docs", str(lake.docs / DATA_DOCS)
    ask = commands(report)
    yield "next", ask["sql"]
    if held.open:
        yield "", ask["list"]


def _cohort(cohort: Training) -> str:
    if cohort.is_unchanged:
        return f"unchanged, release {cohort.version} stands"
    said = [f"{plural(cohort.counts.rows, 'row')} of {plural(cohort.counts.persons, 'person')}"]
    if cohort.version:
        said.append(f"release {cohort.version} with {plural(cohort.released_rows, 'row')}")
    made = cohort.synthetic
    said.append(f"{count(made.made)} synthetic" + (f" ({made.why})" if made.why else ""))
    said += [f"{score.name.lower()} {score.value:.2f}" for score in made.scores if score.value is not None]
    lifts = [lift for lift in made.lift if lift.measure]
    said += [f"{lift.measure.upper()} {lift.difference:+.4f} ({lift.verdict})" for lift in lifts[:1]]
    return " · ".join(said)
