"""A step that is killed between its last act and its books loses none: the next run writes them."""

from __future__ import annotations

import pytest

from cohortlake.core.lake import Lake
from spark_jobs import books, delta
from tests import flow, hospitals

pytestmark = pytest.mark.spark


class KilledError(BaseException):
    """Stands for a kill: no handler of ours sees it."""


def sums(lake) -> dict[str, tuple[int, int]]:
    """Rows in and out by step and table, over all runs."""
    found: dict[str, tuple[int, int]] = {}
    rows = delta.rows(Lake(lake).ops("accounting"))
    for row in [] if rows is None else rows.to_pylist():
        key = f"{row['step']} {row['table']}"
        before = found.get(key, (0, 0))
        found[key] = (before[0] + row["rows_in"], before[1] + row["rows_out"])
    return found


@pytest.mark.acceptance
def test_books_of_killed_steps_are_written_by_the_next_run(spark, tmp_path, monkeypatch):
    data = tmp_path / "data"
    hospitals.write_site_a(data, {name: hospitals.site_a()[name] for name in ("Organization", "Patient")})
    only_a = lambda step: step.stage == "ingest" and step.scope == "site_a_fhir_r4"  # noqa: E731
    flow.run(tmp_path / "clean", data, only=only_a)
    real = books.account
    for killed in ("land", "publish"):

        def account(lake, run_id, step, scope, found, killed=killed):
            if step.startswith(killed):
                raise KilledError
            real(lake, run_id, step, scope, found)

        monkeypatch.setattr(books, "account", account)
        with pytest.raises(KilledError):
            flow.run(tmp_path / "lake", data, only=only_a)
        monkeypatch.setattr(books, "account", real)
        flow.run(tmp_path / "lake", data, only=only_a)
    flow.run(tmp_path / "lake", data, only=only_a)
    clean, found = sums(tmp_path / "clean"), sums(tmp_path / "lake")
    for key, numbers in clean.items():
        if key.startswith(("land", "publish")):
            assert found[key] == numbers, key
