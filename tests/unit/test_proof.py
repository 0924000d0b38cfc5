"""The proof of synthetic rows: planted generators, of which it is known that they do not help, and one that does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cohortlake.core.errors import CatalogError
from synthetic.proof import Proof, holding
from synthetic.proof.checks import near_copies, relations, relations_of_real, scored
from synthetic.proof.finding import found, verdict
from synthetic.proof.judge import judge, keep_on
from synthetic.proof.measures import auroc, corrected_interval, recalibration
from synthetic.proof.redraws import folds, redraws
from synthetic.proof.trial import Redraw, Trial, permuted
from synthetic.recipe import Recipe, read_recipe
from tests import planted
from tests.planted import STRATUM, Population, ask, types

TRUE = Population()
"""Many markers: here new persons from the truth do help."""
SMALL = Population(markers=6, by_marker=0.8)
"""Few: to be refused takes no more, and less time."""
FEW = planted.recipe(target_rows=200)
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in (2, 3))]


def refused(proof: Proof) -> set[str]:
    """The checks that refuse; none of them without a sentence that has a number."""
    against = [finding for finding in proof.findings if not finding.holds]
    assert all(any(sign.isdigit() for sign in finding.text) for finding in against)
    assert all(f"{finding.check}: {finding.text}" in proof.told["why"] for finding in against)
    return {finding.check for finding in against}


@pytest.mark.parametrize("seed", SEEDS)
def test_new_persons_from_the_truth_are_accepted(seed: int) -> None:
    proof = ask(TRUE.cohort(seed), planted.oracle(TRUE))
    assert proof.is_accepted, proof.told["why"]
    shown = proof.facts["lift"]["stratum"]["auroc"]
    assert shown["interval"][0] > 0
    assert shown["augmented"] >= max(found["stratum"] for found in proof.facts["comparators"].values())
    assert sum(proof.facts["chosen"].values()) == proof.facts["redraws"] == 24


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("generator", "by"),
    [
        pytest.param(planted.noise, {"lift", "column-permuted"}, id="column-wise noise"),
        pytest.param(
            planted.with_outcomes(SMALL, lambda outcome, draw: ~outcome),
            {"lift", "column-permuted"},
            id="inverted outcomes",
        ),
        pytest.param(
            planted.with_outcomes(SMALL, lambda outcome, draw: draw.random(len(outcome)) < 0.5),
            {"lift", "column-permuted"},
            id="coin tosses",
        ),
        pytest.param(
            planted.with_outcomes(SMALL, lambda outcome, draw: draw.permutation(outcome)),
            {"lift", "column-permuted"},
            id="permuted outcomes",
        ),
        pytest.param(
            planted.with_outcomes(SMALL, lambda outcome, draw: outcome ^ (draw.random(len(outcome)) < 0.4)),
            {"lift"},
            id="mislabelled",
        ),
        pytest.param(planted.copies(0), {"near copies"}, id="copies"),
        pytest.param(planted.copies(0.05), {"near copies"}, id="copies with jitter"),
    ],
)
def test_planted_rows_are_refused_by_name(generator: planted.One, by: set[str], seed: int) -> None:
    proof = ask(SMALL.cohort(seed, sparse=60, others=80), generator, FEW)
    assert not proof.is_accepted
    assert by <= refused(proof)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_seven_persons_are_not_judged(seed: int) -> None:
    """Though there are 56 rows of them: persons are counted."""
    proof = ask(SMALL.cohort(seed, sparse=7, a_person=8), planted.oracle(SMALL))
    assert proof.told["verdict"] == "cannot judge"
    assert "stratum persons with outcome of at least 10" in proof.told["why"]
    assert "lift" in proof.told["not_asked"]
    assert proof.made is None, "nothing was fitted"


def test_records_of_one_person_are_one_person() -> None:
    """Twenty persons whose every row is a person of its own would be eighty: enough. They are twenty: too few."""
    rows = SMALL.cohort(1, sparse=20, a_person=4)
    asked = planted.recipe(evidence={"stratum_persons_with_outcome": 15, "stratum_persons_without_outcome": 15})
    as_records = rows.assign(person_key=[f"record-{number}" for number in range(len(rows))])
    assert not refused(ask(as_records, planted.copies(0), asked)) & {"evidence"}
    kept = rows.groupby("person_key")["outcome"].transform("first")
    assert refused(ask(rows.assign(outcome=kept), planted.copies(0), asked)) == {"evidence"}


@pytest.mark.acceptance
def test_chance_is_seldom_taken_for_help() -> None:
    """Of 10 trials with nothing to find, 2.5 % would be taken by the lift alone; three would be far too many."""
    assert planted.accepted_by_chance(10) < 3


def test_no_person_is_on_both_sides_of_a_redraw() -> None:
    rows = SMALL.cohort(1, a_person=3)
    persons = rows["person_key"].to_numpy()
    drawn = list(redraws(rows, STRATUM, 0.75, 10, seed=1))
    for fit, held in [*drawn, *folds(rows, STRATUM, 3, seed=1)]:
        assert not set(persons[fit]) & set(persons[held])
        assert len(fit) + len(held) == len(rows)
        assert rows.iloc[held].groupby("stratum")["outcome"].nunique().eq(2).all()
    assert len({tuple(held) for _, held in drawn}) == 10


def test_redraws_give_the_same_proof_again() -> None:
    one, other = (ask(SMALL.cohort(1), planted.noise, FEW).told for _ in range(2))
    assert one == other


def test_shuffled_columns_keep_their_values_and_lose_what_joins_them() -> None:
    made = SMALL.rows(np.random.default_rng(1), 500, True)
    shuffled = permuted(made, seed=1)
    for name in made:
        assert sorted(shuffled[name]) == sorted(made[name])
    assert abs(shuffled["marker_1"].corr(shuffled["outcome"].astype(float))) < 0.1
    assert made["marker_1"].corr(made["outcome"].astype(float)) > 0.1


def test_new_rows_of_the_same_people_are_no_near_copies() -> None:
    real = SMALL.cohort(1).query("stratum == @STRATUM")
    asked = planted.recipe()
    fresh = SMALL.rows(np.random.default_rng(2), 200, True)
    assert near_copies(real, fresh, types(real), asked).holds
    half = pd.concat([fresh.head(50), planted.copies(0.05)(real, np.random.default_rng(3), 50)])
    mixed = near_copies(real, half, types(real), asked)
    assert not mixed.holds
    assert mixed.numbers["rows"] == pytest.approx(50, abs=3)


KIDNEY = {"falls": ["creatinine", "egfr"], "at_most": 0.2}


def kidneys(count: int, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    creatinine = np.exp(draw.normal(0.2, 0.4, count))
    return pd.DataFrame({"creatinine": creatinine, "egfr": 100 / creatinine + draw.normal(0, 8, count)})


@pytest.mark.parametrize(
    "relation",
    [
        pytest.param(KIDNEY, id="a monotone pair"),
        pytest.param({"holds": "NOT (creatinine > 2 AND egfr > 90)"}, id="a combination"),
        pytest.param({"holds": "egfr BETWEEN 60 / creatinine AND 160 / creatinine", "at_most": 0.2}, id="a band"),
    ],
)
def test_a_clinical_relation_is_kept(relation: dict[str, object]) -> None:
    """Creatinine of 2.5 with a GFR of 128 is no kidney's."""
    asked, path = planted.recipe(relations=[relation]), Path("planted.yaml")
    real, good = kidneys(200, 1), kidneys(100, 2)
    assert relations_of_real(real, asked, path).holds
    assert relations(real, good, asked, path).holds
    wrong = good.copy()
    wrong.loc[:19, ["creatinine", "egfr"]] = [2.5, 128]
    refusal = relations(real, wrong, asked, path)
    assert not refusal.holds
    assert asked.relations[0].text in refusal.text


def test_a_relation_that_real_rows_break_is_an_error_of_the_recipe() -> None:
    asked = planted.recipe(relations=[{"rises": ["age", "marker_1"]}])
    proof = ask(SMALL.cohort(1), planted.oracle(SMALL), asked)
    assert refused(proof) == {"relations of real rows"}
    assert "planted.yaml declares 'marker_1 rises with age', which" in proof.told["why"]
    assert proof.made is None


def test_conditions_are_sql_and_null_keeps_them() -> None:
    rows = pd.DataFrame({"a": [1.0, 3.0, None]})
    assert holding(rows, ["a < 2", "a > 0"], Path("x.yaml")).tolist() == [[True, True], [False, True], [True, True]]
    with pytest.raises(CatalogError, match=r"x.yaml: .*nowhere"):
        holding(rows, ["nowhere > 1"], Path("x.yaml"))


def test_scores_below_the_recipe_are_named() -> None:
    least = {"column_shapes": 0.7, "column_pair_trends": 0.4, "new_rows": 0.9}
    asked = planted.recipe(min_scores=least)
    short = scored({"column_shapes": 0.9, "column_pair_trends": None, "new_rows": 0.5}, asked)
    assert (short.outcome, short.text) == ("refused", "column_pair_trends None < 0.4, new_rows 0.5 < 0.9")
    assert scored({"column_shapes": 0.9, "column_pair_trends": 0.9, "new_rows": 1.0}, asked).holds


def test_what_was_not_asked_is_not_accepted() -> None:
    assert verdict([found("evidence", True, "20 persons")], ["lift"])["verdict"] == "cannot judge"
    assert verdict([found("evidence", True, "20 persons")])["verdict"] == "accepted"


def test_auroc_counts_ties_as_half() -> None:
    assert auroc(np.array([True, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1])) == 0.875


def test_the_interval_is_wider_than_that_of_independent_redraws() -> None:
    differences = [0.1, 0.2, 0.3, 0.2]
    mean, low, high = corrected_interval(differences, held_out=1 / 3)
    _, naive_low, _ = corrected_interval(differences, held_out=0)
    assert mean == pytest.approx(0.2)
    assert low < naive_low < mean < high


def test_recalibration_sees_risks_that_are_too_sure_and_too_high() -> None:
    draw = np.random.default_rng(1)
    odds = draw.normal(size=20000)
    outcome = draw.random(20000) < 1 / (1 + np.exp(-odds))
    slope, intercept = recalibration(outcome, 1 / (1 + np.exp(-odds)))
    assert slope == pytest.approx(1, abs=0.05)
    assert intercept == pytest.approx(0, abs=0.05)
    assert recalibration(outcome, 1 / (1 + np.exp(-2 * odds)))[0] == pytest.approx(0.5, abs=0.05)
    assert recalibration(outcome, 1 / (1 + np.exp(-odds - 1)))[1] == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("relations: [{ rises: [a, b], holds: a > 1 }]", "give one of rises, falls or holds"),
        ("evidence: { persons_with_outcome: 4 }", "evidence.persons_with_outcome"),
        ("lift: { comparators: [class_weights] }", "comparators must name one of logistic_regression"),
        ("lift: { primary: women }", "lift.primary"),
    ],
)
def test_a_wrong_entry_is_named_with_file_and_line(tmp_path: Path, entry: str, problem: str) -> None:
    path = tmp_path / "planted.yaml"
    right = yaml.safe_load(Path(__file__).parents[2].joinpath("synthetic/type2_diabetes.yaml").read_text("utf-8"))
    path.write_text(yaml.safe_dump(right | yaml.safe_load(entry)), encoding="utf-8")
    with pytest.raises(CatalogError, match=problem) as caught:
        read_recipe(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", str(caught.value))


def test_the_least_that_a_recipe_may_ask_for() -> None:
    """Defaults are a gate: a recipe that says nothing of the proof is still proved."""
    assert isinstance(planted.recipe(), Recipe)
    assert planted.recipe().evidence.stratum_persons_with_outcome >= 10
    assert planted.recipe().lift.primary == "stratum"


def test_a_trial_in_which_the_outcome_hardly_varies_is_not_judged() -> None:
    one = Redraw(np.ones(4, bool), np.ones(4, bool), *(np.full(4, 0.5) for _ in range(3)), {}, "")
    trial = Trial(24, 1 / 3, 30, [one] * 24)
    assert not keep_on(trial, FEW)
    [finding], facts = judge(trial, FEW)
    assert (finding.check, finding.outcome, facts) == ("lift", "cannot judge", {})
    assert "in 0 of 24 redraws" in finding.text
