"""Rows for views out of files of FHIR JSON."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cohortlake.core.errors import SourceError
from cohortlake.core.views import compile_view
from cohortlake.core.views.needed import needed
from spark_jobs.views import view_frame
from spark_jobs.views_files import Reading, read_files, resource_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VIEW = compile_view(
    {
        "resource": "Observation",
        "select": [
            {
                "column": [
                    {"name": "id", "path": "id"},
                    {"name": "value", "path": "value.ofType(Quantity).value"},
                    {"name": "low", "path": "value.ofType(Quantity).value.lowBoundary()"},
                ]
            }
        ],
    }
)


def line(key: str, value: str = "1", **others: Any) -> str:
    text = json.dumps({"resourceType": "Observation", "id": key, "valueQuantity": {"value": 0}, **others})
    return text.replace('"value": 0', f'"value": {value}')


def read(spark: SparkSession, place: Path, scratch: Path) -> tuple[list[tuple[Any, ...]], Reading]:
    reading = read_files(spark, resource_files(place), needed(VIEW).tree, scratch)
    return sorted(tuple(row) for row in view_frame(reading.rows, VIEW).collect()), reading


@pytest.mark.spark
def test_every_kind_of_file_below_a_folder_is_read(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/a.ndjson").write_bytes(b"\xef\xbb\xbf" + f"{line('a', '1.50')}\r\n\r\n{line('b')}".encode())
    with gzip.open(tmp_path / "in/deep/c.ndjson.gz", "wt") as stream:
        stream.write(line("c", "1e2") + '\n{"resourceType": "Patient", "id": "p"}\n')
    (tmp_path / "in/d.json").write_text(json.dumps(json.loads(line("d")), indent=1))
    entries = ", ".join(f'{{"resource": {text}}}' for text in (line("e", "1.0"), '{"resourceType": "Patient"}'))
    (tmp_path / "in/e.json").write_text(f'{{"resourceType": "Bundle",\n "entry": [{entries}]}}')
    (tmp_path / "in/notes.txt").write_text("no FHIR")
    rows, reading = read(spark, tmp_path / "in", tmp_path)
    # How a decimal was written bounds it.
    assert rows == [
        ("a", Decimal("1.5"), Decimal("1.495")),
        ("b", Decimal(1), Decimal("0.5")),
        ("c", Decimal(100), Decimal(50)),
        ("d", Decimal(1), Decimal("0.5")),
        ("e", Decimal(1), Decimal("0.95")),
    ]
    assert reading.remarks() == []


@pytest.mark.spark
def test_files_are_read_whatever_their_names(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "ward [1] {a}"
    folder.mkdir()
    for name in ("_a.ndjson", ".b.ndjson", "c*?.ndjson", "d,e f.json"):
        (folder / name).write_text(line(name))
    rows, _ = read(spark, folder, tmp_path)
    assert [row[0] for row in rows] == [".b.ndjson", "_a.ndjson", "c*?.ndjson", "d,e f.json"]


@pytest.mark.spark
def test_lines_that_are_no_resources_and_elements_of_another_type_are_told(spark: SparkSession, tmp_path: Path) -> None:
    cut, untyped, misfit = line("b")[:-3], '{"id": "x"}', line("c", valueQuantity=[{"value": 1}])
    (tmp_path / "a.ndjson").write_text("\n".join([line("a"), cut, untyped, misfit, "no JSON"]))
    rows, reading = read(spark, tmp_path / "a.ndjson", tmp_path)
    assert rows == [("a", Decimal(1), Decimal("0.5")), ("c", None, None)]
    assert reading.remarks() == [
        "3 lines are no FHIR resources: not JSON, or without a resourceType",
        "1 resources hold an element of another JSON type than FHIR gives it: it is empty in their rows",
    ]


def test_a_place_without_files_is_an_error(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError, match="there is no file of FHIR JSON"):
            resource_files(place)
