"""What the three DAGs agree on: retries, callbacks, assets, parameters, and how a plan's steps become tasks.

One chain is `ingest` → silver → `curate` → gold → `training`. The first run of a chain names it; the name, the folders
and `force` travel in the assets' events, so that every step of the chain writes into one run folder and one report.

Nothing here imports Spark, Great Expectations or SDV: that happens inside the tasks.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    CronTriggerTimetable,
    Param,
    TaskGroup,
    TriggerRule,
    chain,
    get_current_context,
    task,
    task_group,
)
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowFailException

from cohortlake.core import errors
from cohortlake.plan import Step, load_plan

PROJECT = Path(__file__).resolve().parent.parent
SILVER = Asset("silver", uri="cohortlake://silver", group="cohortlake")
GOLD = Asset("gold", uri="cohortlake://gold", group="cohortlake")

# Their cause lies in a declaration or in the data: running the same again fails the same.
LASTING = [
    errors.BooksError,
    errors.CatalogError,
    errors.GateFailedError,
    errors.UnsignedProtocolError,
    errors.UsageError,
    errors.ViewError,
]


def schedule() -> CronTriggerTimetable | None:
    """When `ingest` runs: $COHORTLAKE_SCHEDULE (cron, UTC; `none`: only when triggered), by default daily at 02:00."""
    cron = os.environ.get("COHORTLAKE_SCHEDULE", "0 2 * * *")
    return None if cron == "none" else CronTriggerTimetable(cron, timezone="UTC")


def log_failure(context: Any) -> None:
    """Say which run and step failed, of what class, and what to do next. No message: it could hold a row's values."""
    error, ti = context.get("exception"), context["ti"]
    step = context.get("step", ti.task_id)
    hint = getattr(error, "hint", "") or "Read the traceback above and mend the cause, then clear the task."
    logging.getLogger("cohortlake").error(
        "run=%s step=%s try=%s failed with %s. Next: %s",
        run_id(context),
        step,
        ti.try_number,
        type(error).__name__,
        hint,
    )


AGREED: dict[str, Any] = {
    # One chain at a time: a lake has one writer. Later runs queue.
    "max_active_runs": 1,
    # A run takes in all that has arrived, whatever its date, so a missed day needs no run of its own.
    # A backfill over dates would only repeat one run.
    "catchup": False,
    "tags": ["cohortlake"],
    "params": {
        "lake": Param(None, type=["null", "string"], description="The lake ($COHORTLAKE_LAKE, else lake/)"),
        "data": Param(None, type=["null", "string"], description="The sources ($COHORTLAKE_DATA_FOLDER, else data/)"),
        "force": Param(False, type="boolean", description="Run silos whose protocol is not signed off, too"),
    },
    "default_args": {
        "owner": "cohortlake",
        "retries": 2,
        "retry_delay": timedelta(seconds=15),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "retry_policy": ExceptionRetryPolicy([RetryRule(LASTING, RetryAction.FAIL, reason="would fail again")]),
        "execution_timeout": timedelta(hours=6),
        "on_failure_callback": log_failure,
    },
}


def catalog_folder() -> Path | None:
    """The catalog that the DAGs are made from: $COHORTLAKE_CATALOG, else the project's own.

    It is no parameter of a run: a DAG has its silos and cohorts from it, so a run could not change it.
    """
    named = os.environ.get("COHORTLAKE_CATALOG")
    return Path(named) if named else None


def plan_of(stage: str) -> list[Step]:
    """The plan's steps of one stage, in order."""
    return [step for step in load_plan(catalog_folder()) if step.stage == stage]


def _asked(context: Any) -> dict[str, Any]:
    """What this chain was asked for: by this run's own parameters, else by the newest event that triggered it."""
    events = [event for found in context["triggering_asset_events"].values() for event in found]
    newest = max(events, key=lambda event: event.timestamp, default=None)
    inherited = dict(newest.extra) if newest else {}
    return inherited | {name: value for name, value in context["params"].items() if value}


def run_id(context: Any) -> str:
    """The chain's name, fit for a folder: the triggering event's, else made from this DAG run's own id."""
    return _asked(context).get("run_id") or re.sub(r"[^A-Za-z0-9-]+", "-", context["dag_run"].run_id)


def _folder(asked: Any, variable: str, default: str) -> Path:
    return Path(asked or os.environ.get(variable) or PROJECT / default)


def chain_facts(context: Any) -> dict[str, Any]:
    """Run, folders and force of the chain: what a step is called with, and what an event hands on (as JSON)."""
    asked = _asked(context)
    return {
        "run_id": run_id(context),
        "lake": str(_folder(asked.get("lake"), "COHORTLAKE_LAKE", "lake")),
        "data": str(_folder(asked.get("data"), "COHORTLAKE_DATA_FOLDER", "data")),
        "force": bool(asked.get("force")),
    }


def _hand_on(context: Any) -> None:
    for asset in context["outlets"]:
        context["outlet_events"][asset].extra = chain_facts(context)


@task(map_index_template="{{ scope }}")
def run_plan_step(kind: str, scope: str) -> None:
    """Run one step of the plan in this process."""
    from cohortlake.run import run_step

    context = get_current_context()
    context["scope"], context["step"] = scope, f"{kind}.{scope}"  # type: ignore[typeddict-unknown-key]
    facts = chain_facts(context)
    run_step(
        f"{kind}.{scope}",
        lake=Path(facts["lake"]),
        data=Path(facts["data"]),
        catalog=catalog_folder(),
        run_id=facts["run_id"],
        force=facts["force"],
    )
    _hand_on(context)


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def announce() -> None:
    """Tell the next DAG that there is new data, once: when every scope is done and at least one has succeeded."""
    _hand_on(get_current_context())


@task(trigger_rule=TriggerRule.ALL_DONE, on_failure_callback=None)
def report() -> str:
    """Write the run's report, then fail the DAG run if any of its tasks did: a success elsewhere must not hide it."""
    from cohortlake.run import write_report

    context = get_current_context()
    facts, dag_run = chain_facts(context), context["dag_run"]
    written = write_report(facts["run_id"], lake=Path(facts["lake"]))
    states = context["ti"].get_task_states(dag_id=dag_run.dag_id, run_ids=[dag_run.run_id])[dag_run.run_id]
    failed = sum(state == "failed" for state in states.values())
    if failed:
        raise AirflowFailException(f"{failed} of this run's tasks failed; the report names them: {written}")
    return str(written)


def step_tasks(stage: str, **last: Any) -> Any:
    """The stage's steps in sequence; returns the last, which is made with the options `last`."""
    steps = plan_of(stage)
    tasks = [
        run_plan_step.override(task_id=step.kind, **(last if step is steps[-1] else {}))(step.kind, step.scope)
        for step in steps
    ]
    chain(*tasks)
    return tasks[-1]


def mapped_step_tasks(stage: str, group_id: str) -> TaskGroup | list[Any]:
    """The stage's steps in sequence, mapped over its scopes: each goes its own way, whatever happens to the others."""
    steps = plan_of(stage)
    if not steps:
        return []  # a catalog that declares no cohort yet

    @task_group(group_id=group_id)
    def one_scope(scope: str) -> None:
        chain(*(run_plan_step.override(task_id=kind)(kind, scope) for kind in dict.fromkeys(s.kind for s in steps)))

    return one_scope.expand(scope=list(dict.fromkeys(step.scope for step in steps)))


def stage_dag(stage: str, schedule: Any, doc_md: str | None) -> DAG:
    """A stage's DAG with everything agreed."""
    return DAG(stage, schedule=schedule, doc_md=doc_md, description=(doc_md or "").splitlines()[0], **AGREED)
