"""Ids are stable as data grow, whatever the order of arrival."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.persons.ids import Key, Membership, assign, merged_into

A, B, C, D = (("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"))


def mint(record: Key, number: int) -> str:
    return f"{record[0]}{record[1]}.{number}"


def step(history: list[Membership], at: int, *persons: list[Key]) -> list[Membership]:
    return assign(history, persons, at=f"2026-01-{at:02}", mint=mint)


def live(history: list[Membership]) -> dict[Key, str]:
    return {row.key: row.person_id for row in history if row.until is None}


def test_a_new_record_joins_the_person_that_is_there() -> None:
    history = step(step([], 1, [B]), 2, [A, B])
    assert live(history) == {B: "b1.0", A: "b1.0"}
    assert {row.key: row.since for row in history} == {B: "2026-01-01", A: "2026-01-02"}


def test_the_same_partition_leaves_the_history_as_it_was() -> None:
    history = step([], 1, [A, B], [C])
    assert step(history, 2, [C], [B, A]) == history


def test_of_two_persons_that_are_one_the_older_survives() -> None:
    history = step(step([], 1, [C]), 2, [C], [A, B])
    merged = step(history, 3, [A, B, C])
    assert set(live(merged).values()) == {"c1.0"}
    assert merged_into(merged) == {"a1.0": "c1.0"}
    assert [(row.until, row.ended, row.moved_to) for row in merged if row.person_id == "a1.0"] == [
        ("2026-01-03", "merged", "c1.0")
    ] * 2


def test_of_one_person_that_is_two_the_larger_part_keeps_the_id() -> None:
    history = step(step([], 1, [A, B, C]), 2, [A], [B, C])
    assert live(history) == {A: "a1.1", B: "a1.0", C: "a1.0"}
    assert [row.ended for row in history if row.until] == ["split"]
    assert merged_into(history) == {}


def test_of_equal_parts_the_older_keeps_the_id() -> None:
    history = step(step(step([], 1, [B]), 2, [A, B]), 3, [A], [B])
    assert live(history) == {B: "b1.0", A: "a1.0"}


def test_a_record_that_was_deleted_and_comes_back_has_its_person_back() -> None:
    gone = step(step([], 1, [A], [B]), 2, [B])
    assert live(gone) == {B: "b1.0"}
    assert live(step(gone, 3, [A], [B])) == {A: "a1.0", B: "b1.0"}


def test_a_merged_person_does_not_come_back_with_a_deleted_record() -> None:
    history = step([], 1, [A], [B, C])
    history = step(history, 2, [A], [B])  # C is deleted
    history = step(history, 3, [A, B])  # and its person becomes part of another
    history = step(history, 4, [A, B], [C])
    assert merged_into(history) == {"b1.0": "a1.0"}
    assert live(history)[C] == "c1.0"


records = st.tuples(st.sampled_from("ab"), st.sampled_from("123"))
partitions = st.dictionaries(records, st.integers(0, 3), max_size=6)


def persons_of(labels: dict[Key, int]) -> list[list[Key]]:
    found: dict[int, list[Key]] = defaultdict(list)
    for record, label in labels.items():
        found[label].append(record)
    return list(found.values())


@given(st.lists(partitions, max_size=8))
def test_every_history_keeps_the_rules(steps: list[dict[Key, int]]) -> None:
    history: list[Membership] = []
    retired: set[str] = set()
    seen: set[str] = set()
    had: set[tuple[str, Key]] = set()
    for number, labels in enumerate(steps):
        history = step(history, number + 1, *persons_of(labels))
        now = live(history)
        # Each live record is one person's, and the partition is the one that was given.
        assert now.keys() == labels.keys()
        assert {frozenset(p) for p in persons_of(labels)} == {
            frozenset(r for r in now if now[r] == person) for person in now.values()
        }
        # No id that was merged away is ever used again, and no id is two persons.
        assert not retired & set(now.values())
        retired |= merged_into(history).keys()
        # An id that is used again has a record that it had before.
        for person in set(now.values()) & seen:
            assert any((person, record) in had for record in now if now[record] == person)
        seen |= set(now.values())
        had |= {(person, record) for record, person in now.items()}
        # Times of one record do not overlap, and one row at most is open.
        for record in labels:
            rows = [row for row in history if row.key == record]
            assert [row.until is None for row in rows].count(True) == 1
            assert all(row.until is None or row.since <= row.until for row in rows)
        assert step(history, number + 2, *persons_of(labels)) == history


@given(partitions, st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_in_the_same_partition(labels, random) -> None:  # type: ignore[no-untyped-def]
    ends = []
    for _ in range(2):
        history: list[Membership] = []
        arrived: dict[Key, int] = {}
        for number, record in enumerate(random.sample(sorted(labels), len(labels))):
            arrived[record] = labels[record]
            history = step(history, number + 1, *persons_of(arrived))
        ends.append(
            {frozenset(r for r, p in live(history).items() if p == person) for person in live(history).values()}
        )
        # Nothing but growth: no record ever changed its person.
        assert all(row.until is None for row in history)
    assert ends[0] == ends[1]
