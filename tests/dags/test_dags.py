"""The DAGs as a whole: they load, they are the plan, and they keep to what is agreed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cohortlake.core.errors import GateFailedError
from cohortlake.plan import CURATE, INGEST, TRAINING, load_plan

DAGS = Path(__file__).parent.parent.parent / "dags"
GROUPS = {INGEST: "silo", TRAINING: "training_set"}
LOAD = """
import json, sys, time
from airflow.dag_processing.dagbag import BundleDagBag
started = time.process_time()
bag = BundleDagBag(sys.argv[1], bundle_path=sys.argv[1], bundle_name="dags-folder")
heavy = {"pyspark", "great_expectations", "sdv", "pandas", "pyarrow", "duckdb", "matplotlib"} & set(sys.modules)
print(json.dumps({"cpu_seconds": time.process_time() - started, "heavy": sorted(heavy), "dags": sorted(bag.dags)}))
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Any:
    os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(DAGS, bundle_path=DAGS, bundle_name="dags-folder")


@pytest.fixture(scope="module")
def common(bag: Any) -> Any:
    return sys.modules["common"]


def test_dags_load(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {INGEST, CURATE, TRAINING}


def test_dags_load_fast_and_without_an_engine(tmp_path: Path) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path)}
    command = [sys.executable, "-c", LOAD, str(DAGS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded["dags"] == sorted([INGEST, CURATE, TRAINING])
    assert loaded["heavy"] == []
    assert loaded["cpu_seconds"] < 5


@pytest.mark.parametrize("stage", [INGEST, CURATE, TRAINING])
def test_tasks_are_the_plan(bag: Any, stage: str) -> None:
    dag, plan = bag.dags[stage], [step for step in load_plan() if step.stage == stage]
    group = GROUPS.get(stage)
    mapped = dag.task_group_dict[group]._expand_input.value["scope"] if group else None
    own = [task for task in dag.topological_sort() if task.task_id not in ("silver", "report")]

    def names(task_id: str, of: list[str] | None) -> list[str]:
        """The steps that a task stands for: one of each mapped scope, or the one that the plan has of its kind."""
        kind = task_id.split(".")[-1]
        return [f"{kind}.{scope}" for scope in of or [step.scope for step in plan if step.kind == kind]]

    assert sorted(name for task in own for name in names(task.task_id, mapped)) == sorted(step.name for step in plan)
    for step in plan:
        task = dag.get_task(f"{group}.{step.kind}" if group else step.kind)
        of = [step.scope] if group else None
        assert {name for found in task.upstream_task_ids for name in names(found, of)} == set(step.needs)


@pytest.mark.parametrize("stage", [INGEST, CURATE, TRAINING])
def test_every_dag_keeps_to_what_is_agreed(bag: Any, stage: str) -> None:
    dag = bag.dags[stage]
    dag.check_cycle()
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert "cohortlake" in dag.tags
    assert len(dag.doc_md) > 100
    assert set(dag.params) == {"lake", "data", "force"}
    for task in dag.tasks:
        assert task.owner == "cohortlake"
        assert task.retries == 2
        assert task.retry_exponential_backoff == 2.0
        assert task.retry_delay == timedelta(seconds=15)
        assert task.has_retry_policy
        assert task.execution_timeout is not None


@pytest.mark.parametrize("stage", [INGEST, CURATE, TRAINING])
def test_the_report_is_last_and_written_whatever_happened(bag: Any, stage: str) -> None:
    dag = bag.dags[stage]
    assert [task.task_id for task in dag.leaves] == ["report"]
    assert dag.get_task("report").trigger_rule == "all_done"


def test_assets_chain_the_dags(bag: Any) -> None:
    outlets = {
        stage: {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
        for stage, dag in bag.dags.items()
    }
    assert outlets == {
        INGEST: {"silver": ["silver"]},
        CURATE: {"publish": ["gold"]},
        TRAINING: {},
    }
    waits_for = {
        stage: [asset.name for asset in bag.dags[stage].timetable.asset_condition.objects]
        for stage in (CURATE, TRAINING)
    }
    assert waits_for == {CURATE: ["silver"], TRAINING: ["gold"]}


def test_one_failing_silo_stops_neither_the_others_nor_curate(bag: Any) -> None:
    dag = bag.dags[INGEST]
    assert dag.get_task("silver").trigger_rule == "all_done_min_one_success"
    assert {task.trigger_rule for task in dag.tasks if task.task_id.startswith("silo.")} == {"all_success"}


@pytest.mark.parametrize(("cron", "expected"), [(None, "0 2 * * *"), ("30 4 * * 1", "30 4 * * 1"), ("none", None)])
def test_schedule_comes_from_the_environment(
    common: Any, monkeypatch: pytest.MonkeyPatch, cron: str | None, expected: str | None
) -> None:
    monkeypatch.delenv("COHORTLAKE_SCHEDULE", raising=False)
    if cron:
        monkeypatch.setenv("COHORTLAKE_SCHEDULE", cron)
    found = common.schedule()
    assert (found.expression if found else None) == expected


def _context(*events: dict[str, Any], run: str = "manual__2026-01-02T03:04:05+00:00", **params: Any) -> dict[str, Any]:
    told = [
        SimpleNamespace(extra=extra, timestamp=datetime(2026, 1, 1, hour, tzinfo=UTC))
        for hour, extra in enumerate(events)
    ]
    return {
        "triggering_asset_events": {"silver": told} if told else {},
        "params": {"lake": None, "data": None, "force": False, **params},
        "dag_run": SimpleNamespace(run_id=run),
    }


def test_a_chain_is_named_by_its_first_run(common: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COHORTLAKE_LAKE", "/from/environment")
    monkeypatch.delenv("COHORTLAKE_DATA_FOLDER", raising=False)
    first = common.chain_facts(_context(force=True, lake="/asked"))
    assert first == {
        "run_id": "manual-2026-01-02T03-04-05-00-00",
        "lake": "/asked",
        "data": str(DAGS.parent / "data"),
        "force": True,
    }
    assert common.chain_facts(_context({"run_id": "older"}, first, run="asset_triggered__x")) == first
    assert common.chain_facts(_context())["lake"] == "/from/environment"


def test_a_failure_is_told_without_its_message(common: Any, caplog: pytest.LogCaptureFixture) -> None:
    context = _context() | {
        "exception": GateFailedError("Ada Lovelace is not a date", "Open the Data Docs."),
        "ti": SimpleNamespace(task_id="silo.gate", try_number=1),
        "step": "gate.clinic_b",
    }
    common.log_failure(context)
    assert "step=gate.clinic_b" in caplog.text
    assert "GateFailedError" in caplog.text
    assert "Open the Data Docs." in caplog.text
    assert "Lovelace" not in caplog.text
