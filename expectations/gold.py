"""The gate of gold: curated tables as staged, against their declarations."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from deltalake import DeltaTable

from cohortlake.core.catalog import Table
from cohortlake.core.checks import gold_checks
from cohortlake.core.rules import Check
from expectations import completeness
from expectations.books import gold_books
from expectations.verdict import Outcome, Verdict, conclude
from spark_jobs import delta
from spark_jobs.batches import read_batch
from spark_jobs.context import Context, StepResult
from spark_jobs.staged import Staged

if TYPE_CHECKING:
    from expectations.validate import Table as Judgeable

# DuckDB's names of the types that a declaration uses.
TYPES = {"VARCHAR": "STRING", "INTEGER": "INT", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP"}


class GoldFacts:
    """Facts about the staged tables; DuckDB reads the staged files, since the JVM has nothing to add here."""

    def __init__(self, ctx: Context, staged: Mapping[str, Staged]) -> None:
        self.ctx, self.staged = ctx, staged
        self._duckdb = duckdb.connect()
        for name, table in staged.items():
            if table.parts:
                files = [str(ctx.lake.gold(name) / part.path) for part in table.parts]
                self._duckdb.from_parquet(files, hive_partitioning=False).create_view(name)

    def _one(self, sql: str) -> Any:
        row = self._duckdb.execute(sql).fetchone()
        return row[0] if row else None

    def of(self, table: Table) -> dict[str, Any]:
        """The facts that the checks of a table judge, by name."""
        name, staged = table.name, self.staged[table.name]
        facts: dict[str, Any] = {f"{name}.rows": staged.rows}
        live = self.ctx.lake.gold(name)
        before = DeltaTable(str(live)).count() if delta.exists(live) else 0
        if before:
            facts[f"{name}.drop_percent"] = max(0.0, 100 * (1 - staged.rows / before))
        if not staged.parts:
            return facts
        found = {row[0]: row[1] for row in self._duckdb.execute(f'DESCRIBE "{name}"').fetchall()}
        for column, declared in table.columns.items():
            kind = found.get(column)
            facts[f"{name}.{column}.type"] = TYPES.get(str(kind), kind)
            if declared.references:
                facts[f"{name}.{column}.unresolved"] = self._unresolved(name, column, declared.references)
        return facts

    def _unresolved(self, name: str, column: str, references: str) -> int:
        target, _, of = references.partition(".")
        if target not in self.staged or not self.staged[target].parts:
            return int(self._one(f'SELECT count("{column}") FROM "{name}"'))  # noqa: S608
        condition = f't."{of}" = r."{column}"'
        sql = f'SELECT count(*) FROM "{name}" r ANTI JOIN "{target}" t ON {condition} WHERE r."{column}" IS NOT NULL'  # noqa: S608
        return int(self._one(sql))


def gate_gold(ctx: Context, folder: Path, staged: Mapping[str, Staged]) -> StepResult:
    """Gate the staged tables of gold. Raises GateFailedError where a check of severity `fail` failed."""
    from expectations.validate import Examiner

    facts, examiner = GoldFacts(ctx, staged), Examiner(ctx.lake, ctx.run_id)
    batch = read_batch(folder) or {}
    profile = completeness.of_gold(ctx, staged, batch.get("made_from", {}).get("silver", {}))
    files = folder / "gate"
    shutil.rmtree(files, ignore_errors=True)
    verdicts = []
    for done, (name, table) in enumerate(staged.items()):
        ctx.progress(done, len(staged), name)
        declared = ctx.catalog.tables[name]
        checks = gold_checks(declared)
        judged: list[Outcome] = []
        if table.rows:
            paths = [ctx.lake.gold(name) / part.path for part in table.parts]
            rows = [check for check in checks if not check.is_fact]
            judged, _ = examiner.judge_rows(_table(declared, rows, paths, table.rows), files / "spill")
        about = [*(check for check in checks if check.is_fact), *profile.checks(name)]
        known = facts.of(declared) | profile.facts(name)
        judged += examiner.judge_facts(f"gold.{name}.table", known, about)
        verdicts.append(Verdict(name, table.rows, judged))
    shutil.rmtree(files, ignore_errors=True)
    docs = examiner.write_docs()
    with profile.kept():
        return conclude(ctx, folder, verdicts, gold_books(ctx, staged), docs, "gold")


def _table(declared: Table, checks: Sequence[Check], files: Sequence[Path], rows: int) -> Judgeable:
    """A curated table with its declared checks, and those that users brought for it; it is judged as it stands."""
    from expectations import own
    from expectations.suites import judged
    from expectations.validate import Table as Judgeable

    listed = (*(judged(check, check.element) for check in checks), *own.gold_checks(declared))
    return Judgeable(f"gold.{declared.name}.rows", "SELECT * FROM staged", files, rows, listed)
