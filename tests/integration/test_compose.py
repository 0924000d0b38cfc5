"""The compose file is well-formed, asks for its secrets, and starts what the image holds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
SECRETS = dict.fromkeys(("COHORTLAKE_FERNET_KEY", "COHORTLAKE_JWT_SECRET", "COHORTLAKE_DATABASE_PASSWORD"), "x")
COMPOSE = shutil.which("docker-compose")


def config(**secrets: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **secrets}
    return subprocess.run(
        [str(COMPOSE), "-f", str(ROOT / "docker-compose.yml"), "config"],
        env=environment, capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip


@pytest.mark.skipif(COMPOSE is None, reason="Debian's docker-compose is not installed")
def test_compose_takes_the_file():
    done = config(**SECRETS)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert {"database", "api-server", "scheduler", "dag-processor", "spark-master", "spark-worker"} <= set(services)


@pytest.mark.skipif(COMPOSE is None, reason="Debian's docker-compose is not installed")
@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_compose_refuses_to_start_without_a_secret(missing):
    done = config(**{name: value for name, value in SECRETS.items() if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr


def test_every_command_is_in_the_image():
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        if "command" not in service:
            continue
        program, *arguments = service["command"]
        if program == "python":
            assert importlib.util.find_spec(arguments[1]), name
        else:
            assert (Path(sys.executable).parent / program).exists(), name


def test_the_image_is_made_by_the_set_up_that_make_uses():
    text = (ROOT / "Dockerfile").read_text()
    assert "RUN make setup" in text
    assert "pip install" not in text
