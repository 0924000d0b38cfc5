"""Numbers as the run report writes them."""

from __future__ import annotations

import pytest

from cohortlake.report import words


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [(0, 10, "0 %"), (10, 10, "100 %"), (3, 100_000, "< 0.01 %"), (99_999, 100_000, "> 99.99 %"), (1, 0, "\u2013"),
     (62, 2604, "2.4 %"), (22, 40_477, "0.05 %"), (995, 1000, "99.50 %")],
)  # fmt: skip
def test_a_share_never_hides_a_few_rows(part: int, whole: int, expected: str) -> None:
    assert words.percent(part, whole) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (9_999, "9,999"), (98_518, "98.5 k"), (204_995, "205 k"), (999_960, "1.0 M"), (1_662_120, "1.7 M")],
)  # fmt: skip
def test_short_counts(value: int, expected: str) -> None:
    assert words.short_count(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.42, "0.4 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (284.2, "4 min 44 s"), (7384, "2 h 03 min")],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    assert words.duration(seconds) == expected
