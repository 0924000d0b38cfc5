"""Contenders as processes of their own, and what a job of theirs takes: wall time, CPU time, memory, disk.

Every contender is measured alike, from outside: the seconds and bytes of its process and of all below it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# Seconds between two looks at memory. A look takes some milliseconds of the cores that are being measured.
INTERVAL = 0.2


@dataclass(frozen=True)
class Measured:
    """What a job took: `wall` and `cpu` in seconds, `peak` in bytes of resident memory, and what the job said.

    The memory is the sum over the tree's processes, so that pages which they share count once for each.
    """

    wall: float
    cpu: float
    peak: int
    facts: Mapping[str, Any] = field(default_factory=dict)


def tree_usage(root: int) -> tuple[float, int]:
    """CPU seconds so far, and resident bytes now, of a process and all below it; ended children count by their CPU."""
    children: dict[int, list[int]] = {}
    used: dict[int, tuple[int, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        used[pid] = (sum(int(value) for value in fields[11:15]), int(fields[21]))
    ticks, pages, waiting = 0, 0, [root]
    while waiting:
        pid = waiting.pop()
        of_pid = used.get(pid, (0, 0))
        ticks, pages = ticks + of_pid[0], pages + of_pid[1]
        waiting += children.get(pid, [])
    return ticks / TICKS, pages * PAGE


def disk_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Contender:
    """A worker process (see peers/worker.py) that does jobs when asked. `start` is the seconds until it was ready."""

    def __init__(
        self,
        name: str,
        module: str,
        log: Path,
        *,
        python: Path = Path(sys.executable),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._log = log
        begun = time.monotonic()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [str(python), "-m", module],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )
        self._answer()
        self.start = time.monotonic() - begun

    def ask(self, job: str, **arguments: object) -> Measured:
        """Have a job done, and measure it. Raises RuntimeError with the worker's traceback where it failed."""
        pid = self._process.pid
        peak, done = tree_usage(pid)[1], threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(INTERVAL):
                peak = max(peak, tree_usage(pid)[1])

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        wall, cpu = time.monotonic(), tree_usage(pid)[0]
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"job": job, **arguments}, default=str) + "\n")
            self._process.stdin.flush()
            facts = self._answer()
            wall = time.monotonic() - wall
        finally:
            done.set()
            watcher.join()
        after = tree_usage(pid)
        return Measured(wall, after[0] - cpu, max(peak, after[1]), facts)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"it ended with {self._process.wait()}"}
        if "error" in answer:
            said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{self.name}: {answer['error']}\n{said}")
        return answer

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def in_turn(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """The contenders in the order of a round: each goes first in its turn, so that none always finds a warm cache."""
    first = number % len(contenders)
    return [*contenders[first:], *contenders[:first]]
