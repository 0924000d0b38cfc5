"""The processes behind a local Airflow: its components and one Spark Connect server, all on the loopback only."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from spark_jobs import connect_server
from spark_jobs.session import java_environment
from tools.airflow_home import HOME, LOOPBACK, ServiceError, environment, free_port


def _die_with_parent() -> None:
    """Have the kernel end this process when ours dies, however it dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _session(process: psutil.Process) -> int:
    with suppress(OSError):
        return os.getsid(process.pid)
    return -1


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _scheduler_heartbeat(port: int) -> datetime:
    """The scheduler's last sign of life, as the API server knows it."""
    connection = HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", "/api/v2/monitor/health")
        found = json.loads(connection.getresponse().read())["scheduler"]["latest_scheduler_heartbeat"]
        return datetime.fromisoformat(found)
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return datetime.min.replace(tzinfo=UTC)
    finally:
        connection.close()


class Services:
    """Started processes, by name. Leaving the `with` block stops them and all that they started."""

    def __init__(self, port: int, **variables: str) -> None:
        self.port, self._spark_port = port, free_port()
        # The Spark server lets in who knows the token: a lake's data is not open to the whole machine.
        token = secrets.token_urlsafe(24)
        self._environment = environment(SPARK_CONNECT_AUTHENTICATE_TOKEN=token, **variables)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def bring_up(self, *, with_dag_processor: bool) -> None:
        """Start Spark and Airflow side by side, and wait until both are ready."""
        begun = datetime.now(UTC)
        airflow = [sys.executable, "-m", "airflow"]
        # One session for all tasks: Spark keeps Python workers a session, and each would import everything anew.
        remote = f"sc://localhost:{self._spark_port}/;session_id={uuid.uuid4()}"
        # Without an address of its own, Spark asks the resolver for the machine's name.
        spark = connect_server.command("local[*]", LOOPBACK, self._spark_port)
        self._start("spark", spark, SPARK_LOCAL_IP=LOOPBACK, **java_environment())
        self._start("scheduler", [sys.executable, "-m", "tools.airflow_scheduler"], SPARK_REMOTE=remote)
        self._start("api-server", [*airflow, "api-server"])
        self._wait("scheduler", lambda: _scheduler_heartbeat(self.port) > begun)
        if with_dag_processor:
            self._start("dag-processor", [*airflow, "dag-processor"])
        self._wait("spark", lambda: _is_listening(self._spark_port))

    def _start(self, name: str, command: list[str], **variables: str) -> None:
        """Start a process in a session of its own, so that a Ctrl-C reaches only us and we stop it in order."""
        self._log(name).parent.mkdir(parents=True, exist_ok=True)
        with self._log(name).open("wb") as output:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=HOME,
                env=self._environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _log(self, name: str) -> Path:
        return HOME / "logs" / f"{name}.log"

    def check(self) -> None:
        """Raise ServiceError where a process has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = self._log(name)
                last = "\n".join(log.read_text(errors="replace").strip().splitlines()[-5:])
                raise ServiceError(f"{name} ended with {process.returncode}:\n{last}", f"See {log}")

    def _wait(self, name: str, is_ready: Callable[[], bool], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(f"{name} is not ready after {seconds:.0f} s", f"See {self._log(name)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End every process of every session that we opened: asked first, killed after 5 s."""
        for interruption in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(interruption, signal.SIG_IGN)
        sessions = {process.pid for process in self._processes.values()}
        alive = [process for process in psutil.process_iter() if _session(process) in sessions]
        for how in (signal.SIGTERM, signal.SIGKILL):
            for process in alive:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(how)
            _, alive = psutil.wait_procs(alive, timeout=5)
        self._processes.clear()
