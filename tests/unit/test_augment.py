"""Synthetic rows: what a recipe may say, and the guards that no synthetic row passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cohortlake.core.errors import CatalogError, GateFailedError
from spark_jobs.release import check
from synthetic.augment import check_namespace, sparsest, with_keys
from synthetic.generator import missing_patterns, sample
from synthetic.recipe import MinScores, Recipe, read_recipe
from synthetic.sampler import dropped, modelling_frame, to_arrow

TYPES = {"age_years": "number", "ldl_mg_per_dl": "number", "hdl_mg_per_dl": "number"}
TYPES |= {"gender": "category", "is_smoker": "boolean", "site": "category", "outcome": "boolean"}
SCHEMA = pa.schema(
    [
        ("patient_key", pa.string()),
        ("person_key", pa.string()),
        ("silo", pa.string()),
        ("index_date", pa.date32()),
        ("split", pa.string()),
        ("stratum", pa.string()),
        ("is_synthetic", pa.bool_()),
        ("age_years", pa.int32()),
        ("ldl_mg_per_dl", pa.float64()),
        ("hdl_mg_per_dl", pa.float64()),
        ("gender", pa.string()),
        ("is_smoker", pa.bool_()),
        ("site", pa.string()),
        ("outcome", pa.bool_()),
    ]
)
FEATURES = [name for name in TYPES if name != "outcome"]


def a_recipe(**changes: object) -> Recipe:
    given = {
        "cohort": "tiny",
        "synthesizer": "GaussianCopula",
        "distribution": "gaussian_kde",
        "min_real_rows": 20,
        "min_real_persons": 5,
        "factor": 1.0,
        "seed": 7,
        "namespace": "synthetic",
        "min_scores": MinScores(column_shapes=0.7, column_pair_trends=0.4, new_rows=0.9),
    }
    return Recipe.model_validate(given | changes)


def some_rows(count: int = 40, stratum: str = "sparse") -> pa.Table:
    """Real training rows, two a person: a lipid panel missing as a whole in a quarter, one site, whole years of age."""
    draw = np.random.default_rng(3)
    is_untested = np.arange(count) % 4 == 0
    ldl = np.where(is_untested, np.nan, draw.normal(110, 25, count).round(1))
    hdl = np.where(is_untested, np.nan, draw.normal(50, 10, count).round(1))
    frame = pd.DataFrame(
        {
            "patient_key": [f"{stratum}-{number // 2}" for number in range(count)],
            "person_key": [f"person-{stratum}-{number // 2}" for number in range(count)],
            "silo": "hospital",
            "index_date": pd.to_datetime("2024-01-01").date(),
            "split": "train",
            "stratum": stratum,
            "is_synthetic": False,
            "age_years": draw.integers(40, 90, count),
            "ldl_mg_per_dl": ldl,
            "hdl_mg_per_dl": hdl,
            "gender": draw.choice(["female", "male"], count),
            "is_smoker": [None if number % 10 == 0 else bool(number % 3) for number in range(count)],
            "site": "north",
            "outcome": draw.random(count) < 0.3,
        }
    )
    return pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False)


def made_of(rows: pa.Table, count: int, recipe: Recipe) -> pa.Table:
    columns = rows.select(list(TYPES))
    return to_arrow(sample(modelling_frame(columns, TYPES), TYPES, recipe, count), columns.schema)


@pytest.fixture(scope="module")
def made() -> pa.Table:
    return made_of(some_rows(), 200, a_recipe())


def test_a_recipe_asks_for_one_size() -> None:
    with pytest.raises(ValueError, match="target_rows or factor"):
        a_recipe(target_rows=100)
    assert a_recipe(factor=1.5).rows_to_make(40) == 60
    assert a_recipe(factor=None, target_rows=100).rows_to_make(40) == 60
    assert a_recipe(factor=None, target_rows=30).rows_to_make(40) == 0


def test_a_wrong_recipe_is_told_with_its_line(tmp_path: Path) -> None:
    assert read_recipe(tmp_path / "none.yaml") is None
    path = tmp_path / "tiny.yaml"
    path.write_text("synthesizer: CTGAN\n")
    with pytest.raises(CatalogError, match=r"tiny.yaml:1: synthesizer"):
        read_recipe(path)


def test_every_recipe_of_the_project_is_right() -> None:
    for path in (Path(__file__).parents[2] / "synthetic").glob("*.yaml"):
        assert read_recipe(path)


@pytest.mark.parametrize(
    ("strata", "chosen"),
    [
        pytest.param({"a": 60, "b": 40, "c": 10}, "b", id="the sparsest that has enough"),
        pytest.param({"a": 60, "b": 60}, "a", id="the first of equals"),
        pytest.param({"a": 10}, None, id="none has enough"),
    ],
)
def test_the_sparsest_stratum(strata: dict[str, int], chosen: str | None) -> None:
    train = pd.concat([some_rows(count, name).to_pandas() for name, count in strata.items()])
    assert sparsest(train, a_recipe()) == chosen


def test_rows_of_few_persons_are_not_enough() -> None:
    train = some_rows(40).to_pandas().assign(person_key="the only one")
    assert sparsest(train, a_recipe()) is None


def test_equal_input_gives_equal_rows(made: pa.Table) -> None:
    np.random.default_rng().random()
    assert made_of(some_rows(), 200, a_recipe()).equals(made)
    assert not made_of(some_rows(), 200, a_recipe(seed=8)).equals(made)


def test_ranges_types_and_categories_are_kept(made: pa.Table) -> None:
    real = some_rows().to_pandas()
    found = made.to_pandas()
    assert made.schema.equals(SCHEMA.remove(0).remove(0).remove(0).remove(0).remove(0).remove(0).remove(0))
    for name in ("age_years", "ldl_mg_per_dl", "hdl_mg_per_dl"):
        assert found[name].min() >= real[name].min()
        assert found[name].max() <= real[name].max()
    assert (found["ldl_mg_per_dl"].dropna() * 10 % 1).round(6).isin([0, 1]).all(), "one decimal, as in the real rows"
    assert set(found["gender"]) == {"female", "male"}
    assert set(found["is_smoker"].dropna()) == {True, False}
    assert set(found["site"]) == {"north"}


def test_what_is_missing_together_is_missing_together(made: pa.Table) -> None:
    real = modelling_frame(some_rows(), TYPES)
    assert missing_patterns(real[FEATURES], TYPES) == {"ldl_mg_per_dl.is_missing": ["ldl_mg_per_dl", "hdl_mg_per_dl"]}
    found = made.to_pandas()
    assert (found["ldl_mg_per_dl"].isna() == found["hdl_mg_per_dl"].isna()).all()
    assert found["ldl_mg_per_dl"].isna().mean() == pytest.approx(0.25, abs=0.1)
    assert found["is_smoker"].isna().mean() == pytest.approx(0.1, abs=0.07)


def test_copies_and_broken_rules_are_dropped() -> None:
    real = some_rows(20)
    other = some_rows(22).slice(20).select(list(TYPES))
    flipped = real.slice(0, 1).set_column(SCHEMA.get_field_index("outcome"), "outcome", pa.array([None], pa.bool_()))
    sampled = pa.concat_tables([real.slice(3, 1).select(list(TYPES)), other, flipped.select(list(TYPES)), other])
    breaks = [None, None, "outside the stratum", None, None, None]
    assert dropped(sampled, real, FEATURES, breaks) == [
        "a copy",
        None,
        "outside the stratum",
        "a copy",
        "a copy",
        "a copy",
    ]


def test_a_real_key_in_the_namespace_stops_the_run() -> None:
    check_namespace(["a", "synthetic", "not:synthetic:1"], a_recipe())
    with pytest.raises(GateFailedError, match="1 real rows"):
        check_namespace(["a", "synthetic:tiny:1"], a_recipe())


def test_synthetic_rows_carry_their_mark(made: pa.Table) -> None:
    rows = with_keys(made, a_recipe(), "sparse", SCHEMA).to_pandas()
    assert rows["is_synthetic"].all()
    assert set(rows["split"]) == {"train"}
    assert rows["patient_key"].is_unique
    assert rows["patient_key"].str.fullmatch(r"synthetic:tiny:\d+").all()
    assert rows[["person_key", "silo", "index_date"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("split", "validation", "outside the training split"),
        ("patient_key", "sparse-1", "synthetic keys are real ones"),
    ],
)
def test_a_release_refuses(made: pa.Table, column: str, value: str, message: str) -> None:
    real, synthetic = some_rows(), with_keys(made.slice(0, 5), a_recipe(), "sparse", SCHEMA)
    check(pa.concat_tables([real, synthetic]))
    at = SCHEMA.get_field_index(column)
    wrong = synthetic.set_column(at, SCHEMA.field(at), pa.array([value] * 5))
    with pytest.raises(GateFailedError, match=message):
        check(pa.concat_tables([real, wrong]))


def with_column(rows: pa.Table, name: str, values: list[str] | list[None]) -> pa.Table:
    return rows.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), pa.array(values, pa.string()))


def test_a_release_refuses_a_person_in_two_splits() -> None:
    """Two records of one person, each in a split of its own: no record is in two splits, the person is."""
    rows = with_column(some_rows(8), "split", ["train"] * 6 + ["test"] * 2)
    check(rows)
    linked = with_column(rows, "person_key", ["a", "a", "b", "b", "c", "c", "a", "a"])
    with pytest.raises(GateFailedError, match=r"1 persons \(person_key\) are in more than one split: test and train"):
        check(linked)
    split = with_column(with_column(rows, "split", ["train", "test"] * 4), "person_key", list("abcdefgh"))
    with pytest.raises(GateFailedError, match=r"4 patients \(patient_key\)"):
        check(split)


def test_a_release_refuses_rows_without_a_person(made: pa.Table) -> None:
    real, synthetic = some_rows(4), with_keys(made.slice(0, 4), a_recipe(), "sparse", SCHEMA)
    with pytest.raises(GateFailedError, match="4 synthetic rows have a person_key"):
        check(pa.concat_tables([real, with_column(synthetic, "person_key", list("abcd"))]))
    with pytest.raises(GateFailedError, match="4 real rows have no person_key"):
        check(pa.concat_tables([with_column(real, "person_key", [None] * 4), synthetic]))
