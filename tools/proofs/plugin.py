"""A pytest plugin that writes what a proof's run came to: tests passed, failed and skipped, and the files it read.

What is read is heard from Python itself (PEP 578's audit events), so that a file that the derivation of dependencies
does not know is found by the run that needs it. Other processes and files that native code opens are not heard.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

REPORT = "COHORTLAKE_PROOF_REPORT"
# The tree that is proved is the one that pytest is started in.
ROOT = Path.cwd().resolve()
_read: set[str] = set()
_tests: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    # A file is opened by path, or by the number of a descriptor; the mode is None for os.open.
    if event == "open" and isinstance(arguments[0], str) and {"r", "+"} & set(arguments[1] or "r"):
        _read.add(os.path.abspath(arguments[0]))


def pytest_configure() -> None:
    sys.addaudithook(_hear)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Setup and teardown count where they do not pass: a test whose clearing up fails is not green.
    if report.when == "call" or not report.passed:
        _tests[report.outcome].append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if not report.passed:
        _tests[report.outcome].append(report.nodeid)


def pytest_sessionfinish() -> None:
    loaded = {file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    paths = (Path(path) for path in sorted(_read | loaded))
    read = [path.relative_to(ROOT).as_posix() for path in paths if path.is_relative_to(ROOT)]
    Path(os.environ[REPORT]).write_text(json.dumps({**_tests, "read": read}), encoding="utf-8")
