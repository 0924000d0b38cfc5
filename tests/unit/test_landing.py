"""A delivery appears whole, under a name and with times that are in the order of the source's instants."""

from __future__ import annotations

import pytest

from cohortlake.core.errors import LakeWriteError
from spark_jobs.landing import Landing, time_of


def test_names_are_instants_in_utc(tmp_path):
    landing = Landing(tmp_path)
    assert landing.new_name("2026-01-01T00:00:00.1230-05:00") == "20260101T050000.123Z"
    assert landing.new_name("2026-01-01T10:00:00Z") == "20260101T100000Z"
    for taken in ("20260101T100000Z", "20260101T100000Z-2"):
        (tmp_path / taken).mkdir()
    assert landing.new_name("2026-01-01T10:00:00Z") == "20260101T100000Z-3"


def test_times_grow_whatever_the_sources_clock_says():
    assert time_of("1970-01-02T00:00:00.9Z", None) == time_of("1970-01-01T19:00:00-05:00", 0) == 86400
    assert time_of("1970-01-02T00:00:00Z", 86400) == 86402
    assert time_of("1970-01-01T00:00:00Z", 86400) == 86402


def test_what_is_gone_is_older_than_what_is_there(tmp_path):
    landing = Landing(tmp_path / "silo")
    with landing.lock():
        for name in ("patients.000001.csv", "deleted.000001.ndjson"):
            (landing.staged / name).write_text("x")
        place = landing.publish("d", {"a": "ü"}, 1000, {"deleted.000001.ndjson"})
    assert {path.name: path.stat().st_mtime for path in place.iterdir()} == {
        "patients.000001.csv": 1000, "deleted.000001.ndjson": 999, "_delivery.json": 1000,
    }  # fmt: skip
    assert landing.about("d") == {"a": "ü"}


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "silo").write_text("a file")
    with pytest.raises(LakeWriteError, match="cannot write"), Landing(tmp_path / "silo").lock():
        pass
