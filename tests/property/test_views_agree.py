"""Two engines, one meaning: the compiler to Spark and the row interpreter give the same rows for any view."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from pyspark.sql import SparkSession

from tests.property import compiled, oracle
from tests.property.differences import differences
from tests.property.oracle import RefusedError
from tests.property.resources import resources
from tests.property.views import views
from tests.property.vocabulary import vocabularies

pytestmark = pytest.mark.spark

VIEWS, RESOURCES = 8, 6
# Sibling forEach multiply: a view of millions of rows would try memory, not meaning.
ROWS = 20_000
# Which hundreds are searched; another number searches others.
SEED = int(os.environ.get("COHORTLAKE_SEED", "3495472567"))
Json = Mapping[str, Any]


class Example(NamedTuple):
    """Views and the resources that they are run over: one Spark job, which costs seconds however few they are."""

    views: list[Json]
    resources: list[Json]


@st.composite
def examples(draw: DrawFn) -> Example:
    vocabulary = draw(vocabularies())
    return Example(
        draw(st.lists(views(vocabulary), min_size=VIEWS, max_size=VIEWS, unique_by=as_json)),
        draw(st.lists(resources(vocabulary), min_size=RESOURCES, max_size=RESOURCES)),
    )


def test_the_engines_agree(spark: SparkSession, tmp_path: Path, tell: Callable[[str], None]) -> None:
    tally = search(spark, tmp_path, jobs=2)
    tell(shown(tally))
    assert tally["agreed"] >= 12


@pytest.mark.acceptance
def test_the_engines_agree_on_hundreds(spark: SparkSession, tmp_path: Path, tell: Callable[[str], None]) -> None:
    tally = search(spark, tmp_path, jobs=42, random_seed=SEED)
    tell(f"seed {SEED}: {shown(tally)}")
    assert tally["agreed"] >= 300


def search(spark: SparkSession, scratch: Path, *, jobs: int, random_seed: int | None = None) -> Counter[str]:
    """What was found of pairs of a view and resources, where no pair is one that the engines disagree on.

    Without a seed, each run searches the same pairs.
    """
    tally: Counter[str] = Counter()

    @settings(
        max_examples=jobs,
        derandomize=random_seed is None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
    )
    @given(examples())
    def agree(example: Example) -> None:
        tally.update(compare(spark, scratch, example))

    (agree if random_seed is None else seed(random_seed)(agree))()
    return tally


def shown(tally: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(tally.items()) if count)


def compare(spark: SparkSession, scratch: Path, example: Example) -> Counter[str]:
    """Runs both engines. Raises AssertionError with a view and a resource on which they disagree."""
    accepted, refused, large = [], [], 0
    for view in example.views:
        try:
            expected = oracle.rows(view, example.resources)
        except RefusedError as error:
            refused.append((view, error))
            continue
        if sum(map(len, expected)) > ROWS:
            large += 1
        else:
            accepted.append((view, expected))
    for view, error in refused:
        # One by one, for one refusal stops the job of all.
        assert compiled.refuses(spark, view, example.resources, scratch), as_json(str(error), view, *example.resources)
    found = compiled.rows(spark, [view for view, _ in accepted], example.resources, scratch) if accepted else []
    for (view, expected_rows), found_rows in zip(accepted, found, strict=True):
        for resource, *sides in zip(example.resources, expected_rows, found_rows, strict=True):
            missing, surplus = differences(*sides)
            assert not missing + surplus, f"missing {missing}, surplus {surplus}\n{as_json(view, resource)}"
    return Counter({"agreed": len(accepted), "refused": len(refused), "left out as too large": large})


def as_json(*values: Any) -> str:
    return "\n".join(json.dumps(value, ensure_ascii=False, default=str) for value in values)
