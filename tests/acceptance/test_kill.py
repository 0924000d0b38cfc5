"""`kill -9` at 30 random moments, each followed by a rerun: the tables are those of runs that nobody killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG
from tests import flow, hospitals

pytestmark = pytest.mark.acceptance

DELIVERIES, KILLS = 3, 10
SEED = 20260101
TABLES = ("patients", "encounters", "drugs", "medication_orders", "medications")


def deliver(data: Path, number: int) -> None:
    """Put one delivery into the folders: some patients of each hospital, and the last one's patients again."""
    a, b = hospitals.site_a(DELIVERIES, 30), hospitals.site_b(DELIVERIES)
    for name, lines in a.items():
        hospitals.write(data / "site_a_fhir_r4", f"{name}.{number}.ndjson.gz", lines[number::DELIVERIES] or lines[:1])
    for name, lines in b.items():
        hospitals.write(data / "site_b_csv", f"{name}.{number}.csv.gz", [lines[0], *lines[1 + number :: DELIVERIES]])


def write_catalog(folder: Path) -> None:
    """The shipped catalog with few curated tables and no cohort: killing them all would teach nothing more."""
    shutil.copytree(PROJECT_CATALOG, folder)
    shutil.rmtree(folder / "cohorts")
    for table in (folder / "tables").iterdir():
        if table.name not in TABLES:
            shutil.rmtree(table)


def start(lake: Path, data: Path) -> subprocess.Popen[bytes]:
    catalog = data.parent / "catalog"
    command = [sys.executable, "-m", "cohortlake", "run", "--catalog", str(catalog)]
    command += ["--lake", str(lake), "--data", str(data)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "COHORTLAKE_DRIVER_MEMORY": "2g"},
    )  # fmt: skip


def finish(lake: Path, data: Path) -> float:
    """One whole run; gives its seconds from the first step on."""
    process = start(lake, data)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()[-3000:]
    return sum(record["seconds"] for record in flow.records(lake).values())


def kill_within(lake: Path, data: Path, seconds: float, chance: random.Random) -> str:
    """Start a run and kill all its processes some time after its first step began; gives the moment."""
    runs = set((lake / "ops/runs").glob("*")) if (lake / "ops/runs").exists() else set()
    process = start(lake, data)
    while process.poll() is None and set((lake / "ops/runs").glob("*")) == runs:
        time.sleep(0.05)
    wait = chance.uniform(0, seconds)
    try:
        process.wait(wait)
        moment = f"after its end ({wait:.1f} s)"
    except subprocess.TimeoutExpired:
        done = len(flow.records(lake)) if any((lake / "ops/runs").glob("*/steps")) else 0
        moment = f"at {wait:.1f} s, {done} steps done"
    os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
    process.wait()
    return moment


@pytest.mark.timeout(2400)
def test_killed_runs_end_as_clean_ones(tmp_path, capsys):
    chance = random.Random(SEED)
    data, clean, killed = tmp_path / "data", tmp_path / "clean", tmp_path / "killed"
    write_catalog(tmp_path / "catalog")
    key = "0" * 64
    for lake in (clean, killed):
        (lake / "phi/vault").mkdir(parents=True)
        (lake / "phi/vault/pseudonym.key").write_text(key)
    moments = []
    for number in range(DELIVERIES):
        deliver(data, number)
        seconds = finish(clean, data) + 8
        for _ in range(KILLS):
            moments.append(f"delivery {number}: {kill_within(killed, data, seconds, chance)}")
        finish(killed, data)
        for room in ("phi/silver", "research/gold"):
            assert flow.content(killed, room) == flow.content(clean, room), f"{room} after delivery {number}"
        assert flow.reasons(killed) == flow.reasons(clean)
        for table in ("phi/bronze/site_a_fhir_r4", "phi/bronze/site_b_csv"):
            count = 'SELECT count(*), count(DISTINCT (file_hash, "offset")) FROM t'
            assert flow.query(killed, table, count) == flow.query(clean, table, count)
    with capsys.disabled():
        sys.stdout.write("\n".join(["", f"{len(moments)} kills:", *moments, "tables equal those of clean runs", ""]))
