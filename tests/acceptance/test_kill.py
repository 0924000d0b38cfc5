"""`kill -9` at 30 random moments, each followed by a rerun: the tables are those of runs that nobody killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG
from tests import flow, hospitals

pytestmark = pytest.mark.acceptance

# Side by side, each killed so often.
LAKES, KILLS = 2, 15
SEED = 20260101
TABLES = ("patients", "encounters")
# What is delivered, of each hospital: every table costs each of the runs seconds; a fourth would teach nothing more.
A = ("Patient", "Encounter", "Condition")
B = ("patients",)


def deliver(data: Path, number: int) -> None:
    """Put one of two deliveries into the folders: every second record of some patients of each hospital.

    The second one brings every third record of the first again, as a correction does, and one that is held.
    """
    a, b = hospitals.site_a(3, 30), hospitals.site_b(3)
    for name, lines in ((name, a[name]) for name in A):
        again = lines[::3] if number else []
        wrong = ['{"resourceType":"Wibble"}'] if number and name == "Condition" else []
        fresh = [line.replace('"resourceType"', f'"language":"en-{number}","resourceType"', 1) for line in again]
        hospitals.write(data / "site_a_fhir_r4", f"{name}.{number}.ndjson.gz", [*lines[number::2], *fresh, *wrong])
    for name, lines in ((name, b[name]) for name in B):
        header, *rows = lines
        again = rows[::3] if number else []
        hospitals.write(data / "site_b_csv", f"{name}.{number}.csv.gz", [header, *rows[number::2], *again])


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


def kill_within(lake: Path, data: Path, seconds: float, chance: random.Random) -> str | None:
    """Start a run and kill all its processes some time after it began; gives the moment, None where it had ended."""
    runs = set((lake / "ops/runs").glob("*"))
    process = start(lake, data)
    while process.poll() is None and set((lake / "ops/runs").glob("*")) == runs:
        time.sleep(0.05)
    wait = chance.uniform(0, seconds)
    try:
        _, said = process.communicate(timeout=wait)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"at {wait:5.1f} s, {last_step(lake)}"
    assert process.returncode == 0, said.decode()[-3000:]
    return None


def last_step(lake: Path) -> str:
    """How far the newest run came."""
    done = flow.records(lake) if any(max((lake / "ops/runs").iterdir()).glob("steps/*")) else {}
    return f"after {max(done.values(), key=lambda record: record['ended_at'])['step']}" if done else "before any step"


def same(killed: Path, clean: Path) -> None:
    """Every table says the same, quarantine holds the same, bronze holds nothing twice, the books are the same."""
    for room in ("phi/silver", "research/gold"):
        assert flow.content(killed, room) == flow.content(clean, room), room
    assert flow.reasons(killed) == flow.reasons(clean)
    for table in ("phi/bronze/site_a_fhir_r4", "phi/bronze/site_b_csv"):
        count = 'SELECT count(*), count(DISTINCT (file_hash, "offset")) FROM t'
        assert flow.query(killed, table, count) == flow.query(clean, table, count)
    books = (
        "SELECT step, \"table\", sum(rows_in), sum(rows_out) FROM t WHERE step LIKE 'land%' GROUP BY ALL ORDER BY ALL"
    )
    assert flow.query(killed, "ops/accounting", books) == flow.query(clean, "ops/accounting", books)


def kill_many(before: Path, data: Path, number: int) -> tuple[list[str], int]:
    """Kill runs over a lake of its own; gives the moments, and how often a run came to its end and was compared."""
    chance = random.Random(SEED + number)
    clean, killed = (before.with_name(f"{name}_{number}") for name in ("clean", "killed"))
    shutil.copytree(before, clean)
    seconds = finish(clean, data)
    moments: list[str] = []
    compared = 0
    shutil.copytree(before, killed)
    while len(moments) < KILLS:
        moment = kill_within(killed, data, seconds, chance)
        if moment:
            moments.append(moment)
            continue
        same(killed, clean)
        compared += 1
        shutil.rmtree(killed)
        shutil.copytree(before, killed)
    finish(killed, data)
    same(killed, clean)
    return moments, compared + 1


@pytest.mark.timeout(3000)
def test_killed_runs_end_as_clean_ones(tmp_path, tell):
    data, before = tmp_path / "data", tmp_path / "before"
    write_catalog(tmp_path / "catalog")
    deliver(data, 0)
    finish(before, data)
    deliver(data, 1)
    # Side by side from the clean run on, so that its time is theirs.
    with ThreadPoolExecutor(LAKES) as pool:
        done = list(pool.map(partial(kill_many, before, data), range(LAKES)))
    moments = [moment for found, _ in done for moment in found]
    told = "\n".join([f"{len(moments)} kills:", *moments])
    tell(f"{told}\n{sum(times for _, times in done)} times run to the end: tables equal those of clean runs")
