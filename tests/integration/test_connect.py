"""Merges through a Spark Connect server, as a run's tasks do them: side by side, in one session."""

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

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from spark_jobs import connect_server
from spark_jobs.session import java_environment
from tools.airflow_home import free_port

MERGES = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from spark_jobs import delta
from spark_jobs.session import spark_session

spark = spark_session()

def merge(table):
    source = spark.createDataFrame([("1", "b"), ("2", "a")], "id string, _version string")
    return delta.merge(
        spark, Path(table), source, rows=2, on="t.id = s.id", newer="s._version > t._version",
        facts={"batch": Path(table).name},
    )

with ThreadPoolExecutor(2) as pool:
    assert list(pool.map(merge, sys.argv[1:])) == [{"inserted": 1, "updated": 1, "deleted": 0}] * len(sys.argv[1:])
assert spark.range(3).count() == 3, "the session that all share lives on"
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


def test_merges_side_by_side_keep_their_own_facts(tmp_path: Path, remote: dict[str, str]) -> None:
    tables = [tmp_path / name for name in ("one", "two", "three", "four")]
    for table in tables:
        write_deltalake(str(table), pa.table({"id": ["1"], "_version": ["a"]}))
    ran = subprocess.run(
        [sys.executable, "-c", MERGES, *map(str, tables)], env=remote, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    for table in tables:
        assert DeltaTable(str(table)).history(1)[0]["userMetadata"] == f'{{"batch": "{table.name}"}}'
        assert sorted(DeltaTable(str(table)).to_pyarrow_table()["_version"].to_pylist()) == ["a", "b"]
