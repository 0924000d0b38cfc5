"""The answers of docs/analysts.md are what the raw files say; on a lake made of them, gold gives the same.

The lake is the one that `COHORTLAKE_LAKE` names, else `lake`, where `make run` leaves it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.recount.page import PAGE, questions, shown
from tests.recount.questions import RECOUNTS
from tests.recount.raw import raw

ROOT = PAGE.parent.parent
LAKE = Path(os.environ.get("COHORTLAKE_LAKE", ROOT / "lake"))
QUESTIONS = questions()
LINES = """
    SELECT silo, claim_type, count(*), sum(billed), sum(paid) FROM lines GROUP BY ALL ORDER BY silo, claim_type
"""
GOLD_LINES = """
    SELECT l.silo, e.claim_type_code, count(*), sum(l.billed_amount), sum(l.paid_amount)
    FROM explanation_of_benefit_lines l JOIN explanations_of_benefit e USING (explanation_of_benefit_key)
    WHERE l.is_counted AND NOT l.is_total_line GROUP BY ALL ORDER BY l.silo, e.claim_type_code
"""


@pytest.fixture(scope="module")
def facts() -> Iterator[duckdb.DuckDBPyConnection]:
    """The raw files as tables."""
    with raw(ROOT / "data") as connection:
        yield connection


@pytest.fixture(scope="module")
def gold() -> Any:
    """Gold of the bundled hospitals."""
    from cohortlake.core.gold import connect
    from cohortlake.core.lake import Lake

    if not (LAKE / "research/gold/observation_periods/_delta_log").is_dir():
        pytest.skip(f"{LAKE} holds no gold (make one with `make run`, or set COHORTLAKE_LAKE)")
    return connect(Lake(LAKE.absolute()))


def rows(connection: Any, sql: str) -> list[tuple[str, ...]]:
    return [tuple(map(shown, row)) for row in connection.execute(sql).fetchall()]


def test_every_question_has_a_recount() -> None:
    assert sorted(QUESTIONS) == sorted(RECOUNTS)
    assert len(QUESTIONS) >= 10


@pytest.mark.parametrize("number", sorted(RECOUNTS))
def test_the_page_shows_what_the_raw_files_say(facts: duckdb.DuckDBPyConnection, number: int) -> None:
    assert QUESTIONS[number].answer == rows(facts, RECOUNTS[number])


@pytest.mark.acceptance
@pytest.mark.parametrize("number", sorted(RECOUNTS))
def test_gold_says_what_the_raw_files_say(facts: duckdb.DuckDBPyConnection, gold: Any, number: int) -> None:
    assert rows(gold, QUESTIONS[number].sql) == rows(facts, RECOUNTS[number])


@pytest.mark.acceptance
def test_the_lines_of_claims_add_up_to_the_cent(facts: duckdb.DuckDBPyConnection, gold: Any) -> None:
    assert rows(gold, GOLD_LINES) == rows(facts, LINES)


@pytest.mark.acceptance
def test_the_code_of_the_page_runs(gold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets in Python, from the folder above the lake; each leaves a frame of patients by silo."""
    monkeypatch.chdir(LAKE.parent)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 2
    expected = gold.sql("SELECT count(*) FROM patients").fetchone()[0]
    for snippet in snippets:
        names: dict[str, Any] = {}
        exec(snippet.replace('Path("lake")', f'Path("{LAKE.name}")'), names)  # noqa: S102 (the page's own)
        assert names["frame"]["patients"].sum() == expected


def test_a_recount_sees_what_is_planted(facts: duckdb.DuckDBPyConnection) -> None:
    """Each recount can fail: a row more in its tables changes its answer."""
    planted = """
        INSERT INTO patients VALUES ('site_a_fhir_r4', 'x', DATE '2024-01-01');
        INSERT INTO conditions VALUES ('site_a_fhir_r4', 'x', '44054006');
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
