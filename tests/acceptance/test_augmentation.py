"""Synthetic rows that cannot help are accepted at most at the nominal rate."""

from __future__ import annotations

import pytest

from tests.planted import accepted_by_chance

pytestmark = pytest.mark.acceptance


def test_chance_is_taken_for_help_at_most_at_the_nominal_rate() -> None:
    """Of 200 trials, 5 are 2.5 %; more than 10 would be seen once in a hundred such tests."""
    assert accepted_by_chance(200) <= 10
