"""A lake on a disk that is full or read-only: the run says so and what to do, and what was published stays live."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cohortlake.core.errors import CohortlakeError, LakeWriteError
from cohortlake.core.lake import Lake
from cohortlake.run import RunFailedError
from spark_jobs import delta
from tests import flow, hospitals

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

A = "site_a_fhir_r4"
SIZE = 24 * 2**20


def only_a(step) -> bool:
    return step.scope == A


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a disk of its own, and mount refuses: {done.stderr.strip()}")


class Disk(NamedTuple):
    """A small disk with a lake on it, and a folder of deliveries elsewhere."""

    root: Path
    data: Path

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    @property
    def filler(self) -> Path:
        return self.root / "filler"

    def leave(self, free: int) -> None:
        """Fill the disk up to so many bytes."""
        place = os.statvfs(self.root)
        with self.filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, place.f_bavail * place.f_frsize - free)

    def run(self, **options: Any) -> dict:
        return flow.run(self.lake, self.data, only=only_a, **options)


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Iterator[Disk]:
    """A lake with a hospital's patients and visits live, and its results delivered since."""
    if os.geteuid():
        pytest.skip("needs a disk of its own, which only root may mount")
    folder = tmp_path_factory.mktemp("disk")
    made = Disk(folder / "mounted", folder / "data")
    made.root.mkdir()
    mount("-t", "tmpfs", "-o", f"size={SIZE}", "none", str(made.root))
    try:
        records = hospitals.site_a(3, 15)
        hospitals.write_site_a(made.data, {name: records[name] for name in ("Patient", "Encounter")})
        made.run()
        results = [json.loads(line) for line in records["Observation"]]
        more = [result | {"id": f"{result['id'][:20]}-{number}"} for number in range(40) for result in results]
        hospitals.write_site_a(made.data, {"Observation": [json.dumps(result) for result in more]})
        yield made
    finally:
        subprocess.run(["umount", "-l", str(made.root)], check=True)


def live(disk: Disk) -> dict[str, tuple[int, Any]]:
    """Rows and what they say, by table; a table that was only begun is none."""
    found = {}
    for name in ("Patient", "Encounter", "Observation"):
        sql = "SELECT count(*), sum(hash(to_json(t))) FROM t"
        is_there = delta.exists(Lake(disk.lake).silver(name))
        found[name] = flow.query(disk.lake, f"phi/silver/{name}", sql)[0] if is_there else (0, None)
    return found


def failed_run(disk: Disk) -> list[CohortlakeError]:
    """What a run that is to fail raises, and its step before it; what was live is as it was, and can be asked."""
    before = live(disk)
    errors = []

    def on_step(step, status, record) -> None:
        if status == "failed":
            errors.append(record["error"])

    with pytest.raises((RunFailedError, LakeWriteError)) as raised:
        disk.run(on_step=on_step)
    assert live(disk) == before
    assert before["Patient"][0] == 3
    assert before["Observation"] == (0, None)
    return [raised.value, *errors]


def test_a_read_only_lake_is_refused_at_once(disk):
    mount("-o", "remount,ro", str(disk.root))
    try:
        errors = failed_run(disk)
    finally:
        mount("-o", "remount,rw", str(disk.root))
    for error in errors:
        assert error.exit_code == LakeWriteError.exit_code
        assert str(disk.lake) in str(error)
        assert "the file system is read-only" in str(error)
        assert "--lake" in error.hint


def is_about_space(error: CohortlakeError, disk: Disk) -> None:
    assert error.exit_code == LakeWriteError.exit_code
    assert str(disk.lake) in str(error)
    assert "the disk is full" in str(error)
    assert "Free space, then run again" in error.hint


@pytest.mark.parametrize("table", ["accounting", "new"])
def test_a_table_that_the_disk_does_not_take_is_told_in_the_same_words(disk, table):
    """delta-rs raises errors of its own, without a number."""
    disk.leave(0)
    schema = delta.rows(Lake(disk.lake).ops("accounting")).schema
    try:
        with pytest.raises(LakeWriteError) as raised:
            delta.replace_rows(Lake(disk.lake).ops(table), schema.empty_table(), "run_id = 'none'")
    finally:
        disk.filler.unlink()
    is_about_space(raised.value, disk)


# From nothing at all to what is enough for some steps, and not for the rest.
@pytest.mark.parametrize("free", [0, 8_192, 81_920, 163_840])
def test_a_full_disk_stops_the_run_wherever_it_is(disk, free):
    disk.leave(free)
    try:
        errors = failed_run(disk)
    finally:
        disk.filler.unlink()
    for error in errors:
        is_about_space(error, disk)


def test_with_space_again_the_same_delivery_goes_through(disk):
    found = disk.run()
    assert flow.is_balanced(found)
    assert live(disk)["Observation"][0] == 40 * len(hospitals.site_a(3, 15)["Observation"])
    assert flow.held(disk.lake) == []
    assert not Lake(disk.lake).staging("phi", A).exists()
