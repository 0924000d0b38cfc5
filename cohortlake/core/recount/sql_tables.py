"""The recount of curated tables that are made by SQL: the same SQL by another engine, over the same tables as staged.

The SQL is Spark's; sqlglot translates it (order of nulls, functions' names and arguments). Where DuckDB does not know a
function, the table is named as not recounted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlglot
import sqlglot.errors
from sqlglot import exp

from cohortlake.core.catalog.table import Table
from cohortlake.core.recount.tally import Tally, parquet, tally_of
from cohortlake.core.sql import identifier

TYPES = {"STRING": "VARCHAR", "TIMESTAMP": "TIMESTAMPTZ"}


@dataclass
class Made:
    """Both tallies of a table; `problem` says why DuckDB could not make it."""

    must: Tally = field(default_factory=Tally)
    does: Tally = field(default_factory=Tally)
    problem: str = ""


def recount_sql(connection: Any, table: Table, sql: str, files: Mapping[str, Sequence[Path]]) -> Made:
    """Count a table made by SQL; `files` are the staged (or live) ones of each table, by name."""
    import duckdb

    found = Made()
    found.does = _tally(connection, source_of(table, files[table.name]), table)
    try:
        for name in table.needs:
            if re.search(rf"\b{re.escape(name)}\b", sql):
                source = parquet(files[name]) if files.get(name) else None
                if source is None:
                    found.problem = f"it reads {name}, which has no rows"
                    return found
                connection.execute(f"CREATE OR REPLACE TEMP VIEW {identifier(name)} AS SELECT * FROM {source}")
        made = f"(SELECT {casts(table)} FROM ({duckdb_sql(sql)}))"
        found.must = _tally(connection, made, table)
    except duckdb.Error as error:
        # Of the message the first words only: what follows may be a value.
        found.problem = f"DuckDB: {type(error).__name__}"
    except sqlglot.errors.SqlglotError:
        found.problem = "its SQL could not be translated to DuckDB's"
    return found


def duckdb_sql(sql: str) -> str:
    """Spark's SQL in DuckDB's dialect: sqlglot's translation, and what it leaves of aggregates over nothing.

    Where nothing is to be counted or collected, Spark answers 0 and an empty list, and DuckDB null.

    Raises:
        sqlglot.errors.SqlglotError: it is not one statement of Spark's SQL.
    """
    query = sqlglot.parse_one(sql, read="spark")
    for count in list(query.find_all(exp.CountIf)):
        one = exp.If(this=count.this.copy(), true=exp.Literal.number(1))
        count.replace(exp.Count(this=exp.Case(ifs=[one])))
    for collected in list(query.find_all(exp.ArrayAgg, exp.ArrayUniqueAgg)):
        whole: exp.Expr = collected
        while isinstance(whole.parent, exp.Filter | exp.Window):
            whole = whole.parent
        whole.replace(exp.Coalesce(this=whole.copy(), expressions=[exp.Array()]))
    return query.sql(dialect="duckdb")


def casts(table: Table) -> str:
    """The columns of a relation in the types that the table declares."""
    columns = table.columns.items()
    return ", ".join(f"CAST({identifier(n)} AS {TYPES.get(c.type, c.type)}) AS {identifier(n)}" for n, c in columns)


def source_of(table: Table, files: Sequence[Path]) -> str:
    """The SQL that reads a table's files; of none, a relation of its columns without rows."""
    if files:
        return parquet(files)
    nulls = (f"CAST(NULL AS {TYPES.get(c.type, c.type)}) AS {identifier(n)}" for n, c in table.columns.items())
    return f"(SELECT {', '.join(nulls)} WHERE false)"


def _tally(connection: Any, relation: str, table: Table) -> Tally:
    """A table's tally; of a number that is added up in some order, nine digits count."""
    columns = table.columns.items()
    hashed = (
        f"printf('%.9g', {identifier(name)})" if column.type == "DOUBLE" else identifier(name)
        for name, column in columns
    )
    return tally_of(connection, relation, f"hash({', '.join(hashed)})")
