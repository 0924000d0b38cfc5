"""The gate of gold: curated tables as staged, against their declarations."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from cohortlake.core.catalog import Table
from cohortlake.core.checks import gold_checks
from cohortlake.core.rules import Check
from expectations import completeness
from expectations.books import gold_books
from expectations.examine import Plan, counted, examine, slices, with_judged
from expectations.verdict import Verdict, conclude
from spark_jobs import delta
from spark_jobs.batches import read_batch
from spark_jobs.context import Context, StepResult
from spark_jobs.parallel import Unit, run_units
from spark_jobs.staged import Staged

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
        facts[f"{name}.undeclared_columns"] = len(set(found) - set(table.columns))
        key = ", ".join(f'"{column}"' for column in table.key)
        facts[f"{name}.duplicate_keys"] = self._one(f'SELECT count(*) - count(DISTINCT ({key})) FROM "{name}"')  # noqa: S608
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
    facts = GoldFacts(ctx, staged)
    checks = {name: gold_checks(ctx.catalog.tables[name]) for name in staged}
    rows = {
        name: tuple((check, check.element) for check in checks[name] if not check.is_fact)
        for name, table in staged.items()
        if table.rows
    }
    plans = {name: _plan(f"gold.{name}.rows", of) for name, of in rows.items()}
    files = folder / "gate"
    shutil.rmtree(files, ignore_errors=True)
    units = [
        unit
        for name, of in rows.items()
        for unit in slices(name, ctx.lake.gold(name), staged[name].parts, len(of), None, files)
    ]
    units.sort(key=lambda unit: -int(unit["rows"]))
    found: dict[str, list[Unit]] = {name: [] for name in staged}
    for one in with_judged(units, run_units(ctx.spark, units, partial(examine, plans=plans)), plans, files):
        found[one["plan"]].append(one)
    shutil.rmtree(files, ignore_errors=True)
    from expectations.validate import Examiner

    examiner = Examiner(ctx.lake, ctx.run_id)
    batch = read_batch(folder) or {}
    profile = completeness.of_gold(ctx, staged, batch.get("made_from", {}).get("silver", {}))
    verdicts = []
    for name, table in staged.items():
        judged = (
            examiner.judge_rows(f"gold.{name}.rows", rows[name], table.rows, counted(found[name])) if table.rows else []
        )
        about = [*(check for check in checks[name] if check.is_fact), *profile.checks(name)]
        known = facts.of(ctx.catalog.tables[name]) | profile.facts(name)
        judged += examiner.judge_facts(f"gold.{name}.table", known, about)
        verdicts.append(Verdict(name, table.rows, judged))
    docs = examiner.write_docs()
    with profile.kept():
        return conclude(ctx, folder, verdicts, gold_books(ctx, staged), docs, "gold")


def _plan(suite: str, checks: tuple[tuple[Check, str], ...]) -> Plan:
    columns = dict.fromkeys(f'"{column}"' for _, column in checks)
    return Plan(suite, f"SELECT {', '.join(columns)} FROM staged", checks)  # noqa: S608
