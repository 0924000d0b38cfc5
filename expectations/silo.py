"""The gate of a silo: its staged tables row by row, and its delivery as a whole."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyspark.sql import DataFrame

from cohortlake.core.checks import silo_checks, strictest
from expectations.audit import Audited, audit_columns, audit_frame, failing_rows
from expectations.extras import Extras, extras
from expectations.links import Links
from expectations.references import PLACE
from expectations.validate import Examiner
from expectations.verdict import Outcome, Verdict, book, conclude
from expectations.volumes import Volumes
from spark_jobs import delta, quarantine
from spark_jobs.batches import read_batch
from spark_jobs.context import Context, StepResult
from spark_jobs.publish import staged_rows

# Python (Great Expectations) and Spark take turns within a table; two tables at once keep both busy.
THREADS = 2
DELIVERY = "delivery"
FAILED_ROWS = pa.schema(
    [("_file_hash", pa.string()), ("_offset", pa.int64()), ("id", pa.string()), ("checks", pa.list_(pa.string()))]
)


@dataclass
class Judged:
    """A staged table's verdict, and the rows to quarantine."""

    verdict: Verdict
    failed: pa.Table = field(default_factory=FAILED_ROWS.empty_table)
    # By row of `failed`: the warnings that it also gave.
    warned: list[list[str]] = field(default_factory=list)


class SiloGate:
    """One gating of a silo's batch."""

    def __init__(self, ctx: Context, folder: Path, staged: Mapping[str, delta.Staged]) -> None:
        self.ctx, self.folder, self.staged = ctx, folder, staged
        self.batch = read_batch(folder) or {"batch": None, "feeds": {}}
        every = silo_checks(ctx.catalog, ctx.scope)
        self.facts = [check for check in every if check.is_fact]
        self.extras: dict[str, Extras] = {name: extras(ctx.catalog.resources[name]) for name in staged}
        self.items: dict[str, list[Audited]] = {}
        for name in staged:
            checks = [check for check in every if check.table == name and not check.is_fact]
            self.items[name] = audit_columns(
                strictest([*checks, *self.extras[name].checks]), ctx.catalog.resources[name]
            )

    def rows(self, name: str) -> DataFrame:
        """A table's staged rows."""
        return staged_rows(self.ctx, name, self.staged[name].parts)

    def refused_patients(self) -> DataFrame | None:
        """The places of staged patients that fail a check of their own: they are judged before who refers to them."""
        if "Patient" not in self.staged:
            return None
        own = [item for item in self.items["Patient"] if not item.is_across and item.check.severity == "quarantine"]
        frame = audit_frame(self.rows("Patient"), own, self.extras["Patient"].define, [], None)
        return failing_rows(frame, own, []).select(*PLACE)

    def judge(self, name: str, links: Links, examiner: Examiner) -> Judged:
        """Hold one table to its checks; where rows are to be kept back, find out which."""
        items, failing = self.items[name], links.failing.get(name, set())
        failures = links.failures(name) if failing else None
        frame = audit_frame(self.rows(name), items, self.extras[name].define, failing, failures)
        staged = self.staged[name]
        checks = [(item.check, item.column) for item in items]
        outcomes = examiner.judge_rows(f"{self.ctx.scope}.{name}", frame, checks, staged.rows)
        failed = {outcome.check.name for outcome in outcomes if outcome.failed}
        held = [item for item in items if item.check.name in failed and item.check.severity == "quarantine"]
        noted = [item for item in items if item.check.name in failed and item.check.severity != "quarantine"]
        verdict = Verdict(name, staged.rows, outcomes)
        if not held:
            return Judged(verdict)
        rows = failing_rows(frame, held, noted).toArrow()
        verdict.quarantined = rows.num_rows
        return Judged(verdict, rows.select(FAILED_ROWS.names).cast(FAILED_ROWS), rows["warned"].to_pylist())

    def judge_delivery(self, links: Links, volumes: Volumes, examiner: Examiner) -> list[Outcome]:
        """Hold the delivery as a whole to its checks: volumes, freshness, keys."""
        facts = {f"{name}.duplicate_keys": links.duplicates.get(name, 0) for name in self.staged} | volumes.facts()
        if links.newest:
            facts[f"{self.ctx.scope}.age_days"] = (datetime.datetime.now(datetime.UTC).date() - links.newest).days
        return examiner.judge_facts(f"{self.ctx.scope}.{DELIVERY}", facts, self.facts)

    def hold(self, judged: Sequence[Judged]) -> None:
        """Write the failing rows for `publish`, and put them into quarantine."""
        shutil.rmtree(self.folder / "failed", ignore_errors=True)
        origins = _origins(self.ctx)
        rows = []
        for one in judged:
            if not one.failed.num_rows:
                continue
            path = self.folder / "failed" / f"{one.verdict.table}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(one.failed, path)
            for row, warned in zip(one.failed.to_pylist(), one.warned, strict=True):
                feed, file = origins.get(row["_file_hash"], ("", None))
                rows.append(
                    {"silo": self.ctx.scope, "step": "gate", "batch": self.batch["batch"], "run_id": self.ctx.run_id}
                    | {"feed": feed, "file": file, "file_hash": row["_file_hash"], "offset": row["_offset"]}
                    | {"resource_type": one.verdict.table, "resource_id": row["id"], "reasons": row["checks"]}
                    | {"detail": f"also warned: {'; '.join(warned)}" if warned else None}
                )
        quarantine.hold(self.ctx.lake, rows)


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


def gate_silo(ctx: Context, folder: Path, staged: Mapping[str, delta.Staged]) -> StepResult:
    """Gate a silo's staged tables, of which there is one at least. Raises GateFailedError."""
    gate = SiloGate(ctx, folder, staged)
    done = 0
    ctx.progress(done, len(staged), "references")
    examiner = Examiner(ctx.lake, ctx.run_id, THREADS)
    links = Links(
        ctx, staged, {name: [item.check for item in gate.items[name]] for name in staged}, gate.refused_patients()
    )

    def one(name: str) -> Judged:
        nonlocal done
        judged = gate.judge(name, links, examiner)
        done += 1
        ctx.progress(done, len(staged), name)
        return judged

    try:
        with ThreadPoolExecutor(THREADS) as pool:
            # The largest tables first, so that no thread is left with one at the end.
            judged = list(pool.map(one, sorted(staged, key=lambda name: -staged[name].rows)))
        volumes = Volumes(ctx, gate.batch)
        delivered = gate.judge_delivery(links, volumes, examiner)
    finally:
        links.close()
    verdicts = {one.verdict.table: one.verdict for one in judged}
    delivery = Verdict(DELIVERY, 1, [])
    for outcome in delivered:
        verdicts.get(outcome.check.table, delivery).outcomes.append(outcome)
    gate.hold(judged)
    docs = examiner.write_docs()
    books = [book(verdict) for verdict in verdicts.values()]
    result = conclude(ctx, folder, [*verdicts.values(), delivery], books, docs, gate.batch["batch"])
    volumes.keep()
    return result
