"""The environment of the parsers that formats are measured beside, below build/. Done once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT

HOME = ROOT / "build/parsers"
PINS = ROOT / "benchmarks/parsers-requirements.txt"
READY = HOME / ".ready"


def install() -> Path:
    """Their Python, installed when it is not there as it is pinned. Raises CalledProcessError."""
    pins, python = PINS.read_text(encoding="utf-8"), HOME / "bin/python"
    if READY.exists() and READY.read_text(encoding="utf-8") == pins:
        return python
    shutil.rmtree(HOME, ignore_errors=True)
    uv = [str(ROOT / ".tools/bin/uv"), "--quiet", "--system-certs"]
    subprocess.run([*uv, "venv", "--python", sys.executable, str(HOME)], check=True)
    subprocess.run([*uv, "pip", "install", "--python", str(python), "--requirement", str(PINS)], check=True)
    READY.write_text(pins, encoding="utf-8")
    return python
