"""Run the whole pipeline through a local Airflow, or keep its UI open: `python -m tools.airflow_run [--serve]`.

Airflow (scheduler, API and UI) and one Spark Connect server start side by side, `ingest` is triggered and the chain
ingest → curate → training is followed to its end; then all is stopped. Exit codes: 0 all went well, 1 a task failed,
10 the catalog is wrong, 30 another one runs here, 40 a process did not come up, 130 interrupted.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cohortlake.core.errors import CohortlakeError, LakeBusyError
from cohortlake.plan import CURATE, INGEST, TRAINING, load_plan
from cohortlake.run import new_run_id, print_summary
from tools.airflow_home import HOME, LOOPBACK, PROJECT, USER, free_port, set_up
from tools.airflow_services import Services
from tools.airflow_watch import Api, Chain, follow, last_error

console = Console(highlight=False)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.airflow_run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lake", type=Path, default=os.environ.get("COHORTLAKE_LAKE", PROJECT / "lake"))
    parser.add_argument("--data", type=Path, default=os.environ.get("COHORTLAKE_DATA_FOLDER", PROJECT / "data"))
    parser.add_argument("--catalog", type=Path, default=os.environ.get("COHORTLAKE_CATALOG", PROJECT / "catalog"))
    parser.add_argument("--force", action="store_true", help="run silos whose protocol is not signed off, too")
    parser.add_argument("--serve", action="store_true", help="leave Airflow's UI open, with the DAGs ready to trigger")
    parser.add_argument("--port", type=int, default=8080, help="the UI's port (8080; any other if it is taken)")
    return parser.parse_args()


@contextmanager
def only_one() -> Iterator[None]:
    """Hold this project's `.airflow`. Raises LakeBusyError where another process does."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    with (HOME / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise LakeBusyError(
                f"Airflow already runs here (process {lock.read()})", "Wait for it, or stop it."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def run_chain(services: Services, api: Api, asked: argparse.Namespace, started: float) -> int:
    """Trigger `ingest`, follow the chain, tell what came of it; returns the exit code."""
    chain, run_id = Chain(api, [INGEST, CURATE, TRAINING], since=datetime.now(UTC)), new_run_id()
    api.trigger(INGEST, run_id, {"force": asked.force})
    follow(chain, console, started, services.check)
    for task in chain.failures:
        log = task.log(HOME)
        console.print(Text.assemble((f"{task.dag} {task.what} failed: ", "bold red"), last_error(log)), soft_wrap=True)
        console.print(f"  log: {log}", markup=False, soft_wrap=True)
    states = ", ".join(f"{dag} {state}" for (dag, _), state in chain.runs.items())
    console.print(f"{states}; {time.monotonic() - started:.0f} s in all")
    print_summary(run_id, lake=asked.lake)
    return 1 if chain.failures else 0


def serve(services: Services, address: str, password: str) -> int:
    """Keep all open until interrupted."""
    console.print(
        f"Airflow: {address}  user {USER}, password {password}  (Ctrl-C stops it)", markup=False, soft_wrap=True
    )
    with suppress(KeyboardInterrupt):
        while True:
            services.check()
            time.sleep(1)
    return 0


def main() -> int:
    asked, started = arguments(), time.monotonic()
    load_plan(asked.catalog)
    with only_one():
        port = free_port(asked.port)
        password, address = set_up(port), f"http://{LOOPBACK}:{port}"
        services = Services(
            port,
            COHORTLAKE_LAKE=str(asked.lake.absolute()),
            COHORTLAKE_DATA_FOLDER=str(asked.data.absolute()),
            COHORTLAKE_CATALOG=str(asked.catalog.absolute()),
            # Here `ingest` runs when told to: one that became due since the last time must not come first.
            COHORTLAKE_SCHEDULE=os.environ.get("COHORTLAKE_SCHEDULE", "none"),
        )
        with services:
            with console.status("Airflow and Spark start"):
                # The DAGs are put into the database beforehand: only where they may be edited is the processor needed.
                services.bring_up(with_dag_processor=asked.serve)
            console.print(f"Airflow and Spark are up after {time.monotonic() - started:.1f} s: {address}")
            if asked.serve:
                return serve(services, address, password)
            return run_chain(services, Api(port, password), asked, started)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for interruption in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(interruption, _interrupt)
    try:
        sys.exit(main())
    except CohortlakeError as error:
        console.print(Text.assemble((str(error), "bold red"), f"\n{error.hint}"), soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.print("Stopped. Trigger it again to go on: what was published is whole and live.")
        sys.exit(130)
