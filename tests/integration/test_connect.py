"""What publish commits, read through a Spark Connect server as a run's tasks do: side by side, in one session."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from spark_jobs import connect_server, delta
from spark_jobs.delta_commit import entry, put
from spark_jobs.session import java_environment
from tools.airflow_home import free_port

SCHEMA = pa.schema([("id", pa.string()), ("silo", pa.string())])
READS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from spark_jobs.session import spark_session

spark = spark_session()

def read(table):
    return sorted(row["id"] for row in spark.read.format("delta").load(table).collect())

with ThreadPoolExecutor(2) as pool:
    assert list(pool.map(read, sys.argv[1:])) == [["1", "3"]] * len(sys.argv[1:])
"""


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a task of a run: a server's address with the session that all tasks share, and its token."""
    port = free_port()
    variables = {
        **os.environ,
        **java_environment(),
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": secrets.token_urlsafe(24),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "COHORTLAKE_DRIVER_MEMORY": "1g",
    }
    command = connect_server.command("local[2]", "127.0.0.1", port)
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
        yield variables | {"SPARK_REMOTE": f"sc://localhost:{port}/;session_id={uuid.uuid4()}"}
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.acceptance
def test_commits_of_ours_are_read_side_by_side(tmp_path: Path, remote: dict[str, str]) -> None:
    tables = [tmp_path / name for name in ("one", "two", "three", "four")]
    for table in tables:
        delta.create(table, SCHEMA, partition_by=["silo"], properties={"delta.enableDeletionVectors": "true"})
        part = delta.write_part(table, pa.table({"id": ["1", "2", "3"]}), {"silo": "a"})
        put(table, entry(table, 0, [part], {}, "WRITE", {"batch": table.name}))
        put(table, entry(table, 1, [], {part.path: np.array([1])}, "MERGE", {"batch": table.name}))
    ran = subprocess.run(
        [sys.executable, "-c", READS, *map(str, tables)], env=remote, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
