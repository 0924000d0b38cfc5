"""What humans decide about two records."""

from __future__ import annotations

import pytest

from cohortlake.core.errors import UsageError
from cohortlake.core.persons.decisions import Decision, check, in_force

A, B, C, D = (("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"))


def decided(left: tuple[str, str], right: tuple[str, str], is_same: bool, day: int = 1) -> Decision:
    return Decision(left, right, is_same, "records office", "seen", f"2026-01-{day:02}")


def test_the_last_decision_of_a_pair_is_in_force_whichever_is_named_first() -> None:
    last = decided(B, A, False, 2)
    assert in_force([last, decided(A, B, True, 1)]) == [last]


@pytest.mark.parametrize(
    ("before", "new"),
    [
        ([decided(A, B, True), decided(B, C, True)], decided(C, A, False, 2)),
        ([decided(A, B, True), decided(C, A, False)], decided(B, C, True, 2)),
        ([decided(A, B, True), decided(C, D, True), decided(A, D, False)], decided(B, C, True, 2)),
    ],
)
def test_a_contradiction_names_the_decisions_that_it_contradicts(before: list[Decision], new: Decision) -> None:
    with pytest.raises(UsageError, match="contradicts") as raised:
        check(before, new)
    assert "a/1 and b/1 are one person (records office, 2026-01-01)" in str(raised.value)


def test_a_pair_may_be_decided_anew() -> None:
    check([decided(A, B, True)], decided(A, B, False, 2))
    check([decided(A, B, True), decided(B, C, True), decided(B, C, False, 2)], decided(C, A, False, 3))


def test_a_record_is_not_compared_with_itself() -> None:
    with pytest.raises(UsageError, match="one"):
        check([], decided(A, A, True))
