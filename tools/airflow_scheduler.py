"""Airflow's scheduler, made ready to be quick: `python -m tools.airflow_scheduler`, with AIRFLOW_HOME set.

Beforehand, and in one process where `airflow db migrate` and `airflow dags reserialize` would each import Airflow anew:

* bring the metadata up to date, and read the DAG files into it;
* close what a killed run left open: it would otherwise go on first, and hold up the new one (`max_active_runs=1`);
* import the large libraries that tasks need. A task is forked from here, so that it finds them imported.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from importlib import import_module

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.asset import AssetDagRunQueue
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import delete, func, or_, update

# Not our own modules: a task must run those as they are when it starts.
LIBRARIES = ["pyspark.sql.connect.session", "great_expectations"]


def close_interrupted_runs() -> None:
    """Mark as failed what no process works on any more, and forget the events that would start more of it."""
    with create_session() as session:
        for model, states in ((DagRun, State.unfinished_dr_states), (TaskInstance, State.unfinished)):
            unfinished = or_(*(model.state == state for state in states))
            session.execute(update(model).where(unfinished).values(state="failed", end_date=func.now()))
        session.execute(delete(AssetDagRunQueue))


def serialise_dags() -> None:
    """Read the DAG files into the database. Ends the process where one is wrong."""
    manager = DagBundlesManager()
    with create_session() as session:
        manager.sync_bundles_to_db(session=session)
        session.commit()
        for bundle in manager.get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            sync_bag_to_db(bag, bundle.name, bundle_version=None, session=session)
            if bag.import_errors:
                sys.exit("\n".join(f"{path}: {error}" for path, error in bag.import_errors.items()))


def prepare_metadata() -> None:
    initdb()
    close_interrupted_runs()
    serialise_dags()


def main() -> None:
    for talkative in ("alembic", "great_expectations"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    # A process of its own: it imports the DAG files, which a task must find as they are when it starts.
    preparing = multiprocessing.get_context("fork").Process(target=prepare_metadata)
    preparing.start()
    for library in LIBRARIES:
        import_module(library)
    preparing.join()
    if preparing.exitcode:
        sys.exit(preparing.exitcode)
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    from airflow.__main__ import main as airflow

    airflow()


if __name__ == "__main__":
    main()
