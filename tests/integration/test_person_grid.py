"""The grid of disturbances: each does what it says, and what it measures holds on a small draw."""

from __future__ import annotations

from dataclasses import fields
from itertools import chain

import pytest

from cohortlake.core.persons.declared import load_model
from tests.persons_grid import RELATIVE, Result, grid, interval, run
from tests.persons_grid_people import DISTURB, KINDS, Town

CHANGED = {
    "given name": {"first", "middle"},
    "surname": {"last", "first"},
    "birth date": {"born"},
    "address": {"street", "city", "postcode"},
    "numbers": {"ssn", "phone"},
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_a_disturbance_changes_what_it_is_named_for_and_nothing_else(kind: str, name: str) -> None:
    town = Town(seed=3)
    for _ in range(20):
        one = town.person((name,))
        made = DISTURB[name](town, one)
        changed = {field.name for field in fields(one) if getattr(one, field.name) != getattr(made, field.name)}
        assert changed <= CHANGED[kind]
        assert changed or name.startswith("typo")  # two letters that are the same may change places


def test_the_grid_has_each_one_two_and_three_of_different_kinds() -> None:
    cells = grid({"a": ["1", "2"], "b": ["3"], "c": ["4"]})
    assert len(cells) == len(set(cells)) == 1 + 4 + (2 + 2 + 1) + 2
    assert set(chain(*KINDS.values())) == set(DISTURB)


def test_intervals_are_wilsons() -> None:
    assert interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert interval(0, 0) == (0.0, 1.0)
    assert interval(5, 5)[1] == 1.0


@pytest.mark.parametrize(("lacking", "recall"), [((), 0.93), (("ssn", "phone"), 0.65)], ids=["numbers", "no numbers"])
def test_a_small_draw_is_linked_with_few_errors(lacking: tuple[str, ...], recall: float) -> None:
    found: Result = run(load_model(), 1, 17, 0.5, lacking)
    assert found.whole.true == len(grid(KINDS)) + found.cells[RELATIVE].true
    assert found.precision >= 0.99
    assert found.whole.recall >= recall
    assert found.asked["twin"] > 0
