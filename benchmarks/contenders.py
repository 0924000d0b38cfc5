"""Who is measured: ours, the peer, and the floors that do less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import Contender
from benchmarks.peers import install

OURS, PATHLING, DUCKDB, ARROW = "Cohortlake", "Pathling", "DuckDB", "PyArrow"
# What each makes of NDJSON.
MAKES = {
    OURS: "Cohortlake: bronze and typed silver, live",
    PATHLING: "Pathling: typed Delta",
    DUCKDB: "DuckDB: Parquet",
    ARROW: "PyArrow and delta-rs: typed Delta",
}


def cohortlake(folder: Path, environment: Mapping[str, str] | None = None) -> Contender:
    """Ours, its Spark session started."""
    return Contender(OURS, "benchmarks.peers.ours", folder / f"{OURS}.log", environment=environment)


def duckdb(folder: Path) -> Contender:
    """DuckDB in this environment."""
    return Contender(DUCKDB, "benchmarks.peers.duckdb_floor", folder / f"{DUCKDB}.log")


def arrow(folder: Path) -> Contender:
    """PyArrow and delta-rs in this environment."""
    return Contender(ARROW, "benchmarks.peers.arrow_floor", folder / f"{ARROW}.log")


def pathling(folder: Path) -> Contender:
    """Pathling in an environment of its own, installed where it is not there yet."""
    module, log = "benchmarks.peers.pathling_peer", folder / f"{PATHLING}.log"
    return Contender(PATHLING, module, log, python=install.install(), environment=install.environment())
