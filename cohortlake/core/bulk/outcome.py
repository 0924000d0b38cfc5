"""OperationOutcome: what a server says went wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

# Issue types under which the same request may go well later.
# Source: https://hl7.org/fhir/R4/valueset-issue-type.html, `transient` and what stands below it.
TRANSIENT = frozenset({"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"})
SHOWN = 300


def issues(body: str | bytes) -> list[dict[str, Any]] | None:
    """The issues of an OperationOutcome, or None where the text is something else."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("resourceType") != "OperationOutcome":
        return None
    listed = found.get("issue")
    return [issue for issue in listed if isinstance(issue, dict)] if isinstance(listed, list) else []


def is_transient(body: str | bytes) -> bool | None:
    """Whether the server says that asking again may help; None where it says nothing in FHIR."""
    found = issues(body)
    return None if found is None else any(issue.get("code") in TRANSIENT for issue in found)


def words(body: str | bytes) -> str:
    """What the server says of a request, short; empty where it says nothing in FHIR."""
    said = []
    for issue in issues(body) or []:
        details = issue.get("details")
        text = details.get("text") if isinstance(details, dict) else None
        said.append(str(text or issue.get("diagnostics") or issue.get("code")))
    return "; ".join(said)[:SHOWN]


def count_issues(lines: Iterable[bytes]) -> Counter[str]:
    """How often each `severity code` stands in a file of OperationOutcomes. The words may hold patients' data."""
    counts: Counter[str] = Counter()
    for line in lines:
        if line.strip():
            found = issues(line)
            if found is None:
                counts["not an OperationOutcome"] += 1
            else:
                counts.update(f"{issue.get('severity')} {issue.get('code')}" for issue in found)
    return counts
