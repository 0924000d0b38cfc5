"""Release: publish the staged rows as an immutable, versioned folder.

The folder is written under a name that no reader looks at, and renamed: a release is there whole or not at all. Equal
content has an equal version, and a version that is there is never written again. All but `released_at` in
`release.json` is the same whenever, and however often, it is made.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.catalog import Cohort
from cohortlake.core.datasheet import datasheet
from cohortlake.core.errors import GateFailedError
from cohortlake.core.lake import write_error
from cohortlake.core.recount.releases import released, stages
from cohortlake.core.release_counts import count_release
from cohortlake.core.release_facts import Counted, ReleaseFacts, differences
from cohortlake.core.releases import FACTS, SPLITS, file_sha256, release_version
from spark_jobs import delta
from spark_jobs.books import check_books, receipt, recover
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.training import declared_cohort, release_receipt, staged, staging, unchanged, write_parquet

PARTIAL = ".partial"
DATASHEET = "datasheet.md"


def run(ctx: Context) -> StepResult:
    """Publish a release. Its book: in = real and synthetic rows staged, out = rows in the release's files, by digest.

    Raises GateFailedError where a guard is broken, BooksError where the book does not balance (then there is no
    release), LakeWriteError where the lake cannot be written.
    """
    cohort = declared_cohort(ctx)
    recover(ctx.lake, release_receipt(ctx))
    if done := unchanged(ctx):
        return done
    real, facts = staged(ctx, "cohort")
    synthetic, synthetic_facts = staged(ctx, "synthetic")
    rows = pa.concat_tables([real, synthetic])
    check(rows)
    inputs = synthetic_facts.pop("inputs")
    described = {**facts, "inputs": inputs, "declared_version": cohort.version, "synthetic": synthetic_facts}
    folder = ctx.lake.releases(ctx.scope)
    with ctx.lake.lock(f"releases-{ctx.scope}"):
        version, is_new, book = _publish(ctx, folder, cohort, rows, described)
    out = {split: pq.read_metadata(folder / version / f"{split}.parquet").num_rows for split in SPLITS}
    books = [book]
    kept = receipt(ctx, f"release.{cohort.name}", books)
    delta.write_json(staging(ctx) / "_release.json", {"version": version, "inputs": inputs, "receipt": kept})
    facts = {"version": version, "is_new": is_new, "rows": out, "synthetic_rows": synthetic.num_rows}
    return StepResult(books, facts)


def check(rows: pa.Table) -> None:
    """The guards of a release. Raises GateFailedError for a synthetic row out of training or with a person, and for a
    person in two splits: under one record's key or under two.
    """
    synthetic = rows.filter(rows["is_synthetic"])
    real = rows.filter(pc.invert(rows["is_synthetic"]))
    if strays := synthetic.filter(pc.not_equal(synthetic["split"], "train")).num_rows:
        raise GateFailedError(f"{strays} synthetic rows are outside the training split", "Report this: it is a fault.")
    if shared := len(set(synthetic["patient_key"].to_pylist()) & set(real["patient_key"].to_pylist())):
        raise GateFailedError(f"{shared} synthetic keys are real ones", "Give the recipe another namespace.")
    if marked := len(synthetic) - synthetic["person_key"].null_count:
        raise GateFailedError(
            f"{marked} synthetic rows have a person_key: they are nobody", "Report this: it is a fault."
        )
    if unknown := real["person_key"].null_count:
        raise GateFailedError(f"{unknown} real rows have no person_key", "Report this: it is a fault.")
    for key, whose in (("person_key", "persons"), ("patient_key", "patients")):
        splits = real.group_by(key).aggregate([("split", "distinct")])
        if shared := [row for row in splits.to_pylist() if len(row["split_distinct"]) > 1]:
            between = " and ".join(sorted({name for row in shared for name in row["split_distinct"]}))
            raise GateFailedError(
                f"{len(shared)} {whose} ({key}) are in more than one split: {between}", "Report this: it is a fault."
            )


def stated(cohort: Cohort, folder: Path, facts: dict[str, Any], version: str) -> ReleaseFacts:
    """The facts of the release in `folder`: counted from its files, beside what the steps did (`facts`).

    Raises GateFailedError where a step claims other numbers of its rows: what was written is not what was drawn.
    """
    counted = count_release(folder, cohort.features)
    wrong = differences(counted, facts)
    if sum(counted.synthetic_rows.values()) != facts["synthetic"]["made"]:
        wrong.append("synthetic.made")
    if counted.persons_in_several_splits:
        wrong.append("persons in one split")
    if wrong:
        raise GateFailedError(
            f"{cohort.name}: counted from the files, these differ from what the steps claim: {', '.join(wrong)}",
            "Report this: it is a fault.",
        )
    names = {*ReleaseFacts.model_fields} - {*Counted.model_fields, "version"}
    told = {name: facts[name] for name in names if name in facts}
    return ReleaseFacts.model_validate({**counted.model_dump(), **told, "version": version})


def _publish(
    ctx: Context, folder: Path, cohort: Cohort, rows: pa.Table, facts: dict[str, Any]
) -> tuple[str, bool, Book]:
    """Write the release unless it is there; gives its version, whether it is new, and its book."""
    partial = folder / PARTIAL
    try:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        partial.mkdir(parents=True)
        files = {}
        for split in SPLITS:
            path = partial / f"{split}.parquet"
            write_parquet(path, rows.filter(pc.equal(rows["split"], split)).drop_columns("split"))
            files[path.name] = file_sha256(path)
        book = _book(ctx, partial)
        version = release_version(cohort.version, facts["inputs"]["definition"], files)
        if (folder / version).exists():
            shutil.rmtree(partial)
            return version, False, book
        release = stated(cohort, partial, facts, version)
        sheet = partial / DATASHEET
        sheet.write_text(datasheet(cohort, release), encoding="utf-8")
        files[DATASHEET] = file_sha256(sheet)
        released_at = datetime.now(UTC).isoformat(timespec="seconds")
        told = release.model_dump(mode="json")
        delta.write_json(partial / FACTS, {**told, "released_at": released_at, "files": files})
        for path in partial.iterdir():
            path.chmod(0o444)
        partial.rename(folder / version)
    except OSError as error:
        raise write_error(error, folder) from error
    return version, True, book


def _book(ctx: Context, folder: Path) -> Book:
    """The book of a release that is written: the staged rows, and those in its files. Raises BooksError."""
    connection = duckdb.connect()
    sides = [staging(ctx) / f"{name}.parquet" for name in ("cohort", "synthetic")]
    must, does = stages(connection, sides), released(connection, folder)
    book = Book(f"release.{ctx.scope}", must.rows, does.rows, digest_in=must.hex, digest_out=does.hex)
    if not book.is_balanced:
        shutil.rmtree(folder)
    check_books(f"release.{ctx.scope}", [book])
    return book
