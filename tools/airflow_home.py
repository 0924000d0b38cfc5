"""A local Airflow's home, `.airflow/` in the project: configuration, secrets, and the environment of its processes."""

from __future__ import annotations

import configparser
import json
import os
import secrets
import socket
from base64 import urlsafe_b64encode
from pathlib import Path

from cohortlake.core.errors import CohortlakeError

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".airflow"
LOOPBACK = "127.0.0.1"
USER = "admin"


class ServiceError(CohortlakeError):
    """A process did not come up, or ended too soon."""

    exit_code = 40


def free_port(wanted: int = 0) -> int:
    """`wanted` if it is free, else any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            return free_port()
        return int(probe.getsockname()[1])


def _configuration(port: int) -> dict[str, dict[str, str]]:
    """What differs from Airflow's defaults: quiet, small, offline, and quick to react (docs/performance.md)."""
    return {
        "core": {
            "dags_folder": str(PROJECT / "dags"),
            "load_examples": "False",
            "executor": "LocalExecutor",
            "parallelism": str(max(2, len(os.sched_getaffinity(0)))),
            "simple_auth_manager_users": f"{USER}:admin",
            "dags_are_paused_at_creation": "False",
            # Airflow's own way asks the resolver, and waits for it where the network is cut off.
            "hostname_callable": "socket.gethostname",
        },
        "api": {"host": LOOPBACK, "port": str(port), "base_url": f"http://{LOOPBACK}:{port}", "workers": "1"},
        # Its components start while the scheduler's process still brings the metadata up to date.
        "database": {"check_migrations": "False"},
        "scheduler": {"scheduler_idle_sleep_time": "0.2"},
        "workers": {
            # A worker may miss that its task has ended, and then looks again only after this long (default 5 s).
            "min_heartbeat_interval": "1",
            # A busy small machine may keep a task's request waiting for longer than the default of 5 s.
            "execution_api_timeout": "60",
        },
        "dag_processor": {"parsing_processes": "1"},
    }


def set_up(port: int) -> str:
    """Write the home's configuration, keeping its secrets; returns the password of the user `admin`."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    path, passwords = HOME / "airflow.cfg", HOME / "simple_auth_manager_passwords.json.generated"
    earlier = configparser.ConfigParser(interpolation=None)
    earlier.read(path)
    fernet_key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    chosen = _configuration(port)
    chosen["core"]["fernet_key"] = earlier.get("core", "fernet_key", fallback=fernet_key)
    chosen["api"]["secret_key"] = earlier.get("api", "secret_key", fallback=secrets.token_hex(32))
    chosen["api_auth"] = {"jwt_secret": earlier.get("api_auth", "jwt_secret", fallback=secrets.token_hex(32))}
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read_dict(chosen)
    with path.open("w") as file:
        file.write("# Written by tools/airflow_home.py at each start; the secrets are kept.\n")
        configuration.write(file)
    if not passwords.exists():
        passwords.write_text(json.dumps({USER: secrets.token_urlsafe(12)}))
    return str(json.loads(passwords.read_text())[USER])


def environment(**variables: str) -> dict[str, str]:
    """The environment of every process: ours, without other Airflow or Spark addresses, or a proxy for the loopback."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW_", "SPARK_REMOTE", "SPARK_MASTER"))
    }
    own = {
        "AIRFLOW_HOME": str(HOME),
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(PROJECT)])),
        "GX_ANALYTICS_ENABLED": "false",
        "NO_PROXY": f"localhost,{LOOPBACK}",
        "no_proxy": f"localhost,{LOOPBACK}",
    }
    return inherited | own | variables
