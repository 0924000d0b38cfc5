"""Reading a table of a PostgreSQL database by Spark, over JDBC, into Parquet: every reader sees one snapshot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cohortlake.core.catalog.origin import Postgresql
from cohortlake.core.database.sql import SETTINGS, Reading, ranges, select
from cohortlake.core.errors import SourceError
from spark_jobs.database_session import Snapshot, password

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|\([^)]*\)")
FETCH_ROWS = 10_000
# A table of fewer pages (8 KiB each) is read by one connection.
SMALL_PAGES = 4096


def options(source: Postgresql, snapshot: Snapshot) -> dict[str, str]:
    """Spark's options for a reader of the snapshot. The password is not part of the address: addresses are logged."""
    begin = ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", f"SET TRANSACTION SNAPSHOT '{snapshot.id}'"]
    found = {
        "driver": "org.postgresql.Driver",
        "url": f"jdbc:postgresql://{_host(source.host)}:{source.port}/{source.database}",
        "user": source.user,
        "password": password(source),
        "sslmode": source.tls,
        "ApplicationName": "cohortlake",
        "fetchsize": str(FETCH_ROWS),
        "sessionInitStatement": "; ".join([*begin, *SETTINGS]),
    }
    return found | ({"sslrootcert": source.ca_file} if source.ca_file else {})


def read(
    spark: SparkSession, source: Postgresql, snapshot: Snapshot, reading: Reading, target: Path, *,
    names: tuple[str, ...], where: str = "TRUE",
) -> None:  # fmt: skip
    """A table's rows, columns `names` as text, to a folder of Parquet files. Raises SourceError."""
    pages = snapshot.pages(reading)
    parts = ranges(pages, source.connections) if pages >= SMALL_PAGES else ["TRUE"]
    try:
        _frame(spark, source, snapshot, reading, parts, names, where).write.parquet(str(target))
    except Exception as error:
        raise _clear(error, reading) from error


def _frame(
    spark: SparkSession, source: Postgresql, snapshot: Snapshot, reading: Reading, parts: list[str],
    names: tuple[str, ...], where: str,
) -> DataFrame:  # fmt: skip
    frames = [
        spark.read.format("jdbc")
        .options(**options(source, snapshot), query=select(reading, source.zone, names, f"{where} AND {part}"))
        .load()
        .toDF(*names)
        for part in parts
    ]
    whole = frames[0]
    for frame in frames[1:]:
        whole = whole.unionAll(frame)
    return whole


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _clear(error: Exception, reading: Reading) -> Exception:
    """A driver's error, deep in what Spark says, as one that says what to do; any other stays."""
    lines = [line.strip() for line in str(error).splitlines() if "PSQLException" in line]
    if not lines:
        return error
    # What stands in quotes or brackets may be a row's value.
    said = QUOTED.sub("…", lines[-1].split("PSQLException:", 1)[-1].strip())[:200]
    return SourceError(
        f"table {'.'.join(reading.table)} could not be read to its end: {said}", "Nothing was taken. Run again."
    )
