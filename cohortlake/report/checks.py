"""The gates' part of the report: how many checks ran, of which kind and weight, and which failed on how many rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cohortlake.report import facts
from cohortlake.report.records import DONE, Run, StepRecord, read_json

# Heaviest first; Kahn et al., "A Harmonized Data Quality Assessment Terminology" (eGEMs 2016).
SEVERITIES = {"fail": "stops the publish", "quarantine": "row to quarantine", "warn": "counted only"}
VERDICT_FILE = "_verdict.json"
KINDS = ("conformance", "completeness", "plausibility")


@dataclass(frozen=True)
class Check:
    """A check: `failed` of the table's `rows`, which is `percent` of the values that it judged.

    A check of a fact of the whole delivery (its age, a volume) has `found` it to be so much.
    """

    scope: str
    table: str
    name: str
    kind: str
    severity: str
    rows: int
    failed: int
    percent: float
    found: float | None


@dataclass(frozen=True)
class Gate:
    """A gate: its checks by severity and kind (how many ran, how many failed), and the failing ones, heaviest first."""

    scope: str
    step: StepRecord
    ran: dict[tuple[str, str], int]
    failing: tuple[Check, ...]

    @property
    def total(self) -> int:
        return sum(self.ran.values())

    def failed(self, severity: str = "", kind: str = "") -> int:
        """How many checks failed, of a severity and a kind, or of all."""
        return sum(severity in ("", check.severity) and kind in ("", check.kind) for check in self.failing)

    def of(self, severity: str, kind: str) -> int:
        """How many checks of a severity and a kind ran."""
        return self.ran.get((severity, kind), 0)


def read_gates(run: Run) -> list[Gate]:
    """The gates that ran."""
    return [_gate(run, step) for step in run.steps if step.kind == "gate"]


def _gate(run: Run, step: StepRecord) -> Gate:
    told = facts.objects(step.facts.get("checks")) if step.status == DONE else _stopped(run, step.scope)
    listed = [_check(step.scope, check) for check in told]
    ran = Counter((check.severity, check.kind) for check in listed)
    return Gate(step.scope, step, dict(ran), tuple(_heaviest_first(check for check in listed if check.failed)))


def _check(scope: str, told: dict[str, Any]) -> Check:
    table, name, kind, severity = (facts.text(told.get(key)) for key in ("table", "name", "kind", "severity"))
    rows, failed = facts.whole(told.get("rows")), facts.whole(told.get("failed"))
    percent, found = facts.real(told.get("percent")), facts.real(told.get("found"))
    if not percent:  # unknown, or rounded away
        percent = 100 * failed / rows if rows else 0.0
    return Check(scope, table, name, kind, severity, rows, failed, percent, found)


def _stopped(run: Run, scope: str) -> list[dict[str, Any]]:
    """What a gate that stopped the publish found: its step has no facts, but its verdict stays beside the batch."""
    zone = "research" if scope == "gold" else "phi"
    verdict = read_json(run.lake.staging(zone, scope) / VERDICT_FILE)
    if verdict.get("run_id") != run.run_id:
        return []
    tables = facts.mapping(verdict.get("tables")).values()
    return [check for table in tables for check in facts.objects(facts.mapping(table).get("checks"))]


def _heaviest_first(checks: Iterable[Check]) -> list[Check]:
    order = list(SEVERITIES)
    return sorted(
        checks,
        key=lambda check: (
            order.index(check.severity) if check.severity in order else len(order),
            -check.failed,
            check.table,
            check.name,
        ),
    )
