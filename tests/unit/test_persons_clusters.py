"""Links to clusters: the strongest first, and contradictions do not chain."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.persons.clusters import Kind, Link, clusters, components

MODEL, RULE, SOURCE, DECISION = Kind.MODEL, Kind.RULE, Kind.SOURCE, Kind.DECISION


def test_links_chain_where_nothing_speaks_against_it() -> None:
    assert clusters([Link(1, 2, MODEL, 9), Link(2, 3, MODEL, 8)]) == [[1, 2, 3]]


def test_contradictions_do_not_chain_and_the_stronger_link_holds() -> None:
    links = [Link(1, 2, MODEL, 8), Link(2, 3, MODEL, 9)]
    assert clusters(links, conflicts=[(3, 1)]) == [[2, 3]]


def test_a_rule_comes_before_any_weight() -> None:
    links = [Link(1, 2, MODEL, 99), Link(2, 3, RULE, 1)]
    assert clusters(links, conflicts=[(1, 3)]) == [[2, 3]]


def test_a_link_that_outweighs_holds_comes_first_and_joins_what_they_keep_apart() -> None:
    weak = Link(1, 3, MODEL, 5, True)
    assert clusters([Link(1, 2, MODEL, 9, True), weak], held=[(2, 3)]) == [[1, 2, 3]]
    assert clusters([Link(1, 2, MODEL, 9), weak], held=[(2, 3)]) == [[1, 3]]
    assert clusters([Link(1, 2, MODEL, 9), Link(1, 3, MODEL, 5)], held=[(2, 3)]) == [[1, 2]]
    # Evidence against is no hold.
    assert clusters([Link(1, 2, MODEL, 9), weak], conflicts=[(2, 3)]) == [[1, 3]]
    # A twin's record (3) under the other's number: by its name to 4, and no more to 1, though that link is stronger.
    links = [Link(1, 2, MODEL, 20, True), Link(1, 3, MODEL, 30), Link(3, 4, MODEL, 25, True)]
    assert clusters(links, held=[(1, 4), (2, 4), (2, 3)]) == [[1, 2], [3, 4]]


def test_what_a_source_says_holds_against_evidence() -> None:
    assert clusters([Link(1, 2, SOURCE)], conflicts=[(1, 2)]) == [[1, 2]]


def test_a_decision_to_keep_apart_holds_against_all() -> None:
    links = [Link(1, 2, SOURCE), Link(1, 3, RULE), Link(3, 2, MODEL, 50)]
    assert clusters(links, apart=[(2, 1)]) == [[1, 3]]


def test_a_decision_to_join_holds_against_evidence() -> None:
    assert clusters([Link(1, 2, DECISION)], conflicts=[(1, 2)]) == [[1, 2]]


def test_components_are_what_hangs_together() -> None:
    assert components([(5, 4), (1, 2), (2, 3)]) == [[1, 2, 3], [4, 5]]


numbers = st.integers(0, 9)
pairs = st.tuples(numbers, numbers).filter(lambda pair: pair[0] != pair[1])
some_links = st.lists(
    st.builds(lambda p, k, w: Link(*p, k, w), pairs, st.sampled_from(Kind), st.integers(0, 5)), max_size=14
)


@given(some_links, st.lists(pairs, max_size=6), st.lists(pairs, max_size=4), st.randoms(use_true_random=False))
def test_order_does_not_matter_and_bans_hold(links, conflicts, apart, random) -> None:  # type: ignore[no-untyped-def]
    made = clusters(links, conflicts=conflicts, apart=apart)
    shuffled = random.sample(links, len(links))
    turned = [Link(link.right, link.left, link.kind, link.weight) for link in shuffled]
    assert clusters(turned, conflicts=conflicts[::-1], apart=[pair[::-1] for pair in apart]) == made
    within = {pair for cluster in made for pair in combinations(cluster, 2)}
    assert not within & {(min(pair), max(pair)) for pair in apart}
    # Finer than what hangs together, and of links alone.
    whole = components((link.left, link.right) for link in links)
    assert all(any(set(cluster) <= set(group) for group in whole) for cluster in made)


@given(some_links)
def test_without_contradictions_clusters_are_components(links) -> None:  # type: ignore[no-untyped-def]
    assert clusters(links) == components((link.left, link.right) for link in links)
