"""Where no Java is on the machine, the wheel's runtime runs Spark."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from spark_jobs import java


@pytest.fixture
def no_system_java(monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java.shutil, "which", lambda name: None)


def test_the_wheel_s_java_leaves_out_the_module_that_it_lacks(no_system_java):
    home = java.java_home()
    assert java.is_wheel(home)
    program = str(Path(home, "bin/java"))
    options = ["-XX:+UseSerialGC", "--add-modules=jdk.incubator.vector", "-Dsome.name=two words"]
    done = subprocess.run([program, *options, "-version"], capture_output=True, text=True, check=True)
    assert "version" in done.stderr


def test_a_system_s_java_of_17_or_later_comes_first(monkeypatch, tmp_path):
    program = tmp_path / "bin/java"
    program.parent.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    for version, is_taken in (("17.0.1", True), ("11.0.2", False)):
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        program.chmod(0o755)
        assert (java.java_home() == str(tmp_path)) is is_taken
