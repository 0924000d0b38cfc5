"""The recount of the tasks of `standardise` for CSV, made beside them: a part parsed, and a mapping's rows typed.

Parsing is held against Python's csv module. A mapping's SQL is evaluated once more over the parsed rows, and the part
that was written is held against that: what the SQL says is not questioned, but every row that it gives is followed.
"""

from __future__ import annotations

from collections.abc import Mapping as ReadMapping
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from cohortlake.core.catalog import Feed
from cohortlake.core.mapping import unpivoted
from cohortlake.core.recount.tables import recount_parsed
from cohortlake.core.recount.tally import parquet
from cohortlake.core.sql import identifier
from spark_jobs.join_csv import join
from spark_jobs.map_csv import Plan, mapped_sql
from spark_jobs.parallel import Unit
from spark_jobs.standardise_recount import recount_rows

RECORDS = ["file_hash", "offset", "header", "payload"]


def recount_parse(unit: Unit, columns: Sequence[str], null_values: Sequence[str]) -> Unit:
    """A part of bronze against the files of its good and of its rejected records."""
    connection = duckdb.connect(config={"threads": 1})
    for name, file in (("parsed", unit["target"]), ("rejected", unit["rejects"])):
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {parquet([file])}")  # noqa: S608
    records = pq.read_table(unit["source"], columns=RECORDS, partitioning=None)
    must, does, rejected = recount_parsed(connection, records, columns, null_values)
    (listed,) = connection.execute("SELECT count(*) FROM rejected").fetchone() or (0,)
    return {
        "records": records.num_rows, "must": [must.rows, must.digest], "does": [does.rows, does.digest],
        "rejected": rejected, "listed": listed,
    }  # fmt: skip


def recount_mapping(unit: Unit, result: Unit, plan: Plan, feeds: ReadMapping[str, Feed]) -> Unit:
    """A mapping's rows, made once more, against the part that was written; and those that its `where` leaves out."""
    connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
    connection.execute("SET TimeZone = 'UTC'")
    files = unit["files"].get(plan.mapping.feed, {})
    if not any(files.values()):
        return {"rows_in": 0, "left_out": 0, "rows": 0, "bad": 0, "must": 0, "does": 0, "problems": [], "sha256": None}
    if plan.mapping.children:
        join(connection, plan.mapping, feeds, unit["files"], f"hash(_id) % {unit['buckets']} = {unit['bucket']}")
    else:
        connection.execute(f"CREATE VIEW source AS SELECT * FROM {parquet(files['new'])}")  # noqa: S608
    connection.execute(f"CREATE TABLE again AS {mapped_sql(plan)}")
    came, taken = (
        connection.execute(f"SELECT count(*) FROM {unpivoted(plan.mapping)} WHERE {where}").fetchone() or (0,)  # noqa: S608
        for where in ("true", f"NOT coalesce({plan.mapping.where}, false)")
    )
    is_bad = "coalesce(len(_bad), 0) > 0"
    (bad,) = connection.execute(f"SELECT count(*) FROM again WHERE {is_bad}").fetchone() or (0,)  # noqa: S608
    names = ", ".join(map(identifier, [*plan.tree.children, "_file_hash", "_offset"]))
    expected = f"SELECT {names} FROM again WHERE NOT ({is_bad})"  # noqa: S608
    found = recount_rows(connection, expected, [], Path(unit["table"]), result["part"], plan.tree)
    return {**found, "rows_in": came[0], "left_out": taken[0], "bad": bad}
