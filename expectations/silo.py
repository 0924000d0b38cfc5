"""The gate of a silo: its staged tables row by row, and its delivery as a whole."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from cohortlake.core.checks import silo_checks, strictest
from expectations import completeness
from expectations.audit import FAILED, Audited, audit_columns, audit_sql
from expectations.books import gate_books
from expectations.extras import Extras, extras
from expectations.links import Links, claim, claim_units, claimed
from expectations.verdict import Outcome, Verdict, conclude
from expectations.volumes import Volumes
from spark_jobs import delta, quarantine
from spark_jobs.batches import read_batch
from spark_jobs.context import Context, StepResult
from spark_jobs.parallel import run_units
from spark_jobs.staged import Staged
from spark_jobs.units import Converter, read_units

if TYPE_CHECKING:
    from expectations.validate import Examiner, Table

DELIVERY = "delivery"


class SiloGate:
    """One gating of a silo's batch."""

    def __init__(self, ctx: Context, folder: Path, staged: Mapping[str, Staged]) -> None:
        self.ctx, self.folder, self.staged = ctx, folder, staged
        self.files = folder / "gate"
        self.batch = read_batch(folder) or {"batch": None, "delivered": {}}
        every = silo_checks(ctx.catalog, ctx.scope, staged)
        self.facts = [check for check in every if check.is_fact]
        converter, seen = Converter(ctx.catalog.units), read_units(folder)
        self.extras: dict[str, Extras] = {name: extras(ctx.catalog.resources[name], converter, seen) for name in staged}
        self.items: dict[str, list[Audited]] = {}
        for name in staged:
            checks = [check for check in every if check.table == name and not check.is_fact]
            self.items[name] = audit_columns(
                strictest([*checks, *self.extras[name].checks]), ctx.catalog.resources[name]
            )

    def table(self, name: str, items: Sequence[Audited], has_failures: bool = False, with_own: bool = True) -> Table:
        """A staged table with the checks that are to judge it, and those that users brought for it."""
        from expectations import own
        from expectations.suites import judged_items
        from expectations.validate import Table

        staged = self.staged[name]
        none = {} if has_failures else {FAILED: "CAST(NULL AS VARCHAR[])"}
        brought = own.silo_checks(self.ctx.scope, self.ctx.catalog.resources[name]) if with_own else own.NOTHING
        sql = audit_sql(items, self.extras[name].define | none, brought.columns)
        files = [self.ctx.lake.silver(name) / part.path for part in staged.parts]
        checks = (*judged_items(items), *brought.checks)
        return Table(f"{self.ctx.scope}.{name}", sql, files, staged.rows, checks)

    def claim(self) -> None:
        """Write what rows say of other rows, and what they can be referred to by, on Spark's executors."""
        units = claim_units(self.ctx, self.staged, self.files)
        # The largest first, so that no core is left with one at the end.
        units.sort(key=lambda unit: -int(unit["rows"]))
        work = {name: claimed([item.check for item in items]) for name, items in self.items.items()}
        task = partial(claim, work=work, resources=dict(self.ctx.catalog.resources))

        def progress(done: int, total: int) -> None:
            self.ctx.progress(done, total, f"references: {done} of {total} parts")

        run_units(self.ctx.spark, units, task, marks=self.files / "marks", progress=progress)

    def refused(self, examiner: Examiner) -> list[str]:
        """The file of the staged patients that fail a check of their own: they are judged before who refers to them."""
        if "Patient" not in self.staged:
            return []
        own = [item for item in self.items["Patient"] if not item.is_across and item.check.severity == "quarantine"]
        rows = examiner.failing(self.table("Patient", own, with_own=False), self.files / "spill")
        path = self.files / "refused.parquet"
        pq.write_table(rows, path)
        return [str(path)] if rows.num_rows else []

    def judge(self, links: Links, examiner: Examiner) -> tuple[dict[str, list[Outcome]], dict[str, pa.Table]]:
        """Hold every table to its checks; gives the outcomes and the rows to keep back, by table."""
        outcomes, rows = {}, {}
        for done, (name, items) in enumerate(self.items.items()):
            self.ctx.progress(done, len(self.items), name)
            failures = links.failures(name)
            table = self.table(name, items, failures is not None)
            outcomes[name], rows[name] = examiner.judge_rows(table, self.files / "spill", failures)
        return outcomes, rows

    def delivery_facts(self, links: Links, volumes: Volumes) -> dict[str, Any]:
        """What is known of the delivery as a whole: volumes, freshness, keys."""
        facts = {f"{name}.duplicate_keys": links.duplicates.get(name, 0) for name in self.staged} | volumes.facts()
        if links.newest:
            facts[f"{self.ctx.scope}.age_days"] = (datetime.datetime.now(datetime.UTC).date() - links.newest).days
        return facts

    def hold(self, failing: Mapping[str, pa.Table]) -> dict[str, int]:
        """Write the failing rows for `publish`, and put them into quarantine; gives how many there are, by table."""
        shutil.rmtree(self.folder / "failed", ignore_errors=True)
        origins = _origins(self.ctx)
        rows: list[dict[str, Any]] = []
        counts = {}
        for name, failed in failing.items():
            if not failed.num_rows:
                continue
            path = self.folder / "failed" / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(failed, path)
            counts[name] = failed.num_rows
            for row in failed.to_pylist():
                feed, file = origins.get(row["_file_hash"], ("", None))
                rows.append(
                    {"silo": self.ctx.scope, "step": "gate", "batch": self.batch["batch"], "run_id": self.ctx.run_id}
                    | {"feed": feed, "file": file, "file_hash": row["_file_hash"], "offset": row["_offset"]}
                    | {"resource_type": name, "resource_id": row["id"], "reasons": row["checks"]}
                    | {"detail": f"also warned: {'; '.join(row['warned'])}" if row["warned"] else None}
                )
        quarantine.hold(self.ctx.lake, rows)
        return counts


def _origins(ctx: Context) -> dict[str, tuple[str, str]]:
    """Feed and file of each file hash, from the statistics in bronze's log."""
    table = ctx.lake.bronze(ctx.scope)
    if not delta.exists(table):
        return {}
    actions = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))
    if not actions.num_rows:
        return {}
    columns = (actions[f"min.{name}"].to_pylist() for name in ("file_hash", "feed", "file"))
    return {file_hash: (feed, file) for file_hash, feed, file in zip(*columns, strict=True)}


def gate_silo(ctx: Context, folder: Path, staged: Mapping[str, Staged]) -> StepResult:
    """Gate a silo's staged tables, of which there is one at least. Raises GateFailedError."""
    gate = SiloGate(ctx, folder, staged)
    shutil.rmtree(gate.files, ignore_errors=True)
    gate.files.mkdir(parents=True)
    ctx.progress(0, 1, "references")
    ctx.spark  # noqa: B018 (started here, once, before a thread shares it)
    with ThreadPoolExecutor(1) as pool:
        # Great Expectations takes seconds to import, and judges the patients: meanwhile the executors work.
        ready: Future[tuple[Examiner, list[str]]] = pool.submit(_first, gate)
        gate.claim()
        examiner, refused = ready.result()
    links = Links(ctx, gate.files, refused)
    judged, failing = gate.judge(links, examiner)
    volumes = Volumes(ctx, gate.batch)
    profile = completeness.of_delivery(ctx, staged, gate.batch["batch"])
    held = gate.hold(failing)
    verdicts = {name: Verdict(name, staged[name].rows, judged[name], held.get(name, 0)) for name in sorted(staged)}
    delivery = Verdict(DELIVERY, 1, [])
    facts = gate.delivery_facts(links, volumes) | profile.facts()
    delivered: list[Outcome] = examiner.judge_facts(f"{ctx.scope}.{DELIVERY}", facts, [*gate.facts, *profile.checks()])
    for outcome in delivered:
        verdicts.get(outcome.check.table, delivery).outcomes.append(outcome)
    docs = examiner.write_docs()
    shutil.rmtree(gate.files, ignore_errors=True)
    books = gate_books(ctx, folder, staged, verdicts.values())
    with profile.kept():
        result = conclude(ctx, folder, [*verdicts.values(), delivery], books, docs, gate.batch["batch"])
    volumes.keep()
    return result


def _first(gate: SiloGate) -> tuple[Examiner, list[str]]:
    """The judge, and the patients that it refuses."""
    from expectations.validate import Examiner

    examiner = Examiner(gate.ctx.lake, gate.ctx.run_id)
    return examiner, gate.refused(examiner)
