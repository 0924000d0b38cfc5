"""Cohort, augment, release, over two small gold tables: attrition, no leakage, stable splits, immutable releases.

`training/` beside this file is the project's catalog and recipe.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import CatalogError, GateFailedError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.releases import SPLITS, find_release, list_releases, verify
from spark_jobs import cohort, delta, release
from spark_jobs.context import Context, StepResult
from synthetic import augment
from synthetic.proof import question
from synthetic.proof.finding import found

pytestmark = pytest.mark.spark

PERSON = pa.schema(
    [
        ("patient_key", pa.string()),
        ("person_key", pa.string()),
        ("silo", pa.string()),
        ("birth_year", pa.int32()),
        ("gender", pa.string()),
    ]
)
TEST = pa.schema([("patient_key", pa.string()), ("tested_on", pa.date32()), ("value", pa.float64())])


@dataclass(frozen=True)
class Project:
    """A catalog and a lake under one folder, with the three steps of the cohort `tiny`."""

    root: Path

    @property
    def lake(self) -> Lake:
        return Lake(self.root / "lake")

    @property
    def sql(self) -> Path:
        return self.root / "catalog/cohorts/tiny"

    def context(self, **changes: Any) -> Context:
        catalog = load_catalog(self.root / "catalog")
        return replace(Context(self.lake, self.root, catalog, "tiny", "run"), **changes)

    def run(self, **changes: Any) -> list[StepResult]:
        results = [job(self.context(**changes)) for job in (cohort.run, augment.run, release.run)]
        assert all(book.is_balanced for result in results for book in result.books)
        return results

    def add(self, table: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        folder = self.lake.gold(table)
        delta.create(folder, schema, privacy=dict.fromkeys(schema.names, "sensitive"))
        delta.commit(folder, [delta.write_part(folder, pa.Table.from_pylist(rows, schema=schema), {})])

    def add_persons(self, numbers: range) -> None:
        """Patients, a fifth of them women, one in twenty a child or of unknown gender; two or three tests each.

        One in 25 is the same person as the patient five before.
        """
        draw = np.random.default_rng(numbers.start)
        genders = ["female", "male", "male", "male", "male"]
        persons, tests = [], []
        for number in numbers:
            key, kind = f"p{number}", number % 20
            gender = "unknown" if kind == 1 else genders[number % 5]
            silo = "north" if number % 3 else "south"
            person = f"person {number - 5 if number % 25 == 10 else number}"
            persons.append((key, person, silo, 2015 if kind == 2 else int(draw.integers(1940, 2000)), gender))
            for months in range(0 if kind == 3 else int(draw.integers(2, 4))):
                tested_on = date(2024, 6, 1) - timedelta(days=90 * months + int(draw.integers(0, 30)))
                tests.append((key, tested_on, round(float(draw.normal(6, 1)), 1)))
            # Half of the women have the outcome, so that few of them bear a verdict.
            mean = 7 if gender == "female" else 6.5
            tests.append((key, date(2025, 3, 1), round(float(draw.normal(mean, 1)), 1)))
        self.add("persons", [dict(zip(PERSON.names, row, strict=True)) for row in persons], PERSON)
        self.add("tests", [dict(zip(TEST.names, row, strict=True)) for row in tests], TEST)

    def rows(self) -> pa.Table:
        """The staged cohort."""
        return pq.read_table(self.lake.staging("research", "tiny") / "cohort.parquet")


TRIAL = (question.try_redraws, question.judge)


@pytest.fixture(scope="module", autouse=True)
def lift_is_shown() -> Iterator[None]:
    """What is tested here is what becomes of accepted rows: the trial, which these few people do not stand, is planted.

    `tests/unit/test_proof.py` has the proof's own tests, and `test_without_lift…` below has the true trial.
    """
    shown = [found(check, True, "planted: 1.0") for check in question.STAGES[-1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(question, "try_redraws", lambda *asked: None)
        patch.setattr(question, "judge", lambda trial, recipe: (shown, {}))
        yield


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, spark: Any) -> Project:
    """A project whose first release is made: 200 persons."""
    project = Project(tmp_path_factory.mktemp("training"))
    shutil.copytree(Path(__file__).parent / "training", project.root, dirs_exist_ok=True)
    project.add_persons(range(200))
    project.run()
    return project


@pytest.fixture
def copy(first: Project, tmp_path: Path) -> Project:
    """The project with its first release, to be changed."""
    shutil.copytree(first.root, tmp_path / "copy")
    return Project(tmp_path / "copy")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a release but `release.json`, which tells when it was made."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "release.json"}


def test_attrition_counts_each_criterion(first: Project) -> None:
    facts = find_release(first.lake, "tiny").facts
    assert [(step["kind"], step["rows"]) for step in facts["attrition"]] == [
        ("candidates", 200),
        ("inclusion", 190),
        ("inclusion", 180),
        ("exclusion", 170),
    ]
    assert facts["attrition"][0]["silos"] == {"north": 133, "south": 67}
    assert [step["persons"] for step in facts["attrition"]] == [192, 182, 172, 162], "eight are two patients each"
    assert (facts["counts"]["rows"], facts["counts"]["persons"]) == (170, 162)
    assert facts["inputs"]["gold"] == {"persons": 1, "tests": 1}


def test_only_training_holds_synthetic_rows(first: Project) -> None:
    found = find_release(first.lake, "tiny")
    tables = {split: pq.read_table(found.folder / f"{split}.parquet").to_pandas() for split in SPLITS}
    made = tables["train"][tables["train"]["is_synthetic"]]
    assert len(made) == found.facts["synthetic"]["made"] > 0
    assert set(made["stratum"]) == set(made["gender"].map({"female": "women"})) == {"women"}
    assert not tables["validation"]["is_synthetic"].any()
    assert not tables["test"]["is_synthetic"].any()
    persons = [set(table["person_key"].dropna()) for table in tables.values()]
    assert sum(map(len, persons)) == 162
    assert not persons[0] & persons[1] | persons[0] & persons[2] | persons[1] & persons[2]


def test_records_after_the_index_change_no_feature(copy: Project) -> None:
    before = copy.rows()
    late = [
        {"patient_key": f"p{n}", "tested_on": date(2025, 1, 1) + timedelta(days=n % 30), "value": 99.0}
        for n in range(200)
    ]
    copy.add("tests", late, TEST)
    cohort.run(copy.context())
    after = copy.rows()
    assert after.drop_columns("outcome").equals(before.drop_columns("outcome"))
    assert all(after["outcome"].to_pylist()), "the records were there to be seen"
    with pytest.raises(UsageError, match="no staged synthetic rows"):
        release.run(copy.context())


def test_nobody_changes_split_as_data_grow(copy: Project) -> None:
    before = dict(zip(*(copy.rows()[name].to_pylist() for name in ("patient_key", "split")), strict=True))
    copy.add_persons(range(200, 300))
    copy.run()
    after = dict(zip(*(copy.rows()[name].to_pylist() for name in ("patient_key", "split")), strict=True))
    assert len(after) > len(before)
    assert {key: after[key] for key in before} == before
    assert len(list_releases(copy.lake, "tiny")) == 2


def test_nothing_new_starts_no_spark(copy: Project) -> None:
    version = find_release(copy.lake, "tiny").version
    for job in (cohort.run, augment.run, release.run):
        ctx = copy.context()
        assert job(ctx) == StepResult(facts={"unchanged": True, "version": version})
        assert "spark" not in vars(ctx)


def test_a_release_is_never_written_again(copy: Project) -> None:
    found = find_release(copy.lake, "tiny")
    times = {path: path.stat().st_mtime_ns for path in found.folder.iterdir()}
    assert copy.run(force=True)[2].facts["is_new"] is False
    assert {path: path.stat().st_mtime_ns for path in found.folder.iterdir()} == times
    assert [one.version for one in list_releases(copy.lake, "tiny")] == [found.version]


@pytest.mark.parametrize("is_released", [pytest.param(False, id="in release"), pytest.param(True, id="at its end")])
def test_a_killed_run_leaves_what_a_clean_one_does(first: Project, copy: Project, is_released: bool) -> None:
    clean = find_release(first.lake, "tiny")
    (copy.lake.staging("research", "tiny") / "_release.json").unlink()
    if not is_released:
        shutil.rmtree(copy.lake.releases("tiny") / clean.version)
        partial = copy.lake.releases("tiny") / release.PARTIAL
        partial.mkdir()
        (partial / "train.parquet").write_bytes(b"half")
    copy.run()
    assert [path.name for path in copy.lake.releases("tiny").iterdir()] == [clean.version]
    assert contents(copy.lake.releases("tiny") / clean.version) == contents(clean.folder)


def test_too_few_rows_make_none(copy: Project) -> None:
    path = copy.root / "synthetic/tiny.yaml"
    path.write_text(path.read_text().replace("min_real_persons: 15", "min_real_persons: 500"))
    augment.run(copy.context())
    version = release.run(copy.context()).facts["version"]
    found = find_release(copy.lake, "tiny", version)
    assert len(list_releases(copy.lake, "tiny")) == 2, "another recipe is another version"
    told = "withheld, cannot judge: evidence: no stratum has 20 rows of 500 persons in training (men"
    assert found.facts["synthetic"]["why"].startswith(told)
    assert "There are no synthetic rows in this release" in (found.folder / "datasheet.md").read_text()
    assert not any(pq.read_table(found.folder / "train.parquet")["is_synthetic"].to_pylist())


def test_without_lift_no_synthetic_row_goes_out(copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The true trial, of the true generator: the outcome here is a coin toss, and nothing helps."""
    monkeypatch.setattr(question, "try_redraws", TRIAL[0])
    monkeypatch.setattr(question, "judge", TRIAL[1])
    version = copy.run(force=True)[2].facts["version"]
    found = find_release(copy.lake, "tiny", version)
    made = found.facts["synthetic"]
    assert made["proof"]["verdict"] == "refused"
    assert "lift: AUROC" in made["why"]
    assert made["sampled"] > 0
    assert found.facts["synthetic_rows"] == {}
    assert not any(pq.read_table(found.folder / "train.parquet")["is_synthetic"].to_pylist())
    sheet = (found.folder / "datasheet.md").read_text()
    assert "There are no synthetic rows in this release: withheld; the proof's verdict is 'refused'." in sheet
    assert "| lift | refused | AUROC" in sheet


def tables_of(sheet: str) -> dict[str, list[dict[str, str]]]:
    """The datasheet's tables by their first column's head: rows by column."""
    tables: dict[str, list[dict[str, str]]] = {}
    for block in sheet.split("\n\n"):
        lines = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
        if lines:
            tables[lines[0][0]] = [dict(zip(lines[0], line, strict=False)) for line in lines[2:]]
    return tables


def test_the_datasheet_says_what_the_files_hold(first: Project) -> None:
    """Each number of it, counted anew from the Parquet."""
    found = find_release(first.lake, "tiny")
    sheet = (found.folder / "datasheet.md").read_text()
    tables = tables_of(sheet)
    frames = {split: pq.read_table(found.folder / f"{split}.parquet").to_pandas() for split in SPLITS}
    every = pd.concat([frame.assign(split=split) for split, frame in frames.items()])
    real = every[~every["is_synthetic"]]

    def counted(rows: pd.DataFrame) -> dict[str, str]:
        numbers = [len(rows), rows["person_key"].nunique(), int(rows["outcome"].sum())]
        heads = ("rows", "persons", "rows with the outcome", "prevalence")
        return dict(zip(heads, [*map(str, numbers), f"{100 * numbers[2] / numbers[0]:.1f} %"], strict=True))

    assert tables["split"] == [
        {"split": "all", **counted(real)},
        *({"split": split, **counted(real[real["split"] == split])} for split in SPLITS),
    ]
    assert tables["silo"] == [{"silo": name, **counted(part)} for name, part in real.groupby("silo")]
    cells = {f"{split}, {stratum}": counted(part) for (split, stratum), part in real.groupby(["split", "stratum"])}
    assert {row.pop("split, stratum"): row for row in tables["split, stratum"]} == cells
    missing = {row["column"]: row["rows missing"].split(" ")[0] for row in tables["column"]}
    assert missing == {name: str(int(real[name].isna().sum())) for name in missing}
    last = tables["step"][-1]
    assert (last["rows left"], last["persons left"]) == (str(len(real)), str(real["person_key"].nunique()))
    assert f"have {real['patient_key'].nunique()} records (`patient_key`)" in sheet
    assert (real.groupby("person_key")["split"].nunique() == 1).all()
    assert "0 persons stand in more than one split" in sheet
    made = every[every["is_synthetic"]]
    source = real[(real["split"] == "train") & (real["stratum"] == "women")]
    assert f"{len(made)} synthetic rows stand in `train.parquet`" in sheet
    assert f"its {len(source)} real training rows of {source['person_key'].nunique()} persons" in sheet


@pytest.mark.parametrize(
    ("name", "alter"),
    [
        pytest.param("counts", lambda facts: facts["counts"].update(persons=170), id="records taken for persons"),
        pytest.param("by_silo", lambda facts: facts["by_silo"]["north"].update(events=0), id="a silo without events"),
        pytest.param("missing", lambda facts: facts["missing"].update(age_years=1), id="a value less"),
        pytest.param("attrition", lambda facts: facts["attrition"][-1].update(rows=171), id="a candidate more"),
    ],
)
def test_a_release_refuses_numbers_that_its_files_do_not_have(
    copy: Project, name: str, alter: Callable[[dict[str, Any]], None]
) -> None:
    path = copy.lake.staging("research", "tiny") / "_cohort.json"
    facts = json.loads(path.read_text())
    alter(facts)
    path.write_text(json.dumps(facts))
    shutil.rmtree(copy.lake.releases("tiny"))
    with pytest.raises(GateFailedError, match=f"differ from what the steps claim: {name}"):
        release.run(copy.context(force=True))
    assert list_releases(copy.lake, "tiny") == []


def _alter(folder: Path) -> None:
    path = folder / "test.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")


def _rehash(folder: Path) -> None:
    path = folder / "release.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"declared_version": "1.0.0"', '"declared_version": "1.0.1"'))


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        pytest.param(_alter, "test.parquet was altered", id="a byte more"),
        pytest.param(lambda folder: (folder / "datasheet.md").unlink(), "datasheet.md is missing", id="a file less"),
        pytest.param(lambda folder: (folder / "x.txt").touch(), "x.txt is not part of the release", id="a file more"),
        pytest.param(_rehash, "release.json was altered", id="other facts"),
    ],
)
def test_tampering_is_found(copy: Project, tamper: Callable[[Path], Any], problem: str) -> None:
    found = find_release(copy.lake, "tiny")
    assert verify(found) == []
    tamper(found.folder)
    assert [text for text in verify(find_release(copy.lake, "tiny")) if text.startswith(problem)]


def test_a_release_that_is_not_there(first: Project) -> None:
    with pytest.raises(UsageError, match="no release here"):
        find_release(first.lake, "tiny", "9.9.9-00000000")
    with pytest.raises(UsageError, match="other has no release"):
        find_release(first.lake, "other")


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("index.sql", "AS out_1", "AS out_2", r"index.sql: its columns .*'out_1'.* missing, .*'out_2'.* too many"),
        ("index.sql", "FROM persons p", "FROM nobody p", r"index.sql: .*TABLE_OR_VIEW_NOT_FOUND"),
        (
            "features.sql",
            "JOIN tests t ON",
            "JOIN tests t ON t.value > 7 AND",
            r"features.sql: \d+ index rows have none",
        ),
    ],
)
def test_sql_that_breaks_the_contract(copy: Project, file: str, old: str, new: str, problem: str) -> None:
    path = copy.sql / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CatalogError, match=problem):
        cohort.run(copy.context())


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("is_frequent", pa.array([1, 2]), "is_frequent is a int64, declared as a boolean"),
        ("outcome", pa.array([True, None]), "found 1 nulls in a bool"),
        ("has_outcome", pa.array([True, None]), "outcome.sql: 1 index rows have none, 0 rows are not in cohort_index"),
        ("has_index", pa.array([True, None]), "features.sql: 0 index rows have none, 1 rows are not in cohort_index"),
    ],
)
def test_rows_that_break_the_contract(first: Project, column: str, values: pa.Array, problem: str) -> None:
    rows = first.rows().slice(0, 2)
    for marker in ("has_index", "has_features", "has_outcome"):
        rows = rows.append_column(marker, pa.array([True, True]))
    cohort.check_rows(first.sql, first.context().catalog.cohorts["tiny"], rows, 2)
    rows = rows.set_column(rows.schema.get_field_index(column), column, values)
    with pytest.raises(CatalogError, match=problem):
        cohort.check_rows(first.sql, first.context().catalog.cohorts["tiny"], rows, 2)
