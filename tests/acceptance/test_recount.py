"""A whole lake of the bundled hospitals says what its raw files say, line by line.

The counting is that of `tests.recount`, which imports no part of the pipeline. The lake is made here, or
is the one that `COHORTLAKE_LAKE` names.
"""

from __future__ import annotations

import ast
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from cohortlake.core.catalog import load_catalog
from cohortlake.core.gold import connect
from cohortlake.core.lake import Lake
from cohortlake.core.releases import find_release
from tests.recount import cohort
from tests.recount.page import PAGE, ROOT, questions, rows
from tests.recount.questions import RECOUNTS
from tests.recount.raw import raw

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]
QUESTIONS = questions()
DATA = ROOT / "data"
LOINC = "http://loinc.org"
PIPELINE = {"cohortlake", "spark_jobs", "expectations", "synthetic"}

# What the raw files say, and how gold says it: lines of labels and one number.
LINES = {
    "patients by silo": (
        "SELECT silo, count(*) FROM patients GROUP BY silo",
        "SELECT silo, count(*) FROM patients GROUP BY silo",
    ),
    "deaths by silo": (
        "SELECT silo, count(death) FROM patients GROUP BY silo",
        "SELECT silo, count(death_date) FROM patients GROUP BY silo",
    ),
    # Hospital C's documents say no class: of its types, those that are emergencies or stays in words are recounted.
    "encounters by silo and class": (
        "SELECT silo, class, count(*) FROM encounters WHERE class <> 'other' GROUP BY ALL",
        "SELECT silo, class_code, count(*) FROM encounters WHERE is_counted "
        "AND (silo <> 'site_c_ccda' OR class_code IN ('EMER', 'IMP')) GROUP BY ALL",
    ),
    "encounters by silo and year": (
        "SELECT silo, year(started), count(*) FROM encounters GROUP BY ALL",
        "SELECT silo, year(started_at), count(*) FROM encounters WHERE is_counted GROUP BY ALL",
    ),
    "emergency visits by silo and year": (
        "SELECT silo, year(started), count(*) FROM encounters WHERE class = 'EMER' GROUP BY ALL",
        "SELECT silo, year(started_at), count(*) FROM encounters WHERE is_counted AND class_code = 'EMER' GROUP BY ALL",
    ),
    "orders by silo and year": (
        "SELECT silo, year(ordered), count(*) FROM orders GROUP BY ALL",
        "SELECT silo, year(ordered_at), count(*) FROM medications WHERE is_counted GROUP BY ALL",
    ),
    "conditions by silo": (
        "SELECT silo, count(*) FROM conditions GROUP BY silo",
        "SELECT silo, count(*) FROM conditions WHERE is_counted GROUP BY silo",
    ),
    "lines of payers, billed": (
        "SELECT silo, claim_type, sum(billed) FROM lines GROUP BY ALL",
        "SELECT l.silo, e.claim_type_code, sum(l.billed_amount) FROM explanation_of_benefit_lines l "
        "JOIN explanations_of_benefit e USING (explanation_of_benefit_key) "
        "WHERE l.is_counted AND NOT l.is_total_line GROUP BY ALL",
    ),
    "lines of payers, paid": (
        "SELECT silo, claim_type, sum(paid) FROM lines GROUP BY ALL",
        "SELECT l.silo, e.claim_type_code, sum(l.paid_amount) FROM explanation_of_benefit_lines l "
        "JOIN explanations_of_benefit e USING (explanation_of_benefit_key) "
        "WHERE l.is_counted AND NOT l.is_total_line GROUP BY ALL",
    ),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of the bundled hospitals."""
    if named := os.environ.get("COHORTLAKE_LAKE"):
        return Path(named).absolute()
    from cohortlake.run import run_plan

    made = tmp_path_factory.mktemp("recount") / "lake"
    run_plan(lake=made, data=DATA)
    return made


@pytest.fixture(scope="module")
def facts() -> Iterator[duckdb.DuckDBPyConnection]:
    """The raw files as tables."""
    with raw(DATA) as connection:
        yield connection


@pytest.fixture(scope="module")
def gold(lake: Path) -> Any:
    """Gold, with silver's observations beside it."""
    connection = connect(Lake(lake))
    connection.execute(f"CREATE VIEW silver_observations AS FROM delta_scan('{Lake(lake).silver('Observation')}')")
    return connection


def test_the_recount_shares_nothing_with_the_pipeline() -> None:
    counting = [path for path in (ROOT / "tests/recount").glob("*.py") if not path.name.startswith("test_")]
    assert len(counting) >= 5
    for path in counting:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not PIPELINE & {name.split(".")[0] for name in names}, path


@pytest.mark.parametrize("what", LINES)
def test_gold_has_each_line_of_the_raw_files(facts: duckdb.DuckDBPyConnection, gold: Any, what: str, tell: Any) -> None:
    raw_sql, gold_sql = LINES[what]
    must, does = ({row[:-1]: row[-1] for row in one.execute(sql).fetchall()}
                  for one, sql in ((facts, raw_sql), (gold, gold_sql)))  # fmt: skip
    assert must == does
    tell(f"{len(must)} lines equal")


@pytest.mark.parametrize("number", sorted(RECOUNTS))
def test_the_worked_questions_have_their_answers(facts: duckdb.DuckDBPyConnection, gold: Any, number: int) -> None:
    assert rows(gold, QUESTIONS[number].sql) == rows(facts, RECOUNTS[number])


def test_the_cohort_has_the_rows_and_outcomes_of_the_raw_files(
    facts: duckdb.DuckDBPyConnection, lake: Path, tell: Any
) -> None:
    release = find_release(Lake(lake), "type2_diabetes").folder
    files = [str(release / f"{split}.parquet") for split in ("train", "validation", "test")]
    found = duckdb.sql(
        "SELECT silo, index_date, age_years, encounters_prior_year, outcome FROM "
        f"read_parquet({files}, union_by_name = true) WHERE NOT is_synthetic"
    ).fetchall()
    must = cohort.rows(facts)
    assert Counter(found) == Counter(must)
    tell(f"{len(must)} rows, {sum(row[-1] for row in must)} with the outcome")


def test_the_books_of_the_whole_lake_agree_with_a_recount(lake: Path, tell: Any) -> None:
    from cohortlake.cli import app, audit  # noqa: F401 (it registers the command)

    done = CliRunner().invoke(app, ["audit", "books", "--lake", str(lake), "--data", str(DATA)])
    assert done.exit_code == 0, done.output
    tell(done.output.strip().splitlines()[-1])


def test_the_code_of_the_page_runs(lake: Path, gold: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets in Python, from the folder above the lake; each leaves a frame of patients by silo."""
    monkeypatch.chdir(lake.parent)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 2
    expected = gold.sql("SELECT count(*) FROM patients").fetchone()[0]
    for snippet in snippets:
        names: dict[str, Any] = {}
        exec(snippet.replace('Path("lake")', f'Path("{lake.name}")'), names)  # noqa: S102 (the page's own)
        assert names["frame"]["patients"].sum() == expected


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
            SELECT unnest(code.coding) AS c FROM silver_observations
            UNION ALL SELECT unnest(valueCodeableConcept.coding) FROM silver_observations
            UNION ALL SELECT unnest(part.code.coding) FROM (SELECT unnest(component) AS part FROM silver_observations)
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
