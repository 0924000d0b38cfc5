"""Follow a chain of DAG runs through Airflow's REST API, and show it: a line for each task."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from tools.airflow_home import LOOPBACK, USER, ServiceError

ENDED = {"success": ("✓", "green"), "failed": ("✗", "red"), "upstream_failed": ("·", "dim"), "skipped": ("·", "dim")}
SIGNS = ENDED | {"up_for_retry": ("↻", "yellow")}
WORDS = {"upstream_failed": "not run", "skipped": "skipped", "up_for_retry": "retries"}
ACTIVE = {"running", "restarting"}
PAGE = 100


class Api:
    """Airflow's REST API on the loopback, as the user `admin`. Raises ServiceError where it refuses or is gone."""

    def __init__(self, port: int, password: str) -> None:
        self._port = port
        self._headers = {"Content-Type": "application/json"}
        token = self._ask("POST", "/auth/token", {"username": USER, "password": password})["access_token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer as JSON, or None where there is no such thing."""
        connection = HTTPConnection(LOOPBACK, self._port, timeout=120)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, self._headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise ServiceError(f"Airflow does not answer: {error}", "See .airflow/logs/api-server.log") from error
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status >= 400:
            said = text[:300].decode(errors="replace")
            raise ServiceError(f"Airflow answered {answer.status} to {method} {path}: {said}")
        return json.loads(text)

    def get(self, path: str) -> Any:
        return self._ask("GET", f"/api/v2{path}")

    def pages(self, path: str, name: str) -> Iterator[dict[str, Any]]:
        """Every entry of a list that Airflow gives in pages."""
        offset, total = 0, 1
        while offset < total:
            answer = self.get(f"{path}{'&' if '?' in path else '?'}limit={PAGE}&offset={offset}")
            offset, total = offset + PAGE, answer["total_entries"]
            yield from answer[name]

    def trigger(self, dag: str, run: str, conf: dict[str, Any]) -> None:
        asked = {"dag_run_id": run, "logical_date": None, "conf": conf}
        self._ask("POST", f"/api/v2/dags/{dag}/dagRuns", asked)


@dataclass(frozen=True)
class Task:
    """A task instance; `scope` is the silo or cohort that it works on, where a DAG has several."""

    dag: str
    run: str
    task: str
    map_index: int
    state: str
    attempt: int
    scope: str
    seconds: float

    @property
    def key(self) -> tuple[str, ...]:
        """What one line is shown for: an outcome of an attempt."""
        return self.dag, self.run, self.task, str(self.map_index), str(self.attempt), self.state

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
    """One DAG run's tasks. One that has not run says its index instead of its scope; another of that index says it."""
    scopes = {
        task["map_index"]: task["rendered_map_index"]
        for task in found
        if task["rendered_map_index"] not in (None, str(task["map_index"]))
    }
    return [
        Task(
            dag=task["dag_id"],
            run=task["dag_run_id"],
            task=task["task_id"],
            map_index=task["map_index"],
            state=task["state"] or "waiting",
            attempt=task["try_number"],
            scope=scopes.get(task["map_index"], "") if task["map_index"] >= 0 else task["rendered_map_index"] or "",
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
    _tasks: dict[tuple[str, str], list[Task]] = field(default_factory=dict)

    def refresh(self) -> bool:
        """Read states; returns whether all have ended and none is to come."""
        self._read()
        if not self._has_ended() or any(self._is_triggered(dag) for dag in self.dags):
            return False
        # An event that was taken up between the two questions now shows as a run.
        self._read()
        return self._has_ended()

    def _is_triggered(self, dag: str) -> bool:
        queued = self.api.get(f"/dags/{dag}/assets/queuedEvents")
        return bool(queued and queued["total_entries"])

    def _has_ended(self) -> bool:
        return bool(self.runs) and set(self.runs.values()) <= {"success", "failed"}

    def _read(self) -> None:
        """Read the runs, and the tasks of those that had not ended when last read."""
        known = {key for key, state in self.runs.items() if state in ("success", "failed")}
        since = quote(self.since.isoformat())
        found = self.api.pages(f"/dags/~/dagRuns?run_after_gte={since}&order_by=run_after", "dag_runs")
        self.runs = {(run["dag_id"], run["dag_run_id"]): run["state"] for run in found}
        for dag, run in self.runs.keys() - known:
            path = f"/dags/{dag}/dagRuns/{quote(run)}/taskInstances"
            self._tasks[dag, run] = _tasks(list(self.api.pages(path, "task_instances")))

    @property
    def tasks(self) -> list[Task]:
        return [task for tasks in self._tasks.values() for task in tasks]

    @property
    def failures(self) -> list[Task]:
        """The tasks that failed. A DAG's closing `report` fails because another did: it counts where it is alone."""
        failed = [task for task in self.tasks if task.state == "failed"]
        return [task for task in failed if task.task != "report"] or failed


def _line(task: Task, sign: str, style: str) -> Text:
    word = WORDS.get(task.state, f"{task.seconds:.1f} s")
    return Text.assemble((f"{sign} ", style), f"{task.dag:<9} {task.what:<44} ", (f"{word:>9}", style))


def follow(chain: Chain, console: Console, started: float, check: Callable[[], None]) -> None:
    """Show the chain until it has ended: ended tasks as lines that stay, active ones below them."""
    shown: set[tuple[str, ...]] = set()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            check()
            has_ended = chain.refresh()
            for task in chain.tasks:
                if task.state in SIGNS and task.key not in shown:
                    shown.add(task.key)
                    console.print(_line(task, *SIGNS[task.state]))
            if has_ended:
                return
            active = [Spinner("dots", _line(task, "", "")) for task in chain.tasks if task.state in ACTIVE]
            left = sum(task.state not in ENDED for task in chain.tasks)
            clock = f"  {time.monotonic() - started:.0f} s, {left} tasks to go in {len(chain.runs)} DAG runs"
            live.update(Group(*active, Text(clock, "dim")))
            # Each look costs the API server about 0.05 s of a core, which the steps could use.
            time.sleep(2)


def last_error(log: Path) -> str:
    """The last error in a task's log (JSON lines): its class and first line."""
    found = "no error in its log"
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        for error in record.get("error_detail") or ():
            found = f"{error['exc_type']}: {error['exc_value']}".splitlines()[0]
    return found
