"""Running steps: one by name (Airflow's tasks), or the whole plan in this process (`cohortlake run`).

Each step leaves a record `LAKE/ops/runs/<run>/steps/<step>.json` and its books in `ops/accounting`.
"""

from __future__ import annotations

import datetime
import importlib
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.errors import CohortlakeError, LakeBusyError, LakeWriteError, UsageError
from cohortlake.core.lake import Lake
from cohortlake.plan import Step, make_plan

PACKAGES = ("cohortlake", "spark_jobs", "expectations", "synthetic")
Progress = Callable[[int, int, str], None]
DISK_TROUBLE = {
    "No space left on device": (
        "the disk is full",
        "Free space, then run again: what was published is whole and live.",
    ),
    "Read-only file system": ("the file system is read-only", "Mount it writable, or give another folder with --lake."),
    "Permission denied": ("permission is denied", "Give this user write permission, or another folder with --lake."),
}


def new_run_id() -> str:
    """A run's name: its start in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def find_step(plan: list[Step], name: str) -> Step:
    """The step of this name. Raises UsageError."""
    for step in plan:
        if step.name == name:
            return step
    raise UsageError(f"there is no step {name!r}", f"The plan has {', '.join(step.name for step in plan)}.")


def _clear(error: BaseException, lake: Lake) -> BaseException:
    """Disk trouble, however deep an engine wraps it, as the error that says what to do."""
    if isinstance(error, CohortlakeError):
        return error
    text = f"{error}\n{''.join(traceback.format_exception(error))}"
    for sign, (reason, hint) in DISK_TROUBLE.items():
        if sign in text:
            return LakeWriteError(f"cannot write the lake {lake.root}: {reason}", hint)
    return error


def _told(error: BaseException) -> dict[str, str]:
    """An error as a run's record keeps it: our own with its words, any other by its class and where it came up.

    The words of a foreign error may hold a row's values, and records stand outside the phi zone.
    """
    name = type(error).__name__
    if isinstance(error, CohortlakeError):
        return {"class": name, "message": str(error), "hint": error.hint}
    home = Path(__file__).parent.parent
    frames = traceback.extract_tb(error.__traceback__)
    places = [(Path(f.filename).relative_to(home), f.lineno) for f in frames if Path(f.filename).is_relative_to(home)]
    ours = [f"{path}:{line}" for path, line in places if path.parts[0] in PACKAGES]
    place = ours[-1] if ours else "a library"
    message = f"{name} in {place}: its words may hold values of rows, so they are not kept here"
    return {"class": name, "message": message, "hint": "They are in the terminal, or in the log of Airflow's task."}


def run_step(
    step_name: str,
    *,
    lake: Path,
    data: Path,
    catalog: Path | None = None,
    run_id: str,
    force: bool = False,
    progress: Progress = lambda done, total, what: None,
) -> dict[str, Any]:
    """Run one step and give its record. Run again, it leaves the same tables.

    Raises what the step raises, after the record is written; BooksError where its books do not balance.
    """
    declared = load_catalog(catalog)
    step = find_step(make_plan(declared), step_name)
    begin_run(Lake(lake.absolute()), run_id, data=data.absolute(), runner="Airflow")
    return execute(step, Lake(lake.absolute()), data.absolute(), declared, run_id, force, progress)


def check_erased(lake: Lake) -> None:
    """Raises LakeBusyError where an erasure was stopped before its end: what it took out would be made anew."""
    if lake.erasing.exists():
        raise LakeBusyError("an erasure was stopped before its end", "End it: `cohortlake erase --resume`.")


def execute(
    step: Step, lake: Lake, data: Path, catalog: Catalog, run_id: str, force: bool, progress: Progress
) -> dict[str, Any]:
    """Run a step of a plan whose catalog is loaded already."""
    from spark_jobs.books import account, check_books
    from spark_jobs.context import Context

    record: dict[str, Any] = {
        "step": step.name,
        "kind": step.kind,
        "scope": step.scope,
        "stage": step.stage,
        "started_at": now(),
        "status": "failed",
        "books": [],
        "facts": {},
    }
    started = time.monotonic()
    try:
        with lake.lock(step.scope, on_wait=lambda: progress(0, 0, "waits for another run")):
            check_erased(lake)
            module, _, function = step.job.partition(":")
            job = getattr(importlib.import_module(module), function)
            result = job(Context(lake, data, catalog, step.scope, run_id, force, progress))
            record |= {"books": [asdict(book) for book in result.books], "facts": result.facts}
            check_books(step.name, result.books)
            account(lake, run_id, step.name, step.scope, result.books)
            record["status"] = "done"
    except Exception as error:
        clear = _clear(error, lake)
        record["error"] = _told(clear)
        if clear is error:
            raise
        raise clear from error
    finally:
        record |= {"ended_at": now(), "seconds": round(time.monotonic() - started, 2)}
        _keep(lake, run_id, record)
    return record


def _keep(lake: Lake, run_id: str, record: dict[str, Any]) -> None:
    """Write the step's record; a lake that cannot be written has its own error on the way already."""
    from spark_jobs.delta import write_json

    try:
        write_json(lake.runs / run_id / "steps" / f"{record['step']}.json", record)
    except LakeWriteError:
        if record["status"] == "done":
            raise


class RunFailedError(CohortlakeError):
    """Steps of a run failed; the others ran, and what they published is live."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


def run_plan(
    *,
    lake: Path,
    data: Path,
    catalog: Path | None = None,
    force: bool = False,
    wait: bool = True,
    only: Callable[[Step], bool] = lambda step: True,
    on_step: Callable[[Step, str, dict[str, Any]], None] = lambda step, status, record: None,
    progress: Callable[[Step, int, int, str], None] = lambda step, done, total, what: None,
) -> str:
    """Run the whole plan here, one Spark session for all steps; gives the run's id.

    A step that fails stops the steps that need it, and no other. Raises RunFailedError at the end, LakeBusyError where
    another run holds the lake and `wait` is off.
    """
    declared = load_catalog(catalog)
    place, run_id = Lake(lake.absolute()), new_run_id()
    plan = [step for step in make_plan(declared) if only(step)]
    if not plan:
        raise UsageError("no step is chosen", "See `cohortlake plan` for the steps.")
    failures: dict[str, tuple[Step, BaseException]] = {}

    def on_wait() -> None:
        on_step(plan[0], "waiting", {})

    with place.lock("run", wait=wait, on_wait=on_wait):
        check_erased(place)
        begin_run(place, run_id, data=data, runner="embedded")
        silos = [step for step in plan if step.stage == "ingest" and step.kind == "publish"]
        for step in plan:
            blocked = [need for need in step.needs if need in failures]
            if step.stage == "curate" and step.kind == "curate" and silos and all(s.name in failures for s in silos):
                blocked = [s.name for s in silos]
            if step.kind == "cohort" and "publish.gold" in failures:
                blocked = ["publish.gold"]
            if blocked:
                failures[step.name] = (step, CohortlakeError(f"needs {blocked[0]}"))
                on_step(step, "skipped", {})
                continue
            on_step(step, "running", {})
            try:
                record = execute(step, place, data.absolute(), declared, run_id, force, partial(progress, step))
                on_step(step, "done", record)
            except Exception as error:
                failures[step.name] = (step, error)
                on_step(step, "failed", {"error": error})
        try:
            write_report(run_id, lake=lake)
        except LakeWriteError:
            if not failures:
                raise
    own = [(step, error) for step, error in failures.values() if not str(error).startswith("needs ")]
    if own:
        first = own[0][1]
        lines = [f"{step.name}: {error}" for step, error in own]
        code = getattr(first, "exit_code", 1)
        raise RunFailedError("\n".join(lines), getattr(first, "hint", "") or "See the run report.", code)
    return run_id


def begin_run(lake: Lake, run_id: str, *, data: Path, runner: str) -> None:
    """Note that a run began; its first step says so for all."""
    from spark_jobs.delta import write_json

    path = lake.runs / run_id / "run.json"
    if not path.exists():
        about = {"run_id": run_id, "lake": str(lake.root), "data": str(data), "runner": runner, "started_at": now()}
        write_json(path, about)


def write_report(run_id: str, *, lake: Path) -> Path:
    """Note that the run (or one of its DAGs) ended, and write its page; `LAKE/report.html` is always the newest.

    Raises UsageError where there is no such run, LakeWriteError where the lake cannot be written.
    """
    from cohortlake.report import write
    from spark_jobs.delta import write_json

    place = Lake(lake.absolute())
    path = place.runs / run_id / "run.json"
    if not path.exists():
        raise UsageError(f"there is no run {run_id} in {lake}", "`cohortlake report` names the runs.")
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), "ended_at": now()})
    return write(place, run_id)


def print_summary(run_id: str, *, lake: Path) -> None:
    """Say on the terminal what a run made and where to look."""
    from rich.console import Console

    from cohortlake.report import summary

    Console(highlight=False).print(summary(Lake(lake.absolute()), run_id))
