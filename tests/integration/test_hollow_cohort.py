"""A cohort over hollow hospitals: one without classes is left out, one without orders' dates has null features.

The cohort's SQL makes 0 and false of what is not there, as SQL does; neither may reach the release.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from cohortlake.core.releases import SPLITS, find_release
from spark_jobs import cohort, delta, release
from spark_jobs.context import Context
from synthetic import augment

pytestmark = pytest.mark.spark

TABLES = {
    "persons": {"patient_key": "STRING", "silo": "STRING", "birth_year": "INT"},
    "visits": {"patient_key": "STRING", "silo": "STRING", "class_code": "STRING", "ordered_on": "DATE"},
}
COHORT = """
title: Hollow
description: Patients of three hospitals.
version: 1.0.0
inclusion: [18 years or older]
exclusion: [born after 2010]
criteria_needs: [persons.birth_year]
index_date: a day
outcome: an emergency
outcome_window_days: 365
outcome_needs: [visits.class_code]
features:
  age_years: { type: number, unit: a, description: Age., needs: [persons.birth_year] }
  has_order: { type: boolean, description: Anything ordered., needs: [visits.ordered_on] }
  orders: { type: number, description: Orders., needs: [visits.ordered_on] }
stratum: "CASE WHEN has_order THEN 'ordered' ELSE 'not ordered' END"
splits: { train: 60, validation: 20, test: 20, seed: hollow-1 }
intended_use: Tests.
limits: [Nobody is real.]
"""
SQL = {
    "index": "SELECT patient_key, silo, DATE '2025-01-01' AS index_date, 2025 - birth_year >= 18 AS in_1, "
    "birth_year > 2010 AS out_1 FROM persons",
    "features": "SELECT i.patient_key, i.silo, i.index_date, 2025 - max(p.birth_year) AS age_years, "
    "coalesce(bool_or(v.ordered_on IS NOT NULL), false) AS has_order, count(v.ordered_on) AS orders "
    "FROM cohort_index i JOIN persons p USING (patient_key) LEFT JOIN visits v ON v.patient_key = i.patient_key "
    "GROUP BY i.patient_key, i.silo, i.index_date",
    "outcome": "SELECT i.patient_key, i.index_date, coalesce(bool_or(v.class_code = 'EMER'), false) AS outcome "
    "FROM cohort_index i LEFT JOIN visits v ON v.patient_key = i.patient_key GROUP BY i.patient_key, i.index_date",
}
ARROW = {"STRING": pa.string(), "INT": pa.int32(), "DATE": pa.date32()}


def plant(root: Path) -> Context:
    """Three hospitals of 40 patients: `whole`, `classless` and `orderless`."""
    for table, columns in TABLES.items():
        folder = root / "catalog/tables" / table
        folder.mkdir(parents=True)
        lines = "\n".join(
            f"  {name}: {{ type: {kind}, privacy: none, description: x }}" for name, kind in columns.items()
        )
        about = f"title: x\ndescription: x\ngrain: x\nfrom: sql\nkey: [patient_key]\ncolumns:\n{lines}\n"
        (folder / "table.yaml").write_text(about, encoding="utf-8")
        (folder / "table.sql").write_text("SELECT 1", encoding="utf-8")
    folder = root / "catalog/cohorts/hollow"
    folder.mkdir(parents=True)
    (folder / "cohort.yaml").write_text(COHORT, encoding="utf-8")
    for name, text in SQL.items():
        (folder / f"{name}.sql").write_text(text, encoding="utf-8")
    persons, visits = [], []
    for silo in ("whole", "classless", "orderless"):
        for number in range(40):
            key = f"{silo}-{number}"
            persons.append((key, silo, 1950 + number))
            code = None if silo == "classless" else ("EMER" if number % 4 == 0 else "AMB")
            visits.append((key, silo, code, None if silo == "orderless" else 20_000))
    lake = Lake(root / "lake")
    for table, rows in (("persons", persons), ("visits", visits)):
        schema = pa.schema([(name, ARROW[kind]) for name, kind in TABLES[table].items()])
        data = pa.table(
            [pa.array(c, t) for c, t in zip(zip(*rows, strict=True), schema.types, strict=True)], schema=schema
        )
        delta.create(lake.gold(table), schema, privacy=dict.fromkeys(schema.names, "none"))
        delta.commit(lake.gold(table), [delta.write_part(lake.gold(table), data, {})])
    return Context(lake, root, load_catalog(root / "catalog"), "hollow", "run")


def test_nothing_that_cannot_be_known_becomes_false_or_nought(tmp_path: Path, spark: Any) -> None:
    ctx = plant(tmp_path)
    for job in (cohort.run, augment.run, release.run):
        assert all(book.is_balanced for book in job(ctx).books)
    made = find_release(ctx.lake, "hollow")
    steps = [(step["kind"], step["criterion"], step["rows"]) for step in made.facts["attrition"]]
    assert steps[:2] == [
        ("candidates", "every candidate", 120),
        ("eligibility", "left out: the silo cannot tell visits.class_code", 80),
    ]
    assert made.facts["attrition"][1]["silos"] == {"classless": 0, "orderless": 40, "whole": 40}
    rows = pa.concat_tables([pq.read_table(made.folder / f"{split}.parquet") for split in SPLITS]).to_pandas()
    assert set(rows["silo"]) == {"whole", "orderless"}
    hollow = rows[rows["silo"] == "orderless"]
    assert hollow["has_order"].isna().all()
    assert hollow["orders"].isna().all()
    assert set(hollow["stratum"]) == {"unknown"}
    assert rows[rows["silo"] == "whole"]["has_order"].all()
    assert rows["age_years"].notna().all()
    assert made.facts["missing"]["has_order"] == 40
    sheet = (made.folder / "datasheet.md").read_text(encoding="utf-8")
    assert "| has_order | boolean |  | 40 (50.0 %); 40 rows: orderless cannot tell visits.ordered_on |" in sheet
    assert "left out: the silo cannot tell visits.class_code" in sheet
