"""A step's record: what is kept of an error, and what of the declarations decides whether staged work is used again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cohortlake import run
from cohortlake.core import convert
from cohortlake.core.catalog import load_catalog
from cohortlake.core.errors import SourceError
from cohortlake.core.lake import Lake
from cohortlake.core.language.declared import FORMATS
from cohortlake.plan import make_plan
from spark_jobs import batches, quarantine
from spark_jobs import land as job

STEP = replace(run.find_step(make_plan(load_catalog()), "land.site_a_fhir_r4"), job="spark_jobs.land:run")


def record_of(lake: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[dict, str]:
    def fail(context: object) -> None:
        raise error

    monkeypatch.setattr(job, "run", fail)
    with pytest.raises(type(error)):
        run.execute(STEP, Lake(lake), lake, load_catalog(), "r", False, lambda *given: None)
    text = (lake / "ops/runs/r/steps/land.site_a_fhir_r4.json").read_text(encoding="utf-8")
    return json.loads(text)["error"], text


def test_the_words_of_a_foreign_error_stay_out_of_ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error, text = record_of(tmp_path, monkeypatch, ValueError("invalid literal: 'Jane Doe'"))
    assert "Jane" not in text
    assert error["class"] == "ValueError"
    assert "cohortlake/run.py:" in error["message"]


def test_our_own_errors_keep_their_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error, _ = record_of(tmp_path, monkeypatch, SourceError("the folder is not there", "Name another."))
    assert error == {"class": "SourceError", "message": "the folder is not there", "hint": "Name another."}


def test_a_map_of_a_format_that_is_mended_makes_staged_work_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = load_catalog()
    shutil.copytree(FORMATS, tmp_path / "formats")
    monkeypatch.setattr(batches, "FORMATS", tmp_path / "formats")
    for silo in ("site_b_hl7v2", "site_c_ccda", "site_c_cpcds", "payer_d_rif"):
        before = batches._fingerprint(catalog, silo)
        assert batches._fingerprint(catalog, silo) == before
        for path in tmp_path.rglob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            path.write_text(f"{text}# mended\n", encoding="utf-8")
            is_own = path.relative_to(tmp_path / "formats").parts[0] == catalog.silos[silo].format
            assert (batches._fingerprint(catalog, silo) != before) is is_own, path
            path.write_text(text, encoding="utf-8")


def test_names_of_files_are_read_once_a_silo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(quarantine, "_file_names", lambda lake, silo: asked.append(silo) or {"f": "a.csv"})
    rows = [
        {"silo": silo, "file_hash": "f", "offset": number, "reasons": ["x: y"], "step": "gate", "resource_type": "T"}
        for silo in ("one", "two")
        for number in range(3)
    ]
    assert quarantine.hold(Lake(tmp_path), rows) == 6
    assert asked == ["one", "two"]


def test_a_record_in_quarantine_counts_in_neither_warnings_nor_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from spark_jobs import convert_part as part

    codes = convert.UnknownCodes()
    codes["map", "code"] += 1
    problems = [convert.Problem("odd", "", "warning"), convert.Problem("broken")]
    made = {True: convert.Converted([], problems, codes=codes), False: convert.Converted([], problems[:1], codes=codes)}
    reads = SimpleNamespace(to_fhir=lambda record, options: made[record.payload == b"bad"])
    monkeypatch.setattr(part, "format_named", lambda name: reads)
    payloads = ["bad", "good", "bad"]
    columns = dict.fromkeys(part.RECORD, [""] * 3) | {
        "payload": payloads,
        "offset": [0, 1, 2],
        "encoding": ["utf-8"] * 3,
    }
    pq.write_table(pa.table(columns), tmp_path / "bronze.parquet")
    unit = {"options": convert.Options(), "format": "x", "source": str(tmp_path / "bronze.parquet"), "groups": [0]}
    found = part.convert_part({**unit, "target": str(tmp_path / "made"), "feed": "f"})
    assert (found["warnings"], found["codes"], len(found["rejected"])) == ({"odd": 1}, {"map: code": 1}, 2)
