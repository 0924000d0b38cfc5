"""What the report says of facts that came twice, and of persons."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cohortlake.report.people import Door, read_people


def run_of(facts: dict[str, Any]) -> Any:
    """A run whose steps left these facts, by kind."""
    return SimpleNamespace(step=lambda kind, scope: SimpleNamespace(facts=facts.get(kind, {})))


def test_doors_and_persons_are_read_from_the_steps() -> None:
    counts = {"matched": 3, "conflicted": 1, "alone": 2, "other_alone": 9}
    linked = {"records": 5, "persons": 4, "persons_of_several_silos": 1, "pairs_by_outcome": {"linked": 1, "review": 2}}
    linked["measured"] = [{"name": "all pairs", "true": 8, "found": 4, "right": 3}, {"name": "exact"}]
    people = read_people(run_of({"match": {"doors": {"feed": {"Patient": counts}}}, "link": linked}))
    assert people.doors == (Door("feed", "Patient", 3, 1, 2, 9),)
    assert (people.records, people.persons, people.of_several_silos, people.waiting) == (5, 4, 1, 2)
    assert [(one.name, one.precision, one.recall) for one in people.measured] == [
        ("all pairs", 0.75, 0.375),
        ("exact", None, None),
    ]


@pytest.mark.parametrize(
    "odd", [{}, {"match": {"doors": [1]}, "link": {"persons": "x", "pairs_by_outcome": 3, "measured": 7}}]
)
def test_facts_of_another_shape_count_as_none(odd: dict[str, Any]) -> None:
    people = read_people(run_of(odd))
    assert (people.doors, people.records, people.persons, people.waiting) == ((), 0, 0, 0)
    assert people.measured == ()
