"""Follow a chain of DAG runs through Airflow's REST API, and show it: a line for each task."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

DONE = {"success": ("✓", "green"), "failed": ("✗", "red"), "upstream_failed": ("·", "dim"), "skipped": ("·", "dim")}
SAID = {"upstream_failed": "not run", "up_for_retry": "waits to be tried again"}
ACTIVE = {"running", "up_for_retry", "restarting"}


class Api:
    """Airflow's REST API, as one user."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self._address = (host, port)
        self._headers = {"Content-Type": "application/json"}
        token = self.ask("POST", "/auth/token", {"username": user, "password": password})["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer as JSON, or None where there is no such thing. Raises OSError for any other refusal."""
        connection = HTTPConnection(*self._address, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status >= 400:
            raise OSError(f"Airflow answered {answer.status} to {method} {path}: {text[:300].decode(errors='replace')}")
        return json.loads(text)

    def get(self, path: str) -> Any:
        return self.ask("GET", f"/api/v2{path}")

    def trigger(self, dag: str, run_id: str, conf: dict[str, Any]) -> None:
        self.ask("POST", f"/api/v2/dags/{dag}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})


@dataclass(frozen=True)
class Task:
    """A task instance; `scope` is the silo, zone or cohort that it works on."""

    dag: str
    run: str
    task: str
    map_index: int
    state: str
    attempt: int
    scope: str
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.dag, self.run, self.task, self.map_index

    @property
    def what(self) -> str:
        """The step's name in the plan (`gate.clinic_b`), or the task's own."""
        return ".".join(filter(None, [self.task.split(".")[-1], self.scope]))

    def log(self, home: Path) -> Path:
        """Where Airflow keeps this attempt's log."""
        mapped = f"map_index={self.map_index}/" if self.map_index >= 0 else ""
        return home / f"logs/dag_id={self.dag}/run_id={self.run}/task_id={self.task}/{mapped}attempt={self.attempt}.log"


def _seconds(start: str | None, end: str | None) -> float:
    if not start:
        return 0.0
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return (until - datetime.fromisoformat(start)).total_seconds()


def _tasks(found: list[dict[str, Any]]) -> list[Task]:
    """One DAG run's tasks. A task that never ran does not know its scope; another of the same index does."""
    scopes = {task["map_index"]: task["rendered_map_index"] for task in found if task["rendered_map_index"]}
    return [
        Task(
            dag=task["dag_id"],
            run=task["dag_run_id"],
            task=task["task_id"],
            map_index=task["map_index"],
            state=task["state"] or "waiting",
            attempt=task["try_number"],
            scope=task["rendered_map_index"]
            or (scopes.get(task["map_index"]) if task["map_index"] >= 0 else None)
            or "",
            seconds=_seconds(task["start_date"], task["end_date"]),
        )
        for task in found
    ]


@dataclass
class Chain:
    """The runs of `dags` since `since`, and their tasks."""

    api: Api
    dags: list[str]
    since: datetime
    runs: dict[tuple[str, str], str] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)

    def refresh(self) -> bool:
        """Read states; returns whether all have ended and none is to come."""
        # Events first: one that is taken up between the two questions shows as a run.
        queued = self._has_ended() and any(self.api.get(f"/dags/{dag}/assets/queuedEvents") for dag in self.dags)
        since = quote(self.since.isoformat())
        found = self.api.get(f"/dags/~/dagRuns?run_after_gte={since}&order_by=run_after&limit=100")["dag_runs"]
        self.runs = {(run["dag_id"], run["dag_run_id"]): run["state"] for run in found}
        self.tasks = []
        for dag, run in self.runs:
            self.tasks += _tasks(
                self.api.get(f"/dags/{dag}/dagRuns/{quote(run)}/taskInstances?limit=100")["task_instances"]
            )
        return self._has_ended() and not queued

    def _has_ended(self) -> bool:
        return bool(self.runs) and all(state in ("success", "failed") for state in self.runs.values())


def _line(task: Task, sign: str, style: str) -> Text:
    said = SAID.get(task.state, f"{task.seconds:6.1f} s")
    return Text.assemble(
        (f"{sign} ", style), f"{task.dag:<9} {task.what:<44} ", (f"{said:>9}", "dim" if style == "dim" else "")
    )


def follow(chain: Chain, console: Console, started: float, poll_seconds: float = 0.5) -> None:
    """Show the chain until it has ended: ended tasks as lines that stay, active ones below them."""
    shown: set[tuple[str, str, str, int]] = set()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            has_ended = chain.refresh()
            for task in sorted(chain.tasks, key=lambda task: task.seconds):
                if task.state in DONE and task.key not in shown:
                    shown.add(task.key)
                    console.print(_line(task, *DONE[task.state]))
            if has_ended:
                return
            active = [Spinner("dots", _line(task, "", "")) for task in chain.tasks if task.state in ACTIVE]
            left = sum(task.state not in DONE for task in chain.tasks)
            clock = Text(
                f"  {time.monotonic() - started:.0f} s, {left} tasks to go in {len(chain.runs)} DAG runs", "dim"
            )
            live.update(Group(*active, clock))
            time.sleep(poll_seconds)


def last_error(log: Path) -> str:
    """The last error's class and first line in a task's log (JSON lines)."""
    found = "no error in its log"
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        for error in record.get("error_detail") or ():
            found = f"{error['exc_type']}: {error['exc_value']}".splitlines()[0]
    return found
