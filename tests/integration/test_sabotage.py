"""Books that can fail: rows are dropped, doubled and altered in the middle of each step, and the books say so.

A step is sabotaged between what it reads and what it writes; it must end in BooksError, and what was live stays. The
steps of ingest run in this process (`inline`), so that what is patched here is what works.
"""

from __future__ import annotations

import copy
import datetime
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import PROJECT_CATALOG, load_catalog
from cohortlake.core.errors import BooksError
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.recount.gold import recount_table, recount_words
from expectations import gate
from expectations import silo as gate_silo
from spark_jobs import (
    cohort,
    convert_part,
    curate,
    curate_books,
    delta,
    land,
    land_file,
    map_csv,
    match,
    merge,
    parse_csv,
    publish,
    release,
    standardise,
    standardise_convert,
    standardise_csv,
    standardise_fhir,
    training,
    type_fhir,
)
from spark_jobs.books import check_books
from spark_jobs.context import Context
from tests import catalogs, flow
from tests.integration.test_training import PERSON, Project

pytestmark = [pytest.mark.spark, pytest.mark.acceptance]
A, B, H, C = "site_a_fhir_r4", "site_b_csv", "site_b_hl7v2", "site_c_ccda"
TABLES = ("patients", "conditions", "laboratory_results", "medications", "medication_orders", "drugs")
HOW = ("drop", "duplicate", "alter")
PARALLEL = (land, type_fhir, standardise, standardise_csv, standardise_convert, gate_silo)


def spoiled(rows: pa.Table, how: str, column: str) -> pa.Table:
    """Rows with the first one gone, there twice, or with another text in a column."""
    # Taken, not cut: arrow-rs cannot write a struct that begins in the middle of its buffer.
    if how == "drop" or not rows.num_rows:
        return rows.take(pa.array(range(1, rows.num_rows), pa.int64()))
    if how == "duplicate":
        return rows.take(pa.array([*range(rows.num_rows), 0], pa.int64()))
    values = rows[column].to_pylist()
    values[0] = changed(values[0])
    return rows.set_column(
        rows.column_names.index(column), rows.schema.field(column), pa.array(values, rows[column].type)
    )


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, dict):
        name = next(name for name, inner in value.items() if inner is not None)
        return {**value, name: changed(value[name])}
    if isinstance(value, list):
        return [changed(value[0]), *value[1:]] if value else ["?"]
    return f"{value or ''}~" if isinstance(value, str | bytes) and not isinstance(value, bytes) else value


def inline(spark: Any, units: Any, work: Callable[[Any], Any], **_: Any) -> list[Any]:
    """`run_units` without Spark."""
    return [json.loads(json.dumps(work(copy.deepcopy(unit)))) for unit in units]


@dataclass
class Stage:
    """A lake that waits for a step, with the data that it was made from."""

    root: Path
    catalog: Path
    spark: Any = None
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def lake(self) -> Lake:
        return Lake(self.root / "lake")

    def context(self, scope: str) -> Context:
        made = Context(self.lake, self.root / "data", load_catalog(self.catalog), scope, "run")
        made.__dict__["spark"] = self.spark
        return made

    def run(self, job: Callable[[Context], Any], scope: str) -> None:
        check_books(scope, job(self.context(scope)).books)

    def copy(self, to: Path) -> Stage:
        shutil.copytree(self.root, to, symlinks=True)
        return replace(self, root=to)

    def live(self) -> Any:
        """All that a reader sees: silver, gold and releases."""
        releases = sorted(str(path.relative_to(self.root)) for path in self.root.rglob("release.json"))
        rooms = ("phi/bronze", "phi/silver", "research/gold")
        return [flow.content(self.lake.root, room) for room in rooms], releases


def deliver(root: Path, silo: str, changes: dict[str, list[str]] | None = None) -> None:
    """A silo's example as its delivery, or these files."""
    folder = root / "data" / load_catalog().silos[silo].folder
    folder.mkdir(parents=True, exist_ok=True)
    if changes is None:
        shutil.copytree(PROJECT_CATALOG / "silos" / silo / "example/input", folder, dirs_exist_ok=True)
    for name, lines in (changes or {}).items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def second_delivery(root: Path) -> None:
    """A newer and an older version of a patient, and one deleted."""
    lines = (PROJECT_CATALOG / "silos" / A / "example/input/Patient.ndjson").read_text("utf-8").splitlines()
    first, second = (json.loads(line) for line in lines[:2])

    def version(resource: dict[str, Any], day: str, **more: Any) -> str:
        return json.dumps({**resource, **more, "meta": {"lastUpdated": f"{day}T00:00:00Z"}})

    newer = version(first, "2030-01-01", gender="other")
    older = version(first, "1990-01-01", gender="unknown")
    third = version({**first, "id": "third"}, "2030-01-01")
    fourth = version({**first, "id": "fourth"}, "2030-01-01")
    gone = {"resourceType": "Bundle", "type": "transaction", "meta": {"lastUpdated": "2031-01-01T00:00:00Z"}}
    gone["entry"] = [{"request": {"method": "DELETE", "url": f"Patient/{second['id']}"}}]  # type: ignore[assignment]
    deliver(root, A, {"Patient.2.ndjson": [newer, older, third, fourth], "deleted.2.ndjson": [json.dumps(gone)]})


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Iterator[dict[str, Stage]]:
    """The lake before each step; it comes to its end in honest steps, which is the control."""
    root = tmp_path_factory.mktemp("sabotage")
    catalog = catalogs.catalog_of(root / "catalog", [PROJECT_CATALOG / "silos" / name for name in (A, B, H, C)], TABLES)
    with pytest.MonkeyPatch.context() as patch:
        for module in PARALLEL:
            patch.setattr(module, "run_units", inline)
        stage, found = Stage(root / "0", catalog), {}
        (stage.root / "data").mkdir(parents=True)

        def keep(name: str) -> None:
            found[name] = stage.copy(root / name)

        for silo in (A, B, H, C):
            deliver(stage.root, silo)
            bad = {"Observation.bad.ndjson": [bad_observation()]}
            deliver(stage.root, A, bad)
        keep("land")
        for silo in (A, B, H, C):
            stage.run(land.run, silo)
        keep("standardise")
        stage.run(standardise.run, A)
        keep("gate")
        stage.run(gate.run, A)
        keep("publish")
        stage.run(publish.run, A)
        second_delivery(stage.root)
        for job in (land.run, standardise.run, gate.run):
            stage.run(job, A)
        keep("merge")
        stage.run(publish.run, A)
        stage.spark = spark
        stage.run(match.run, "doors")
        keep("curate")
        stage.run(curate.run, "gold")
        stage.spark = None
        found["gold"] = stage.copy(root / "gold")
        stage.run(publish.run_gold, "gold")
        assert sum(rows for rows, _ in flow.content(stage.lake.root, "research/gold").values()) > 5
        yield found


def bad_observation() -> str:
    lines = (PROJECT_CATALOG / "silos" / A / "example/input/Observation.ndjson").read_text("utf-8").splitlines()
    return json.dumps({**json.loads(lines[0]), "id": "bad", "status": "nonsense"})


def test_honest_steps_balance(stages: dict[str, Stage], tell: Callable[[str], None]) -> None:
    """The control: each step was run as it is, and none of its books failed."""
    assert set(stages) == {"land", "standardise", "gate", "publish", "merge", "curate", "gold"}


Patch = Callable[[pytest.MonkeyPatch, str], None]


def _land(patch: pytest.MonkeyPatch, how: str) -> None:
    real = land_file._columns
    patch.setattr(land_file, "_columns", lambda *given: spoiled(real(*given), how, "payload"))


def _typed(column: str) -> Patch:
    def spoil(patch: pytest.MonkeyPatch, how: str) -> None:
        real = standardise_fhir._typed

        def typed(*given: Any) -> Any:
            rows, rejected = real(*given)
            return spoiled(rows, how, column if column in rows.column_names else "meta"), rejected

        patch.setattr(standardise_fhir, "_typed", typed)

    return spoil


def _converted(patch: pytest.MonkeyPatch, how: str) -> None:
    real = convert_part.Made.write

    def write(made: convert_part.Made, folder: Path) -> Any:
        columns = next(iter(made.rows.values()))
        for values in columns.values():
            if how == "drop":
                values.pop()
            elif how == "duplicate":
                values.append(values[0])
        if how == "alter":
            columns["payload"][0] = columns["payload"][0].replace('"id":"', '"language":"de","id":"')
        return real(made, folder)

    patch.setattr(convert_part.Made, "write", write)


def _written(module: Any, folder: str, column: str) -> Patch:
    """The Parquet files that a module writes into a folder."""

    def spoil(patch: pytest.MonkeyPatch, how: str) -> None:
        real = pq.write_table

        def write(table: pa.Table, where: Any, *more: Any, **options: Any) -> None:
            is_meant = f"/{folder}/" in str(where) and table.num_rows
            real(spoiled(table, how, column) if is_meant else table, where, *more, **options)

        patch.setattr(module.pq, "write_table", write)

    return spoil


def _mapped(patch: pytest.MonkeyPatch, how: str) -> None:
    real = map_csv.map_codings

    def map_codings(*given: Any) -> Any:
        made = real(*given)
        column = next(name for name in made.rows.column_names if name != "id" and made.rows[name][0].as_py())
        made.rows = spoiled(made.rows, how, column)
        return made

    patch.setattr(map_csv, "map_codings", map_codings)


def _parts(patch: pytest.MonkeyPatch, how: str) -> None:
    real = merge._parts

    def parts(target: merge.Target, *given: Any) -> Any:
        made = real(target, *given)
        rows = pq.read_table(target.table / made[0].path, partitioning=None) if made else None
        if how == "alter" and rows is not None:
            return [delta.write_part(target.table, spoiled(rows, how, "meta"), made[0].partition), *made[1:]]
        return made[1:] if how == "drop" else [*made, delta.write_part(target.table, rows, made[0].partition)]

    patch.setattr(merge, "_parts", parts)


def _rows_written(patch: pytest.MonkeyPatch, how: str) -> None:
    real = delta.write_part
    patch.setattr(delta, "write_part", lambda table, rows, of: real(table, spoiled(rows, how, "gender"), of))


def _gone(patch: pytest.MonkeyPatch, how: str) -> None:
    real = merge._gone

    def gone(target: merge.Target, going: Any) -> Any:
        if how == "drop":
            return real(target, {})
        every = {path: list(range(2)) for path in going}
        return real(target, every if how == "duplicate" else {path: [1 - int(rows[0])] for path, rows in going.items()})

    patch.setattr(merge, "_gone", gone)


def spoiled_frame(frame: Any, how: str, column: str) -> Any:
    """The same to a frame of Spark's."""
    from pyspark.sql import functions as F

    first = frame.limit(1)
    if how == "alter":
        return frame.withColumn(column, F.concat(F.coalesce(F.col(column), F.lit("")), F.lit("~")))
    return frame.union(first) if how == "duplicate" else frame.limit(max(0, frame.count() - 1))


def _view(patch: pytest.MonkeyPatch, how: str) -> None:
    real = curate.view_structs

    def view_structs(silver: Any, views: Any, key: Any) -> Any:
        return real(spoiled_frame(silver, how, "gender") if "gender" in silver.columns else silver, views, key)

    patch.setattr(curate, "view_structs", view_structs)


def _sql(patch: pytest.MonkeyPatch, how: str) -> None:
    real = curate.conformed

    def conformed(frame: Any, table: Any) -> Any:
        made = real(frame, table)
        return spoiled_frame(made, how, "status") if table.is_sql else made

    patch.setattr(curate, "conformed", conformed)


def _gold(patch: pytest.MonkeyPatch, how: str) -> None:
    real = publish.replacing

    def replacing(table: Path, version: int, schema: pa.Schema, parts: list[Any], facts: Any) -> Any:
        if parts and how == "drop":
            parts = parts[1:]
        elif parts:
            rows = spoiled(pq.read_table(table / parts[0].path), how, "silo")
            parts = [delta.write_part(table, rows, {}), *parts[1:]]
        return real(table, version, schema, parts, facts)

    patch.setattr(publish, "replacing", replacing)


@dataclass(frozen=True)
class Step:
    """A step: the stage that waits for it, its job and scope, and how it is spoiled."""

    stage: str
    job: Callable[[Context], Any]
    scope: str
    spoil: Patch


STEPS = {
    "land NDJSON": Step("land", land.run, A, _land),
    "land CSV": Step("land", land.run, B, _land),
    "land HL7 v2": Step("land", land.run, H, _land),
    "land C-CDA": Step("land", land.run, C, _land),
    "standardise FHIR": Step("standardise", standardise.run, A, _typed("gender")),
    "standardise CSV: parse": Step("standardise", standardise.run, B, _written(parse_csv, "target", "_file")),
    "standardise CSV: map": Step("standardise", standardise.run, B, _mapped),
    "standardise HL7 v2: convert": Step("standardise", standardise.run, H, _converted),
    "standardise HL7 v2: type": Step("standardise", standardise.run, H, _typed("status")),
    "standardise C-CDA: type": Step("standardise", standardise.run, C, _typed("status")),
    "gate": Step("gate", gate.run, A, _written(gate_silo, "failed", "id")),
    "publish as staged": Step("publish", publish.run, A, _parts),
    "publish merged": Step("merge", publish.run, A, _rows_written),
    "publish deletes": Step("merge", publish.run, A, _gone),
    "curate a view": Step("curate", curate.run, "gold", _view),
    "curate SQL": Step("curate", curate.run, "gold", _sql),
    "publish gold": Step("gold", publish.run_gold, "gold", _gold),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_is_done_to_rows_in_a_step_is_seen(
    name: str, stages: dict[str, Stage], tmp_path: Path, spark: Any, tell: Callable[[str], None]
) -> None:
    step, seen = STEPS[name], []
    for how in HOW:
        stage = stages[step.stage].copy(tmp_path / how)
        stage.spark = spark if step.job is curate.run else None
        before = stage.live()
        with pytest.MonkeyPatch.context() as patch:
            step.spoil(patch, how)
            with pytest.raises(BooksError) as found:
                stage.run(step.job, step.scope)
        assert found.value.hint
        assert stage.live() == before, f"{name}: {how}: something went live"
        seen.append(f"{how} ✓")
    tell(f"{name:<28} {'   '.join(seen)}")


def test_every_column_of_gold_is_recounted(
    stages: dict[str, Stage], tmp_path: Path, spark: Any, tell: Callable[[str], None]
) -> None:
    """One value of one row, whichever column it is in; a table of people is made by rules that have their own tests."""
    stage = stages["curate"].copy(tmp_path / "curate")
    stage.spark, given = spark, []
    with pytest.MonkeyPatch.context() as patch:
        real = curate.curated_books
        patch.setattr(curate, "curated_books", lambda *them: given.append(them) or real(*them))
        stage.run(curate.run, "gold")
    ctx, staged, types, doubles = given[0]
    sources, connection = curate_books.made_from(ctx, types, doubles), delta_connection()
    files = {name: [ctx.lake.gold(name) / part.path for part in table.parts] for name, table in staged.items()}
    tried, unseen = 0, set()
    for name, table in ctx.catalog.tables.items():
        if table.source == "persons" or not files[name]:
            continue
        honest = pq.read_table(files[name][0])
        for column in table.columns:
            rows = another(honest, column)
            made = ctx.lake.gold(name) / delta.write_part(ctx.lake.gold(name), rows, {}).path
            spoiled_files = {**files, name: [made, *files[name][1:]]}
            found = recount_table(connection, ctx.catalog, table, sources, spoiled_files)
            tried += 1
            if all(one.is_agreed for one in (*found, recount_words(connection, ctx.catalog, sources))):
                unseen.add(f"{name}.{column}")
    assert not unseen
    tell(f"{tried} columns of gold: one value of one row altered, {tried - len(unseen)} seen")


def another(rows: pa.Table, column: str) -> pa.Table:
    """Rows of which one has another value in a column: the first that has one, else the first."""
    values, kind = rows[column].to_pylist(), rows.schema.field(column).type
    at = next((place for place, value in enumerate(values) if value is not None), 0)
    values[at] = different(values[at], kind)
    return rows.set_column(rows.column_names.index(column), rows.schema.field(column), pa.array(values, kind))


def different(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return not value
    if pa.types.is_date(kind):
        return (value or datetime.date(2000, 1, 1)) + datetime.timedelta(days=1)
    if pa.types.is_timestamp(kind):
        return (value or datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)) + datetime.timedelta(hours=1)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return f"{value or ''}~"
    return (value or 0) + 1


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Project:
    """A cohort that is staged and waits for its release, without synthetic rows."""
    made = Project(tmp_path_factory.mktemp("cohort"))
    shutil.copytree(Path(__file__).parent / "training", made.root, dirs_exist_ok=True)
    made.add_persons(range(60))
    assert PERSON.names
    result = cohort.run(made.context())
    assert [(book.rows_in, book.rows_out + book.left_out) for book in result.books] == [(60, 60)]
    facts = {"made": 0, "why": "none", "inputs": result.facts["inputs"]}
    training.stage(made.context(), "synthetic", made.rows().schema.empty_table(), facts)
    return made


@pytest.mark.parametrize("name", ["cohort", "release"])
def test_what_is_done_to_rows_of_a_training_set_is_seen(
    name: str, project: Project, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    assert date.today()
    seen = []
    for how in HOW:
        shutil.copytree(project.root, tmp_path / how)
        mine = Project(tmp_path / how)
        with pytest.MonkeyPatch.context() as patch:
            module, writer = (cohort, "stage") if name == "cohort" else (release, "write_parquet")
            real = getattr(module, writer)

            def write(where: Any, *given: Any, real: Any = real, how: str = how) -> None:
                rows = [spoiled(one, how, "patient_key") if isinstance(one, pa.Table) else one for one in given]
                real(where, *rows)

            patch.setattr(module, writer, write)
            with pytest.raises(BooksError):
                (cohort if name == "cohort" else release).run(mine.context())
        assert not list(mine.lake.releases("tiny").glob("*/release.json"))
        seen.append(f"{how} ✓")
    tell(f"{name:<28} {'   '.join(seen)}")
