"""The report's first lines: how the run ended, what happened, its figures, and what asks for attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cohortlake.report.records import MISSING
from cohortlake.report.report import Report
from cohortlake.report.silos import Silo
from cohortlake.report.training import Training
from cohortlake.report.words import count, percent, plural, sentence, share

# From this share of the records on, rejects are rather a fault of a mapping or a check than of single records.
MANY = 0.05
# So many hollow columns of a silo are named.
MOST = 4
BAD, WARN, GOOD, NOTE = "bad", "warn", "good", "note"


@dataclass(frozen=True)
class Status:
    """How the run ended: a word, how grave that is, and what happened."""

    word: str
    level: str
    told: str


@dataclass(frozen=True)
class Figure:
    """A number of the run's, and what it counts."""

    value: str
    name: str
    level: str = NOTE
    more: str = ""


@dataclass(frozen=True)
class Attention:
    """Something that a person should look at, and where on the page it stands."""

    level: str
    told: str
    anchor: str


def status(report: Report) -> Status:
    """How the run ended."""
    run = report.run
    if run.failed or report.unbalanced:
        names = sentence([step.name for step in run.failed or report.unbalanced])
        return Status("Failed", BAD, f"{names} failed. {_what_happened(report)} {_still_live(report)}".strip())
    if not run.steps:
        return Status("No records", WARN, "No step of this run has left a record.")
    if not run.is_ended:
        told = "The run has not ended: it is under way, or it was stopped. Run again to go on."
        return Status("Not finished", WARN, f"{told} {_what_happened(report)}")
    if report.is_idle:
        return Status("Nothing new", GOOD, "Every file was known already, so what is live did not change.")
    if report.quarantined:
        is_much = report.quarantined >= MANY * sum(silo.judged for silo in report.silos)
        word, level = ("Done, many rejects", BAD) if is_much else ("Done, with rejects", WARN)
        return Status(word, level, _what_happened(report))
    return Status("Done", GOOD, _what_happened(report))


def _what_happened(report: Report) -> str:
    said = []
    moved = [silo for silo in report.silos if silo.is_new]
    if moved:
        said.append(_brought(moved, report.quarantined))
    tables = report.published_tables
    if tables:
        said.append(f"{plural(len(tables), 'gold table')} now hold{'s' if len(tables) == 1 else ''} "
                    f"{plural(sum(tables.values()), 'row')}.")  # fmt: skip
    for cohort in report.cohorts:
        if cohort.released:
            made = f", {count(cohort.synthetic.made)} of them synthetic" if cohort.synthetic.made else ""
            verb = "was released" if cohort.is_new else "is the same as the release that is there"
            rows = plural(cohort.released_rows, "row")
            said.append(f"Training set {cohort.name} {cohort.version} {verb}: {rows}{made}.")
        elif cohort.is_unchanged:
            said.append(f"Training set {cohort.name} is unchanged.")
    return " ".join(said)


def _brought(silos: list[Silo], quarantined: int) -> str:
    """What the silos brought, and what became of it."""
    files, records = sum(silo.files_new for silo in silos), sum(silo.records for silo in silos)
    published, older = sum(silo.published for silo in silos), sum(silo.superseded for silo in silos)
    told = f"{plural(len(silos), 'silo')} brought {plural(records, 'record')} in {plural(files, 'new file')}; "
    told += f"{plural(published, 'row')} went live in silver"
    if older:
        told += f", {count(older)} were older than what is live"
    share = percent(quarantined, sum(silo.judged for silo in silos))
    held = f"{count(quarantined)} ({share} of all) went to quarantine"
    return f"{told}, {held if quarantined else 'nothing was rejected'}."


def _still_live(report: Report) -> str:
    """What a failure leaves as it was."""
    scopes = sentence([f"of {scope}" for scope in dict.fromkeys(step.scope for step in report.run.failed)])
    return f"What was live {scopes} stays as it was." if scopes else ""


def figures(report: Report) -> list[Figure]:
    """The run's numbers, in the order of the flow."""
    silos, cohorts = report.silos, report.cohorts
    files, new = sum(silo.files for silo in silos), sum(silo.files_new for silo in silos)
    checks, failing = sum(gate.total for gate in report.gates), sum(gate.failed() for gate in report.gates)
    held = report.quarantined
    tables = report.published_tables
    found = [
        Figure(count(new), "new files", more=f"of {count(files)}"),
        Figure(count(sum(silo.landed for silo in silos)), "records landed"),
        Figure(count(sum(silo.published for silo in silos)), "silver rows published"),
        Figure(count(held), "quarantined", BAD if held else GOOD, f"{count(report.quarantine.open)} open in all"),
        Figure(count(failing), "checks with failing rows", WARN if failing else GOOD, f"of {count(checks)} run"),
        Figure(count(sum(tables.values())), "gold rows published", more=plural(len(tables), "table")),
    ]
    made = sum(cohort.synthetic.made for cohort in cohorts if not cohort.is_unchanged)
    released = sum(cohort.released_rows for cohort in cohorts)
    if cohorts:
        found.append(Figure(count(released), "training rows released", more=f"{count(made)} synthetic"))
    return found


def attention(report: Report) -> list[Attention]:
    """What asks for a person, gravest first; of what is equally grave, hollow data first: all else is made of them."""
    order = (BAD, WARN, NOTE)
    return sorted(_attention(report), key=lambda item: order.index(item.level))


def _attention(report: Report) -> Iterator[Attention]:
    yield from _hollow(report)
    for step in report.unbalanced:
        yield Attention(BAD, f"the books of {step.name} do not balance", "books")
    for gate in report.gates:
        for severity, level in (("fail", BAD), ("quarantine", WARN), ("warn", NOTE)):
            failed = gate.failed(severity)
            if failed:
                told = f"{gate.scope}: rows fail {plural(failed, 'check')} of severity {severity}"
                yield Attention(level, told, "gates")
    if report.quarantined:
        yield Attention(WARN, f"{plural(report.quarantined, 'record')} went to quarantine", "quarantine")
    elif report.quarantine.open:
        told = f"{plural(report.quarantine.open, 'record')} from before in quarantine"
        yield Attention(NOTE, told, "quarantine")
    if report.reaches_no_table:
        types, rows = plural(len(report.reaches_no_table), "resource type"), sum(report.reaches_no_table.values())
        most = next(iter(report.reaches_no_table))
        yield Attention(NOTE, f"{types} with {count(rows)} live rows reach no gold table, first {most}", "gold")
    for silo in report.silos:
        yield from _of_silo(silo)
    for cohort in report.cohorts:
        if not cohort.is_unchanged:
            yield from _of_cohort(cohort)


def _hollow(report: Report) -> Iterator[Attention]:
    """What is hollow, by silo: what stops it, what a table or a cohort misses, what fell, and the known gaps."""
    found: dict[tuple[str, str, str], list[str]] = {}
    profile = report.completeness
    for one in (*profile.delivered, *profile.hollow):
        is_gap, stops = one.finding == "known gap", one.severity == "fail"
        level = BAD if stops else WARN
        what = "known gaps in what is needed" if is_gap else "hollow, and stopped" if stops else "hollow"
        if not is_gap or (one.cell.zone == "gold" and one.needed_by):
            told = f"{one.cell.name} ({share(one.cell.known_percent)})"
            found.setdefault((level, one.cell.silo, what), []).append(told)
    for (level, silo, what), names in found.items():
        shown = names[:MOST] + ([f"{len(names) - MOST} more"] if len(names) > MOST else [])
        yield Attention(level, f"{silo}: {what}: {sentence(shown)}", "completeness")


def _of_silo(silo: Silo) -> Iterator[Attention]:
    name, anchor = silo.name, f"silo-{silo.name}"
    if any(step.status == MISSING for step in silo.steps):
        names = sentence([step.kind for step in silo.steps if step.status == MISSING])
        yield Attention(WARN, f"{name}: {names} did not run", anchor)
    if silo.rejected_files:
        yield Attention(WARN, f"{name}: {plural(len(silo.rejected_files), 'file')} rejected whole", anchor)
    if silo.absent_folder:
        told = f"{name}: the data folder has no folder {silo.absent_folder}, so nothing was delivered"
        yield Attention(WARN, told, anchor)
    if silo.deferred_files:
        told = f"{name}: {plural(len(silo.deferred_files), 'file')} still being written, left for the next run"
        yield Attention(NOTE, told, anchor)
    if silo.empty_files:
        yield Attention(NOTE, f"{name}: {plural(len(silo.empty_files), 'file')} empty", anchor)
    if silo.unmapped:
        codes, records = sum(m.codes for m in silo.unmapped), sum(m.records for m in silo.unmapped)
        told = f"{name}: {plural(codes, 'code')} that no map knows, in {plural(records, 'record')}"
        yield Attention(WARN, told, anchor)
    if silo.unexpected:
        fields = plural(len(silo.unexpected), "undeclared field")
        yield Attention(NOTE, f"{name}: {fields} met and kept in bronze only", anchor)


def _of_cohort(cohort: Training) -> Iterator[Attention]:
    anchor, made = f"cohort-{cohort.name}", cohort.synthetic
    if made.why:
        yield Attention(NOTE, f"{cohort.name}: no synthetic rows, {made.why}", anchor)
    for lift in made.lift:
        if lift.verdict == "hurts" and made.made:
            yield Attention(WARN, f"{cohort.name}: synthetic rows hurt {lift.measure} ({lift.area})", anchor)
