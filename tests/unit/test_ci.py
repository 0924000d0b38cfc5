"""CI's own script: a service that cannot be installed fails it by name, and each phase's time is shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/run"
TOOLS = ("bash", "dirname", "mktemp", "tail", "rm", "env", "touch", "chmod")


@pytest.fixture
def bin_(tmp_path: Path) -> Path:
    """A PATH of its own, on which there is no service."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    return folder


def write(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def run(tmp_path: Path, bin_: Path) -> subprocess.CompletedProcess[str]:
    copy = tmp_path / "project/.ci/run"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SCRIPT, copy)
    write(tmp_path / "project/.venv/bin/python", 'echo "python $*"')
    command = [str(bin_ / "bash"), str(copy)]
    return subprocess.run(command, env={**os.environ, "PATH": str(bin_)}, capture_output=True, text=True, check=False)


def test_a_service_that_cannot_be_installed_fails(tmp_path, bin_):
    write(bin_ / "apt-get", 'echo "no network"; exit 100')
    write(bin_ / "make", 'echo "make $*"')
    done = run(tmp_path, bin_)
    assert done.returncode == 1
    assert "no network" in done.stdout
    assert "error: chromium docker-compose" in done.stdout
    assert "services (failed)" in done.stdout
    assert "make" not in done.stdout


@pytest.mark.parametrize("fails", ["lint", "none"])
def test_phases_are_timed_and_the_first_that_fails_ends_it(tmp_path, bin_, fails):
    made = "; ".join(
        f"touch {bin_}/{name}; chmod +x {bin_}/{name}" for name in ("chromium", "docker-compose", "initdb")
    )
    write(bin_ / "apt-get", made)
    write(bin_ / "make", f'echo "make $*"; [ "$1" != {fails} ]')
    done = run(tmp_path, bin_)
    assert done.returncode == (fails == "lint")
    proofs = ["python -m tools.proofs drawn", "python -m tools.proofs run"]
    steps = ["make setup", "make lint", "make test", *proofs]
    said = [re.sub(r" --within 1[78]\d\d$", "", line) for line in done.stdout.splitlines()]
    assert [line for line in said if line in steps] == steps[: 2 if fails == "lint" else 5]
    # Of the 2,400 s ten minutes are left for the proof that is begun last.
    assert ("--within" in done.stdout) == (fails == "none")
    assert ("lint (failed)" in done.stdout) == (fails == "lint")
    assert "the whole" in done.stdout
