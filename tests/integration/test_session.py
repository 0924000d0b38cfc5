"""The embedded session: what it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from spark_jobs.session import CLASSES


def test_classes_come_from_the_archive(spark):
    if not CLASSES.exists():
        pytest.skip(f"{CLASSES.name} is not there: the Java that set-up found keeps no archive")
    java = spark.sparkContext._gateway.proc.pid
    assert str(CLASSES) in Path(f"/proc/{java}/maps").read_text(encoding="utf-8")
