"""Writing the records of a run by hand, as `cohortlake.run` does."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from cohortlake.core.lake import Lake

START = datetime.datetime(2026, 11, 23, 2, 0, tzinfo=datetime.UTC)
Record = dict[str, Any]


def book(table: str, rows_in: int, *, held: int = 0, older: int = 0, deleted: int = 0) -> Record:
    """A table's balanced books."""
    out = rows_in - held - older - deleted
    return {
        "table": table, "rows_in": rows_in, "rows_out": out, "quarantined": held, "superseded": older,
        "deleted": deleted,
    }  # fmt: skip


class RunMaker:
    """Writes a run's records, each step after the one before."""

    def __init__(self, lake: Lake, run_id: str = "20261123T020000000Z") -> None:
        self.lake, self.run_id, self.clock = lake, run_id, 0.0
        self.about = {
            "run_id": run_id, "lake": str(lake.root), "data": "/srv/incoming", "runner": "embedded",
            "started_at": START.isoformat(timespec="milliseconds"),
        }  # fmt: skip

    def _at(self) -> str:
        return (START + datetime.timedelta(seconds=self.clock)).isoformat(timespec="milliseconds")

    def step(
        self, name: str, stage: str, seconds: float, books: list[Record] | None = None, facts: Record | None = None,
        error: Record | None = None,
    ) -> None:  # fmt: skip
        """Record a step; with an error, as failed."""
        kind, _, scope = name.partition(".")
        record = {"step": name, "kind": kind, "scope": scope, "stage": stage, "started_at": self._at()}
        self.clock += seconds
        record |= {"status": "failed" if error else "done", "books": books or [], "facts": facts or {}}
        record |= {"ended_at": self._at(), "seconds": seconds} | ({"error": error} if error else {})
        write_json(self.lake.runs / self.run_id / "steps" / f"{name}.json", record)

    def end(self, is_ended: bool = True) -> str:
        """Write the run's own record; gives its id."""
        ended = {"ended_at": self._at()} if is_ended else {}
        write_json(self.lake.runs / self.run_id / "run.json", {**self.about, **ended})
        return self.run_id


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
