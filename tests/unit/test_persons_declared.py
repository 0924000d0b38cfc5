"""The declared model holds together, and says where it does not."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.core.errors import CatalogError
from cohortlake.core.persons.declared import load_model
from cohortlake.core.persons.weights import estimated_prior, probability_of, weight_of

MODEL = load_model()


@pytest.mark.parametrize("comparison", MODEL.comparisons, ids=lambda comparison: comparison.name)
def test_levels_of_random_pairs_add_up(comparison) -> None:  # type: ignore[no-untyped-def]
    """Each pair is at one level, so m and u sum to 1; a level that says nothing, or asks for less, stands aside."""
    compared = [level for level in comparison.levels if not level.is_missing and level.m != level.u]
    conditional = {"partial", "same_city_only", "similar_city"}
    plain = [level for level in compared if level.name not in conditional]
    if len(plain) > 1:
        assert sum(level.u for level in plain) == pytest.approx(1, abs=0.03)
        assert sum(level.m for level in plain) == pytest.approx(1, abs=0.08)


def test_the_better_level_weighs_more_than_none() -> None:
    for comparison in MODEL.comparisons:
        compared = [level.weight for level in comparison.levels if not level.is_missing]
        assert max(compared[0], compared[1]) > 0 >= compared[-1], comparison.name


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("ssn: [same]", "ssn: [equal]", "ssn has no level 'equal'"),
        ("ssn: [same]", "passport: [same]", "no comparison 'passport'"),
        ("link: 0.9", "link: 0.1", "review lies above link"),
        ("m: 0.80, u: 0.005", "m: 1.80, u: 0.005", "persons.yaml:"),
        ("m: 0.80, u: 0.005, tf", "m: 0.80, tf", "a level has m and u, or is_missing"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, was: str, becomes: str, says: str) -> None:
    for name in ("persons.yaml", "nicknames.yaml"):
        shutil.copy(PROJECT_CATALOG / name, tmp_path)
    path = tmp_path / "persons.yaml"
    text = path.read_text(encoding="utf-8")
    assert was in text
    path.write_text(text.replace(was, becomes, 1), encoding="utf-8")
    with pytest.raises(CatalogError, match=says):
        load_model(tmp_path)


def test_a_catalog_without_a_model_has_the_projects(tmp_path: Path) -> None:
    assert load_model(tmp_path) == MODEL


def test_weights_and_probabilities() -> None:
    assert weight_of(0.5) == 0
    assert probability_of(weight_of(0.9)) == pytest.approx(0.9)
    assert probability_of(-2000) == 0.0
    assert probability_of(2000) == 1.0


def test_the_prior_grows_to_what_the_pairs_show_whatever_their_order() -> None:
    pairs, first = 1000, 0.001
    weights = [20.0] * 100 + [-20.0] * 900
    found = estimated_prior(weights, first, lambda matches: matches / pairs, 10)
    assert found == pytest.approx(0.1, rel=1e-3)
    assert estimated_prior(weights[::-1], first, lambda matches: matches / pairs, 10) == found
    assert math.isclose(estimated_prior(weights, first, lambda matches: matches / pairs, 0), first)
