"""Files are known by content; one that looks as before is not read again, unless it was written just now."""

from __future__ import annotations

import os

import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import SourceError
from cohortlake.core.lake import Lake
from spark_jobs import source_files as module
from spark_jobs.source_files import source_files


@pytest.fixture
def place(tmp_path):
    silo = load_catalog().silos["site_a_fhir_r4"]
    folder = tmp_path / "data" / silo.folder
    folder.mkdir(parents=True)
    return Lake(tmp_path / "lake"), silo, tmp_path / "data", folder


def test_a_file_is_hashed_again_only_when_it_looks_changed(place, monkeypatch):
    lake, silo, data, folder = place
    path = folder / "Patient.ndjson"
    path.write_text("{}")
    monkeypatch.setattr(module, "FRESH_NANOSECONDS", 0)
    (first,) = source_files(lake, silo, data)
    assert first["feed"] == "Patient"
    monkeypatch.setattr(module, "_hash", lambda path: "read again")
    assert [file["file_hash"] for file in source_files(lake, silo, data)] == [first["file_hash"]]
    stat = path.stat()
    path.write_text("[]")  # the same size, and then the same time: the inode's own change time tells
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert [file["file_hash"] for file in source_files(lake, silo, data)] == ["read again"]


def test_a_file_that_was_just_written_is_hashed_each_time(place, monkeypatch):
    lake, silo, data, folder = place
    (folder / "Patient.ndjson").write_text("{}")
    source_files(lake, silo, data)
    monkeypatch.setattr(module, "_hash", lambda path: "read again")
    assert [file["file_hash"] for file in source_files(lake, silo, data)] == ["read again"]


def test_what_is_hidden_is_not_the_sources(place):
    lake, silo, data, folder = place
    for name in (".fetch/delivery/Patient.ndjson", "2026-01-01/_delivery.json", "2026-01-01/Patient.ndjson"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    assert [file["file"] for file in source_files(lake, silo, data)] == ["2026-01-01/Patient.ndjson"]


def test_a_folder_that_is_not_there_is_named(place):
    lake, silo, data, folder = place
    folder.rmdir()
    with pytest.raises(SourceError, match="there is no folder"):
        source_files(lake, silo, data)
