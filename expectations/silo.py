"""The gate of a silo: its staged tables row by row, and its delivery as a whole."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from cohortlake.core.catalog import Node
from cohortlake.core.checks import silo_checks, strictest
from expectations import completeness
from expectations.audit import FAILED, Audited, audit_columns, audit_sql
from expectations.books import gate_books
from expectations.examine import FAILED_ROWS, Plan, counted, examine, slices, with_judged
from expectations.extras import Extras, extras
from expectations.links import Claimed, Links, claim, claim_units, claimed
from expectations.verdict import Outcome, Verdict, conclude
from expectations.volumes import Volumes
from spark_jobs import delta, quarantine
from spark_jobs.batches import read_batch
from spark_jobs.context import Context, StepResult
from spark_jobs.parallel import Unit, run_units
from spark_jobs.staged import Staged
from spark_jobs.units import Converter, read_units

DELIVERY = "delivery"
# The plan of the staged patients' own checks: they are judged before who refers to them.
REFUSED = "refused"


def _work(unit: Unit, plans: Mapping[str, Plan], work: Mapping[str, Claimed], resources: Mapping[str, Node]) -> Unit:
    return examine(unit, plans) if "plan" in unit else claim(unit, work, resources)


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

    def _plan(self, name: str, items: Sequence[Audited], define: Mapping[str, str]) -> Plan:
        checks = tuple((item.check, item.column) for item in items)
        return Plan(f"{self.ctx.scope}.{name}", audit_sql(items, define), checks)

    def _slices(self, plan: str, name: str, failures: Path | None) -> list[Unit]:
        folder = self.ctx.lake.silver(name)
        checks = len(self.items[name])
        return slices(plan, folder, self.staged[name].parts, checks, failures, self.files)

    def _run(self, units: list[Unit], plans: Mapping[str, Plan], work: Mapping[str, Claimed]) -> list[Unit]:
        """What tasks found, and what came of the rows that they listed.

        The largest runs first, so that no core is left with one at the end.
        """
        units.sort(key=lambda unit: -int(unit["rows"]))
        task = partial(_work, plans=plans, work=work, resources=dict(self.ctx.catalog.resources))

        def progress(done: int, total: int) -> None:
            self.ctx.progress(done, total, f"{done} of {total} parts")

        results = run_units(self.ctx.spark, units, task, marks=self.files / "marks", progress=progress)
        return with_judged(units, results, plans, self.files)

    def link(self) -> Links:
        """Judge what rows say of other rows; patients are held to their own checks first."""
        shutil.rmtree(self.files, ignore_errors=True)
        units = claim_units(self.ctx, self.staged, self.files)
        plans = {}
        if "Patient" in self.staged:
            own = [item for item in self.items["Patient"] if not item.is_across and item.check.severity == "quarantine"]
            plans[REFUSED] = self._plan("Patient", own, self.extras["Patient"].define)
            units += self._slices(REFUSED, "Patient", None)
        work = {name: claimed([item.check for item in items]) for name, items in self.items.items()}
        found = self._run(units, plans, work)
        return Links(self.ctx, self.files, [one["rejects"] for one in found if one.get("rejects")])

    def judge(self, links: Links) -> dict[str, list[Unit]]:
        """Hold every table to its checks; gives what the tasks found, by table."""
        plans, units = {}, []
        for name, items in self.items.items():
            failures = links.failures(name)
            none = {} if failures else {FAILED: "CAST(NULL AS VARCHAR[])"}
            plans[name] = self._plan(name, items, self.extras[name].define | none)
            units += self._slices(name, name, failures)
        found: dict[str, list[Unit]] = {name: [] for name in self.staged}
        for one in self._run(units, plans, {}):
            found[one["plan"]].append(one)
        return found

    def delivery_facts(self, links: Links, volumes: Volumes) -> dict[str, Any]:
        """What is known of the delivery as a whole: volumes, freshness, keys."""
        facts = {f"{name}.duplicate_keys": links.duplicates.get(name, 0) for name in self.staged} | volumes.facts()
        if links.newest:
            facts[f"{self.ctx.scope}.age_days"] = (datetime.datetime.now(datetime.UTC).date() - links.newest).days
        return facts

    def hold(self, found: Mapping[str, list[Unit]]) -> dict[str, int]:
        """Write the failing rows for `publish`, and put them into quarantine; gives how many there are, by table."""
        shutil.rmtree(self.folder / "failed", ignore_errors=True)
        origins = _origins(self.ctx)
        rows: list[dict[str, Any]] = []
        counts = {}
        for name, units in found.items():
            files = [unit["rejects"] for unit in units if unit["rejects"]]
            if not files:
                continue
            failed = pa.concat_tables([pq.read_table(file, schema=FAILED_ROWS) for file in files])
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
    ctx.progress(0, 1, "references")
    ctx.spark  # noqa: B018 (started here, once, before a thread shares it)
    with ThreadPoolExecutor(1) as pool:
        # Great Expectations takes seconds to import: meanwhile the executors work.
        ready: Future[Any] = pool.submit(_examiner, ctx)
        links = gate.link()
        found = gate.judge(links)
        examiner = ready.result()
    volumes = Volumes(ctx, gate.batch)
    profile = completeness.of_delivery(ctx, staged, gate.batch["batch"])
    verdicts = {}
    held = gate.hold(found)
    for name in sorted(staged):
        checks = [(item.check, item.column) for item in gate.items[name]]
        outcomes = examiner.judge_rows(f"{ctx.scope}.{name}", checks, staged[name].rows, counted(found[name]))
        verdicts[name] = Verdict(name, staged[name].rows, outcomes, held.get(name, 0))
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


def _examiner(ctx: Context) -> Any:
    from expectations.validate import Examiner

    return Examiner(ctx.lake, ctx.run_id)
