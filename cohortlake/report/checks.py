"""The gates' part of the report: how many checks ran, of which kind and weight, and which failed on how many rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cohortlake.report import facts
from cohortlake.report.records import Run, StepRecord

# Heaviest first; Kahn et al., "A Harmonized Data Quality Assessment Terminology" (eGEMs 2016).
SEVERITIES = {"fail": "stops the publish", "quarantine": "row to quarantine", "warn": "counted only"}
KINDS = ("conformance", "completeness", "plausibility")


@dataclass(frozen=True)
class Check:
    """A check that rows fail: `failed` of the `rows` it judged."""

    scope: str
    table: str
    name: str
    kind: str
    severity: str
    rows: int
    failed: int


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
    return [_gate(step) for step in run.steps if step.kind == "gate"]


def _gate(step: StepRecord) -> Gate:
    listed = [_check(step.scope, told) for told in facts.objects(step.facts.get("checks"))]
    ran = Counter((check.severity, check.kind) for check in listed)
    return Gate(step.scope, step, dict(ran), tuple(_heaviest_first(check for check in listed if check.failed)))


def _check(scope: str, told: dict[str, Any]) -> Check:
    table, name, kind, severity = (facts.text(told.get(key)) for key in ("table", "name", "kind", "severity"))
    return Check(scope, table, name, kind, severity, facts.whole(told.get("rows")), facts.whole(told.get("failed")))


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
