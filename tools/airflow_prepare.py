"""Prepare Airflow's metadata before its components start: `python -m tools.airflow_prepare`, with AIRFLOW_HOME set.

One process does what `airflow db migrate` and `airflow dags reserialize` would import Airflow twice for, and closes what
an earlier, killed run left open: its runs would otherwise go on first and hold up the new one (`max_active_runs=1`).
"""

from __future__ import annotations

import sys

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.asset import AssetDagRunQueue
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import delete, func, or_, update


def close_interrupted_runs() -> None:
    """Mark as failed what no process works on any more, and forget the events that would start more of it."""
    with create_session() as session:
        for model, states in ((DagRun, State.unfinished_dr_states), (TaskInstance, State.unfinished)):
            unfinished = or_(*(model.state == state for state in states))
            session.execute(update(model).where(unfinished).values(state="failed", end_date=func.now()))
        session.execute(delete(AssetDagRunQueue))


def serialise_dags() -> dict[str, str]:
    """Read the DAG files into the database; returns the errors by file."""
    manager = DagBundlesManager()
    errors: dict[str, str] = {}
    with create_session() as session:
        manager.sync_bundles_to_db(session=session)
        session.commit()
        for bundle in manager.get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            sync_bag_to_db(bag, bundle.name, bundle_version=None, session=session)
            errors |= bag.import_errors
    return errors


if __name__ == "__main__":
    initdb()
    close_interrupted_runs()
    failed = serialise_dags()
    for path, error in failed.items():
        print(f"{path}: {error}", file=sys.stderr)
    sys.exit(1 if failed else 0)
