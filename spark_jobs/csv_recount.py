"""The recount of the tasks of `standardise` for CSV, made beside them: a part parsed, and a mapping's rows typed.

Parsing is held against Python's csv module. A mapping's rows are seen as its SQL gives them, and the part that was
written is read back and held against them: what the SQL says is not questioned, but every row that it gives is
followed. To evaluate it once more by the same engine would say no more, and its plan alone costs half a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.mapping import unpivoted
from cohortlake.core.recount.tables import recount_parsed
from cohortlake.core.recount.tally import parquet
from cohortlake.core.sql import identifier
from spark_jobs.map_csv import Plan
from spark_jobs.parallel import Unit
from spark_jobs.standardise_recount import recount_rows

RECORDS = ["file", "file_hash", "offset", "header", "payload"]


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


class MappingRecount:
    """The recount of a mapping's task: it is shown the rows as the SQL gives them, then the part that was written."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._given: pa.Table | None = None
        self._rows_in = self._left_out = 0

    def see(self, connection: duckdb.DuckDBPyConnection, given: pa.Table) -> None:
        """The rows that the SQL gave, before anything is done with them; the connection has their `source`."""
        mapping, self._given = self._plan.mapping, given
        left_out = f"count(*) FILTER (NOT coalesce({mapping.where}, false))"
        counts = connection.execute(f"SELECT count(*), {left_out} FROM {unpivoted(mapping)}").fetchone()  # noqa: S608
        self._rows_in, self._left_out = counts or (0, 0)

    def compare(self, unit: Unit, result: Unit) -> Unit:
        """Hold the part that the task wrote against what was seen."""
        if self._given is None:
            none = {"rows_in": 0, "left_out": 0, "rows": 0, "bad": 0, "must": 0, "does": 0}
            return {**none, "problems": [], "sha256": None}
        connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
        connection.register("given", self._given)
        is_bad = "coalesce(len(_bad), 0) > 0"
        (bad,) = connection.execute(f"SELECT count(*) FROM given WHERE {is_bad}").fetchone() or (0,)  # noqa: S608
        names = ", ".join(map(identifier, [*self._plan.tree.children, "_file_hash", "_offset"]))
        expected = f"SELECT {names} FROM given WHERE NOT ({is_bad})"  # noqa: S608
        found = recount_rows(connection, expected, [], Path(unit["table"]), result["part"], self._plan.tree)
        return {**found, "rows_in": self._rows_in, "left_out": self._left_out, "bad": bad}
