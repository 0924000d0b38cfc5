"""A table of few files is read as Parquet where that says what Delta's reader says, else by Delta's reader."""

from __future__ import annotations

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from spark_jobs import delta, delta_read

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("names", pa.list_(pa.field("element", pa.struct([("family", pa.string()), ("rank", pa.int32())])))),
        ("silo", pa.string()),
    ]
)


def rows(numbers):
    names = [[{"family": f"f{n}", "rank": n}, {"family": None, "rank": None}] if n % 3 else None for n in numbers]
    return pa.table({"id": [str(n) for n in numbers], "names": names}, schema=SCHEMA.remove(2))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "silver/Patient"
    properties = {"delta.enableDeletionVectors": "true"}
    delta.create(path, SCHEMA, description="x", properties=properties, partition_by=["silo"])
    for silo, numbers in (("a", range(100)), ("b", range(100, 150))):
        delta.commit(path, [delta.write_part(path, rows(numbers), {"silo": silo})])
    return path


def by_delta(spark, table):
    return spark.read.format("delta").load(str(table))


def is_parquet(frame):
    return "PreparedDeltaFileIndex" not in frame._jdf.queryExecution().toString()


def same(one, other):
    assert one.schema.simpleString() == other.schema.simpleString()
    assert sorted(map(str, one.collect())) == sorted(map(str, other.collect()))
    return True


def test_plain_files_are_read_as_parquet(spark, table):
    frame = delta_read.read(spark, table)
    assert is_parquet(frame)
    assert same(frame, by_delta(spark, table))
    assert frame.where(F.col("silo") == "b").count() == 50


def test_a_deleted_row_stays_deleted(spark, table):
    spark.sql(f"DELETE FROM delta.`{table}` WHERE id IN ('7', '120')")
    assert sum(batch.num_rows for batch in DeltaTable(str(table)).deletion_vectors()) == 2
    frame = delta_read.read(spark, table)
    assert not is_parquet(frame)
    assert frame.count() == 148
    assert same(frame, by_delta(spark, table))


def test_an_earlier_version_is_read_as_it_was(spark, table):
    spark.sql(f"DELETE FROM delta.`{table}` WHERE id = '7'")
    before = delta_read.read(spark, table, at=2)
    assert is_parquet(before)
    assert before.count() == 150
    assert delta_read.read(spark, table, at=1).count() == 100


def test_a_column_that_came_later_is_null_in_older_files(spark, table):
    spark.sql(f"ALTER TABLE delta.`{table}` ADD COLUMNS (extra STRING, names.element.given STRING)")
    assert same(delta_read.read(spark, table), by_delta(spark, table))
    assert delta_read.read(spark, table).select("names.given").where("names IS NOT NULL").first()["given"] == [
        None,
        None,
    ]


def test_columns_with_other_names_in_the_files_are_read_by_delta(spark, table):
    spark.sql(f"ALTER TABLE delta.`{table}` SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')")
    spark.sql(f"ALTER TABLE delta.`{table}` RENAME COLUMN id TO key")
    frame = delta_read.read(spark, table)
    assert not is_parquet(frame)
    assert frame.where("key = '7'").count() == 1


@pytest.mark.parametrize("is_plain", [True, False])
def test_some_columns_are_read_in_the_tables_order(spark, table, is_plain):
    if not is_plain:
        spark.sql(f"DELETE FROM delta.`{table}` WHERE id = '7'")
    frame = delta_read.read(spark, table, columns={"silo", "id", "none"})
    assert is_parquet(frame) == is_plain
    assert same(frame, by_delta(spark, table).select("id", "silo"))
    assert same(delta_read.read(spark, table, columns={"id"}), by_delta(spark, table).select("id"))


def test_a_table_without_rows_has_its_columns(spark, tmp_path):
    delta.create(tmp_path / "empty", SCHEMA, description="x")
    frame = delta_read.read(spark, tmp_path / "empty")
    assert (frame.columns, frame.count()) == (["id", "names", "silo"], 0)


def test_a_folder_whose_name_is_a_pattern(spark, tmp_path):
    path = tmp_path / "lake[1]"
    delta.create(path, SCHEMA.remove(2), description="x")
    delta.commit(path, [delta.write_part(path, rows(range(3)), {})])
    assert delta_read.read(spark, path).count() == 3
