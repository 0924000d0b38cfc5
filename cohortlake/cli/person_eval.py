"""`cohortlake person eval`: how well persons are found, against a truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cohortlake.cli import LAKE, CatalogOption, LakeOption, out
from cohortlake.cli.person import _model, commands
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.persons.decisions import in_force
from cohortlake.core.persons.declared import PersonModel
from cohortlake.core.persons.evaluate import Measure, Truth, broken, measure, measure_labels
from cohortlake.core.persons.ids import Key
from cohortlake.core.persons.match_truth import Labels, matched, matched_labels

if TYPE_CHECKING:
    from spark_jobs.link_persons import Found

GRID = (0.02, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 0.99999)


@dataclass(frozen=True)
class Judge:
    """A truth, in either form."""

    truth: dict[Key, Truth]
    labels: Labels

    def measure(self, persons: Mapping[Key, str]) -> list[Measure]:
        return measure_labels(persons, self.labels) if self.labels else measure(persons, self.truth)


RecordsOption = Annotated[Path | None, typer.Option(help="A CSV of records to link, in place of the lake's Patients.")]


@commands.command("eval")
def evaluate(
    truth: Annotated[Path, typer.Option(help="A CSV: who each record is of, or labelled pairs.")],
    records: RecordsOption = None,
    site: Annotated[
        list[str] | None, typer.Option(help="NAME=SILO: the silo that the truth calls NAME; may be given again.")
    ] = None,
    keep_digits: Annotated[
        bool, typer.Option("--keep-digits", help="Keep the digits in names, which Synthea makes and people lack.")
    ] = False,
    lake: LakeOption = LAKE,
    catalog: CatalogOption = None,
) -> None:
    """Measure pairwise precision, recall and F1: over all pairs, by variant, and at other thresholds.

    The truth names each record's site, id and person (`site,local_patient_id,person_key`, maybe `demographic_variant`);
    or labels pairs (`unique_id_l,unique_id_r,clerical_match_score`; without a score they are all the matches that
    there are). The ids may be Patients' ids or their record
    numbers. With `--records` no lake is needed: columns may have the names that such sets use (first_name or given, dob
    or birth_date, …), and where the records have a `cluster` of their own, `--truth` may name the same file.

    **Examples**

    `cohortlake person eval --truth mpi_truth.csv`

    `cohortlake person eval --truth mpi_truth.csv --keep-digits`

    `cohortlake person eval --truth labels.csv --records records.csv`
    """
    model = _model(catalog)
    if keep_digits:
        cleaning = model.cleaning.model_copy(update={"keep_digits_in_names": True})
        model = model.model_copy(update={"cleaning": cleaning})
    if records is not None:
        _of_files(truth, records, model)
    else:
        _of_lake(Lake(lake.absolute()), truth, model, dict(_named(site or ())), again=keep_digits)


def _named(sites: Sequence[str]) -> list[tuple[str, str]]:
    found = [tuple(one.partition("=")[::2]) for one in sites]
    if wrong := [one for one, (name, silo) in zip(sites, found, strict=True) if not name or not silo]:
        raise UsageError(f"--site {wrong[0]!r} is not NAME=SILO", "As in --site site_b=site_b_csv.")
    return [(name, silo) for name, silo in found]


def _of_files(truth: Path, records: Path, model: PersonModel) -> None:
    import pyarrow as pa

    from cohortlake.core.persons.columns import read_records, read_truth
    from cohortlake.core.persons.demographics import SCHEMA
    from cohortlake.core.persons.labels import is_labels, read_labels, truth_of_matches
    from spark_jobs.link_persons import find_persons

    read = read_records(records, model)
    rows = pa.Table.from_pylist(read.rows, schema=SCHEMA)
    keys = list(zip(rows["silo"].to_pylist(), rows["patient_id"].to_pylist(), strict=True))
    out.print(
        f"{len(keys):,} records; columns: {', '.join(f'{theirs} as {ours}' for ours, theirs in read.used.items())}"
    )
    if read.left_out:
        out.print(f"not used: {', '.join(read.left_out)}", style="dim")
    if is_labels(truth):
        said, is_judged = read_labels(truth)
        labels = matched_labels(said, keys)
        judge = Judge({}, labels) if is_judged or not labels else Judge(truth_of_matches(labels, keys), {})
    elif truth.exists() and truth.samefile(records):
        judge = Judge(read.truth, {})
    else:
        judge = Judge(_matched(read_truth(truth), dict.fromkeys(keys, ()), {}), {})
    if not judge.truth and not judge.labels:
        raise UsageError(f"no record of {records} stands in {truth}", "Their ids must name the same records.")
    found = find_persons(rows, model)
    _report(found, keys, judge, model, _persons(found.clusters, keys))


def _of_lake(lake: Lake, path: Path, model: PersonModel, sites: dict[str, str], *, again: bool) -> None:
    from cohortlake.core.persons.columns import read_truth
    from spark_jobs.link import numbered
    from spark_jobs.link_persons import find_persons
    from spark_jobs.link_records import demographics, record_keys, told
    from spark_jobs.link_tables import live, read_decisions, read_members

    rows = demographics(lake, model)
    keys = record_keys(rows)
    if not keys:
        raise UsageError(f"the lake {lake.root} holds no Patient", "Make it with `cohortlake run`, or name --records.")
    numbers = dict(zip(keys, rows["record_numbers"].to_pylist(), strict=True))
    judge = Judge(_matched(read_truth(path), numbers, sites), {})
    if not judge.truth:
        silos = ", ".join(sorted({silo for silo, _ in keys}))
        raise UsageError(
            f"no Patient of the lake stands in {path}",
            f"Say which silo a site is, as --site NAME=SILO; silos are {silos}.",
        )
    same, different = numbered(keys, in_force(read_decisions(lake)))
    said = told(lake, rows)
    found = find_persons(rows, model, same=same, different=[*different, *said.apart(same)], told=said.same)
    persons = _persons(found.clusters, keys) if again else live(read_members(lake))
    if not persons:
        raise UsageError(f"the lake {lake.root} has no persons yet", "Make them with `cohortlake run`.")
    _report(found, keys, judge, model, persons)


def _matched(truth: dict[Key, Truth], records: Mapping[Key, Sequence[str]], sites: dict[str, str]) -> dict[Key, Truth]:
    found, missing = matched(truth, records, sites)
    out.print(f"{len(found):,} records have a truth; {len(records) - len(found):,} have none and are not judged")
    if missing:
        out.print(f"[bold]{missing:,} records of the truth are not there[/]; their pairs are not judged")
    return found


def _persons(clusters: Sequence[Sequence[int]], keys: Sequence[Key]) -> dict[Key, str]:
    named = {number: str(place) for place, cluster in enumerate(clusters) for number in cluster}
    return {key: named.get(number, f"alone {number}") for number, key in enumerate(keys)}


def _report(found: Found, keys: Sequence[Key], judge: Judge, model: PersonModel, persons: Mapping[Key, str]) -> None:
    out.print(f"{found.compared:,} pairs compared, {found.pairs.num_rows:,} kept", style="dim")
    measures = judge.measure(persons)
    table = Table("pairs", "true", "found", "right", "precision", "recall", "F1", header_style="bold", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in measures:
        table.add_row(one.name, *(f"{count:,}" for count in (one.true, one.found, one.right)), *_rates(one))
    out.print(table)
    missed = broken(measures)
    out.print("; ".join(missed) if missed else "the marks hold", style="red" if missed else "green")
    _curve(model, found, keys, judge)


def _rates(one: Measure) -> list[str]:
    return [f"{rate:.4f}" for rate in (one.precision, one.recall, one.f1)]


def _curve(model: PersonModel, found: Found, keys: Sequence[Key], judge: Judge) -> None:
    """What other thresholds would give, and between which of them the marks hold."""
    from spark_jobs.link_persons import regrouped

    table = Table("link at", "precision", "recall", "F1", "marks", header_style="bold", box=None, title="thresholds")
    holding = []
    for link in sorted({*GRID, model.thresholds.link}):
        measures = judge.measure(_persons(regrouped(found, model, link), keys))
        if not (missed := broken(measures)):
            holding.append(link)
        is_ours = link == model.thresholds.link
        table.add_row(f"{link:g}", *_rates(measures[0]), "; ".join(missed) or "hold", style="bold" if is_ours else "")
    out.print(table)
    if holding:
        out.print(f"the marks hold from {holding[0]:g} to {holding[-1]:g}; declared is {model.thresholds.link:g}")
