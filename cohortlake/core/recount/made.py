"""The recount of columns that a job makes of others, beside a view: people, units, one display a code.

What a value should be is not made again here; what must hold between the columns is asked of every row. So a row that
was altered stands out from all that have the same code and unit, or names another person than the linkage does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cohortlake.core.catalog.table import StandardUnits, Table
from cohortlake.core.sql import identifier, literal

# Relative; values are rounded to ten digits when they are converted.
NEAR = 1e-6


def recount_made(connection: Any, table: Table) -> list[str]:
    """What is wrong with the made columns of view `staged_rows`, in names and counts.

    `people` (key, person) are the linked patients, by the recount's own keys.
    """
    found = [_persons(connection, column, patient) for column, patient in table.person_of.items()]
    if table.standard_units:
        found += _units(connection, table.standard_units)
    found += [_displays(connection, name, code, system) for name, (code, system) in table.displays.items()]
    return [problem for problem in found if problem]


def _count(connection: Any, sql: str, said: str) -> str:
    """The rows that a query counts, as a problem; empty for none."""
    count = int(connection.execute(sql).fetchone()[0])
    return f"{count:,} {said}" if count else ""


def _persons(connection: Any, column: str, patient: str) -> str:
    named, of = identifier(column), identifier(patient)
    rows = f"staged_rows s LEFT JOIN people p ON p.key = s.{of}"
    sql = f"SELECT count(*) FROM {rows} WHERE s.{named} IS DISTINCT FROM p.person"
    return _count(connection, sql, f"rows whose {column} is not that of their {patient}")


def _displays(connection: Any, name: str, code: str, system: str) -> str:
    shown, of = identifier(name), f"{identifier(system)}, {identifier(code)}"
    told = " AND ".join(f"{identifier(one)} IS NOT NULL" for one in (code, system))
    sql = (
        f"SELECT count(*) FROM (SELECT 1 FROM staged_rows WHERE {told} GROUP BY {of} "
        f"HAVING count(DISTINCT {shown}) > 1 OR count({shown}) NOT IN (0, count(*)))"
    )
    return _count(connection, sql, f"codes with more than one {name}")


def note_displays(connection: Any, table: Table, known: Collection[str]) -> None:
    """Keep which displays the staged rows of a view show, and those that its resources say (`known` are made)."""
    for name in ("shown", "spoken"):
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (of VARCHAR, system VARCHAR, code VARCHAR, display VARCHAR)"
        )
        connection.execute(f"DELETE FROM {name} WHERE starts_with(of, $1)", [f"{table.name}."])
    for column, (code, system) in table.displays.items():
        named = ", ".join(map(identifier, (system, code, column)))
        for name, rows in (("shown", "staged_rows"), ("spoken", "must_rows")):
            if name == "shown" or column in known:
                of = literal(f"{table.name}.{column}")
                connection.execute(
                    f"INSERT INTO {name} SELECT DISTINCT {of}, {named} FROM {rows} "
                    f"WHERE {identifier(system)} IS NOT NULL AND {identifier(code)} IS NOT NULL AND "
                    f"{identifier(column)} IS NOT NULL"
                )


def recount_displays(
    connection: Any, maps: Iterable[tuple[str, str, str]], silver: Mapping[str, str], types: Mapping[str, str]
) -> list[str]:
    """The columns that show a display which no resource of silver says, nor a concept map of the code.

    `maps` are the maps' targets: system, code, display. `silver` has the relation (SQL after FROM) of each type,
    `types` the type of each table. Silver is read as text, and only for what the rows of the views do not say: a
    resource that no row is made of has a say too. `note_displays` came first, of every table.
    """
    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'shown'").fetchone():
        return []
    connection.execute("CREATE OR REPLACE TABLE declared (system VARCHAR, code VARCHAR, display VARCHAR)")
    if declared := sorted(set(maps)):
        connection.executemany("INSERT INTO declared VALUES ($1, $2, $3)", declared)
    same = "USING (system, code, display)"
    sql = f"SELECT * FROM shown ANTI JOIN spoken {same} ANTI JOIN declared {same}"
    connection.execute(f"CREATE OR REPLACE TABLE unsaid AS {sql}")
    shown = {types[of.partition(".")[0]] for (of,) in connection.execute("SELECT DISTINCT of FROM unsaid").fetchall()}
    for kind in sorted(silver, key=lambda kind: (kind not in shown, kind)):
        if not connection.execute("SELECT 1 FROM unsaid LIMIT 1").fetchone():
            break
        texts = f"SELECT CAST(to_json(r) AS VARCHAR) AS text FROM {silver[kind]} r"
        says = " AND ".join(f"contains(text, CAST(to_json(unsaid.{one}) AS VARCHAR))" for one in ("display", "code"))
        connection.execute(f"DELETE FROM unsaid WHERE EXISTS (SELECT 1 FROM ({texts}) WHERE {says})")
    return [
        f"gold.{of}: {count:,} codes have a display that no resource and no concept map gives"
        for of, count in connection.execute("SELECT of, count(*) FROM unsaid GROUP BY of ORDER BY of").fetchall()
    ]


def recount_unit_names(connection: Any, declared: StandardUnits, units: Mapping[str, str]) -> str:
    """Whether rows of a code whose unit is declared (`units`: unit by LOINC code) are in that one, as a problem."""
    connection.execute("CREATE OR REPLACE TEMP TABLE unit_of (code VARCHAR, unit VARCHAR)")
    if units:
        connection.executemany("INSERT INTO unit_of VALUES ($1, $2)", [*units.items()])
    unit = identifier(declared.standard_unit)
    rows = f"staged_rows s JOIN unit_of u ON u.code = s.{identifier(declared.code)}"
    sql = f"SELECT count(*) FROM {rows} WHERE s.{unit} IS NOT NULL AND s.{unit} <> u.unit"
    return _count(connection, sql, f"rows whose {declared.standard_unit} is not the declared one of their code")


def _units(connection: Any, declared: StandardUnits) -> list[str]:
    """A code and unit have one standard unit, in which values lie on one line of those that came."""
    of = ", ".join(map(identifier, (declared.code, *declared.unit)))
    unit, main = identifier(declared.standard_unit), identifier(next(iter(declared.values)))
    found = [
        _count(
            connection,
            f"SELECT count(*) FROM (SELECT {unit} AS unit, {main} AS y, max({unit}) OVER (PARTITION BY {of}) AS due "
            "FROM staged_rows) WHERE unit IS DISTINCT FROM CASE WHEN y IS NOT NULL THEN due END",
            f"rows whose {declared.standard_unit} is not that of their code and unit",
        )
    ]
    for made, came in declared.values.items():
        y, x = (f"CAST({identifier(name)} AS DOUBLE)" for name in (made, came))
        same = " OR ".join(f"{identifier(name)} = {unit}" for name in declared.unit)
        lines = f"""
            SELECT x, y, is_same, count(y) OVER w AS known, min(x) OVER w AS x0, max(x) OVER w AS x1,
              first_value(y) OVER (w ORDER BY x, y ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS y0,
              last_value(y) OVER (w ORDER BY x, y ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS y1
            FROM (SELECT {x} AS x, {y} AS y, coalesce({same}, false) AS is_same, {of} FROM staged_rows
                  WHERE {x} IS NOT NULL OR {y} IS NOT NULL)
            WINDOW w AS (PARTITION BY {of})"""
        wrong = f"""
            CASE WHEN known = 0 THEN false WHEN x IS NULL OR y IS NULL THEN true
            WHEN is_same THEN abs(y - x) > {NEAR} * abs(x)
            ELSE abs(y - (y0 + CASE WHEN x1 > x0 THEN (y1 - y0) / (x1 - x0) * (x - x0) ELSE 0 END))
              > {NEAR} * greatest(abs(y0), abs(y1)) END"""
        found.append(
            _count(
                connection, f"SELECT count(*) FROM ({lines}) WHERE {wrong}", f"rows whose {made} is not what {came} is"
            )
        )
    for made, came in declared.comparator.items():
        due = f"CASE WHEN {main} IS NOT NULL THEN {identifier(came)} END"
        sql = f"SELECT count(*) FROM staged_rows WHERE {identifier(made)} IS DISTINCT FROM {due}"
        found.append(_count(connection, sql, f"rows whose {made} is not {came}"))
    return found
