"""Running proofs: each in a pytest of its own, some at a time; green only where every test ran and passed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from math import inf
from pathlib import Path

from tools.proofs import ROOT
from tools.proofs.plugin import REPORT
from tools.proofs.record import MARK, Proof, Proved

# What pytest and the plugin read whatever is proved: pytest's settings, and the plugin with its packages.
READ_BY_PYTEST = re.compile(r"pyproject\.toml|tools/(proofs/)?(__init__|plugin)\.py")


@dataclass(frozen=True)
class Outcome:
    """What a proof's run came to: how many tests passed, and each reason why it is not green."""

    proof: Proof
    tests: int
    seconds: int
    reasons: tuple[str, ...]
    output: str

    def proved(self) -> Proved:
        return Proved(hash=self.proof.hash, tests=self.tests, seconds=self.seconds)


def run_proof(root: Path, proof: Proof, tracked: Iterable[str]) -> Outcome:
    """Run the slow tests of one module; `tracked` are the files of the tree."""
    folder = root / "build/proofs"
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{proof.name}.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "tools.proofs.plugin", "-m", MARK, "--color=no", proof.path]
    # The plugin comes from here, whatever tree is proved.
    environment = {**os.environ, REPORT: str(report), "PYTHONPATH": os.pathsep.join([str(root), str(ROOT)])}
    started = time.monotonic()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    seconds = round(time.monotonic() - started)
    output = done.stdout + done.stderr
    (folder / f"{proof.name}.log").write_text(output, encoding="utf-8")
    if not report.exists():
        return Outcome(proof, 0, seconds, (f"pytest ended with {done.returncode} and no report",), output)
    found = json.loads(report.read_text(encoding="utf-8"))
    return Outcome(
        proof, len(found["passed"]), seconds, tuple(_reasons(found, proof, tracked, done.returncode)), output
    )


def _reasons(found: dict[str, list[str]], proof: Proof, tracked: Iterable[str], exit_code: int) -> Iterator[str]:
    yield from (f"failed: {test}" for test in found["failed"])
    yield from (f"skipped: {test}" for test in found["skipped"])
    if not found["passed"]:
        yield "no test passed"
    elif exit_code and not found["failed"]:
        yield f"pytest ended with {exit_code}"
    for path in sorted({*found["read"]} & {*tracked} - proof.depends_on):
        if not READ_BY_PYTEST.fullmatch(path):
            yield f"read {path}, which tools/proofs/dependencies.py does not find"


def run_proofs(
    root: Path,
    proofs: Iterable[Proof],
    tracked: Iterable[str],
    each: Callable[[Outcome], None],
    *,
    at_a_time: int,
    within: float = inf,
) -> list[str]:
    """Run proofs in their order, some at a time; `each` is called with an outcome as soon as it is there.

    None is begun after `within` seconds; gives the names of those.
    """
    files, until, left = {*tracked}, time.monotonic() + within, []

    def begin(proof: Proof) -> Outcome | None:
        if time.monotonic() < until:
            return run_proof(root, proof, files)
        left.append(proof.name)
        return None

    with ThreadPoolExecutor(at_a_time) as pool:
        for future in as_completed([pool.submit(begin, proof) for proof in proofs]):
            if outcome := future.result():
                each(outcome)
    return left
