"""One display a code: in all of gold, and of LOINC's codes the one that most of silver's codings have.

The lake is the one that `COHORTLAKE_LAKE` names, else `lake`, where `make run` leaves it.
"""

from __future__ import annotations

from typing import Any

import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.gold import connect
from cohortlake.core.lake import Lake
from tests.recount.test_analysts_page import LAKE

pytestmark = pytest.mark.acceptance
LOINC = "http://loinc.org"


@pytest.fixture(scope="module")
def gold() -> Any:
    """Gold of the bundled hospitals, with silver's observations beside it."""
    if not (LAKE / "research/gold/observation_periods/_delta_log").is_dir():
        pytest.skip(f"{LAKE} holds no gold (make one with `make run`, or set COHORTLAKE_LAKE)")
    lake = Lake(LAKE.absolute())
    connection = connect(lake)
    connection.execute(f"CREATE VIEW silver AS FROM delta_scan('{lake.silver('Observation')}')")
    return connection


def test_a_code_has_one_display_in_all_of_gold(gold: Any) -> None:
    parts = [
        f"SELECT {system} AS system, {code} AS code, {display} AS display FROM {name}"
        for name, table in load_catalog().tables.items()
        for display, (code, system) in table.displays.items()
    ]
    told = f"({' UNION ALL '.join(parts)})"
    several = f"""
        SELECT count(*) FROM (
            SELECT 1 FROM {told} WHERE system IS NOT NULL AND code IS NOT NULL GROUP BY system, code
            HAVING count(DISTINCT display) > 1 OR count(display) NOT IN (0, count(*))
        )
    """
    assert gold.sql(several).fetchone() == (0,)
    senders = "SELECT count(*) FROM laboratory_results WHERE laboratory_display <> source_display"
    assert gold.sql(senders).fetchone()[0] > 0, "hospitals write some tests in words of their own"


def test_the_display_is_the_most_frequent_one(gold: Any) -> None:
    elected = f"""
        WITH codings AS (
            SELECT unnest(code.coding) AS c FROM silver
            UNION ALL SELECT unnest(valueCodeableConcept.coding) FROM silver
            UNION ALL SELECT unnest(part.code.coding) FROM (SELECT unnest(component) AS part FROM silver)
        ), counted AS (
            SELECT c.code AS code, c.display AS display, count(*) AS times FROM codings
            WHERE c.system = '{LOINC}' AND c.display IS NOT NULL GROUP BY ALL
        )
        SELECT code, display FROM counted
        QUALIFY row_number() OVER (PARTITION BY code ORDER BY times DESC, display) = 1
    """
    shown = f"""
        SELECT DISTINCT laboratory_code, laboratory_display FROM laboratory_results WHERE laboratory_system = '{LOINC}'
        UNION SELECT DISTINCT vital_sign_code, vital_sign_display FROM vital_signs WHERE vital_sign_system = '{LOINC}'
    """
    must = dict(gold.sql(elected).fetchall())
    does = dict(gold.sql(shown).fetchall())
    assert len(does) > 100
    assert {code: (display, must.get(code)) for code, display in does.items() if must.get(code) != display} == {}
