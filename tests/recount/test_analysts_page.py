"""The answers of docs/analysts.md are what the raw files say.

That gold says so too is told by `tests/acceptance/test_recount.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tests.recount.page import ROOT, questions, rows
from tests.recount.questions import RECOUNTS
from tests.recount.raw import raw

QUESTIONS = questions()


@pytest.fixture(scope="module")
def facts() -> Iterator[duckdb.DuckDBPyConnection]:
    """The raw files as tables."""
    with raw(ROOT / "data") as connection:
        yield connection


def test_every_question_has_a_recount() -> None:
    assert sorted(QUESTIONS) == sorted(RECOUNTS)
    assert len(QUESTIONS) >= 10


@pytest.mark.parametrize("number", sorted(RECOUNTS))
def test_the_page_shows_what_the_raw_files_say(facts: duckdb.DuckDBPyConnection, number: int) -> None:
    assert QUESTIONS[number].answer == rows(facts, RECOUNTS[number])


def test_a_recount_sees_what_is_planted(facts: duckdb.DuckDBPyConnection) -> None:
    """Each recount can fail: a row more in its tables changes its answer."""
    planted = """
        INSERT INTO patients VALUES ('site_a_fhir_r4', 'x', DATE '2024-01-01', DATE '1950-01-01');
        INSERT INTO conditions VALUES ('site_a_fhir_r4', 'x', '44054006', DATE '2024-01-01');
        INSERT INTO encounters SELECT 'site_a_fhir_r4', 'x', unnest(['EMER', 'IMP']),
            TIMESTAMPTZ '2025-03-01 10:00:00Z', TIMESTAMPTZ '2025-03-02 10:00:00Z';
        INSERT INTO results VALUES ('site_b_csv', 'x', '4548-4', '19', TIMESTAMPTZ '2023-03-01 10:00:00Z');
        INSERT INTO claims
            VALUES ('payer_d_rif', '-1000000', 'pde', 'pharmacy', 'x', DATE '2025-01-01', NULL, 0.01, 0.01);
        INSERT INTO procedures
            VALUES ('site_a_fhir_r4', 'x', '710824005', 'Assessment', TIMESTAMPTZ '2025-03-01 10:00:00Z');
    """
    before = {number: rows(facts, sql) for number, sql in RECOUNTS.items()}
    facts.execute("BEGIN")
    facts.execute(planted)
    after = {number: rows(facts, sql) for number, sql in RECOUNTS.items()}
    facts.execute("ROLLBACK")
    assert [number for number in RECOUNTS if after[number] == before[number]] == []


@pytest.mark.acceptance
def test_a_shift_a_person_moves_all_dates_and_no_interval(facts: duckdb.DuckDBPyConnection) -> None:
    """Through a shift of dates a person, what depends on intervals alone stays: readmissions, days of coverage."""
    with raw(ROOT / "data", shift=lambda silo, patient: 7 * (len(silo + patient) % 5) - 14) as shifted:
        spans = "SELECT silo, count(*), sum(ended - started) FROM coverages GROUP BY silo ORDER BY silo"
        assert rows(shifted, spans) == rows(facts, spans)
        again = """
            SELECT s.silo, count(*), count_if(EXISTS (SELECT 1 FROM encounters n WHERE n.silo = s.silo
                AND n.patient = s.patient AND n.class = 'IMP' AND n.started > s.ended
                AND n.started <= s.ended + INTERVAL 30 DAY))
            FROM encounters s WHERE s.class = 'IMP' GROUP BY s.silo ORDER BY s.silo
        """
        assert rows(shifted, again) == rows(facts, again)
        moved = "SELECT silo, sum(epoch(started)) FROM encounters GROUP BY silo ORDER BY silo"
        assert rows(shifted, moved) != rows(facts, moved)
