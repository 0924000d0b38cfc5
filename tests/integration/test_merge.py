"""MERGE of few rows is interpreted, of many compiled: both leave the same rows."""

from __future__ import annotations

import shutil

from spark_jobs import delta
from tests import flow, hospitals

SILO = "site_a_fhir_r4"
TYPES = ("Patient", "Claim", "Observation")


def test_interpreted_and_compiled_come_to_the_same(tmp_path, spark, monkeypatch):
    first = {name: hospitals.site_a(2, 20)[name] for name in TYPES}
    data, found = tmp_path / "data", []
    for name, lines in first.items():
        hospitals.write(data / SILO, f"{name}.0.ndjson.gz", lines[::2])
    flow.run(tmp_path / "before", data, lambda step: step.scope == SILO)
    for name, lines in first.items():
        newer = [line.replace('"resourceType"', '"language":"de","resourceType"', 1) for line in lines]
        hospitals.write(data / SILO, f"{name}.1.ndjson.gz", newer)
    for limit in (0, delta.INTERPRETED):
        monkeypatch.setattr(delta, "INTERPRETED", limit)
        lake = tmp_path / f"lake_{limit}"
        shutil.copytree(tmp_path / "before", lake)
        steps = flow.run(lake, data, lambda step: step.scope == SILO)
        assert flow.is_balanced(steps)
        found.append(flow.content(lake))
    assert found[0] == found[1]
    assert {name: rows for name, (rows, _) in found[0].items()} == {name: len(lines) for name, lines in first.items()}
