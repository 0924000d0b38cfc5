"""`cohortlake sql`, `tables`, `report`: looking at what is there."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cohortlake.cli import LAKE, AsOfOption, CatalogOption, LakeOption, app, out
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake


class Format(StrEnum):
    """How an answer is shown."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
def sql(
    question: Annotated[str, typer.Argument(help="SQL over the curated tables; `-` reads it from standard input.")],
    lake: LakeOption = LAKE,
    fmt: Annotated[Format, typer.Option("--format", "-f", help="How to show the answer.")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the answer to this file.")] = None,
    rows: Annotated[int, typer.Option(help="Show at most so many rows as a table.")] = 50,
    at: AsOfOption = None,
    phi: Annotated[
        bool, typer.Option("--phi", help="Also read `unmapped_codes` of the phi zone, which holds codes as they came.")
    ] = False,
) -> None:
    """Ask a question in SQL over gold. DuckDB answers; no Spark is started.

    `unmapped_code_counts` says, by silo, map and code system, how many codes no map knows; the codes themselves are
    values of records, so `unmapped_codes` is read with --phi only, by those who may read the phi zone.

    **Examples**

    `cohortlake sql "SELECT silo, count(*) FROM patients GROUP BY ALL"`

    `cohortlake sql "SELECT p.silo, p.gender, avg(l.standard_value) FROM laboratory_results l
    JOIN patients p USING (patient_key) WHERE l.laboratory_code = '4548-4' GROUP BY ALL"`

    `cohortlake sql "FROM conditions" --format parquet -o conditions.parquet`

    `cohortlake sql --as-of 2026-11-02 "SELECT count(*) FROM patients"`

    `cohortlake sql --phi "SELECT map, code, sum(records) FROM unmapped_codes GROUP BY ALL ORDER BY 3 DESC"`
    """
    import duckdb

    from cohortlake.core import gold
    from cohortlake.core.history import as_of

    text = sys.stdin.read() if question == "-" else question
    connection = gold.connect(Lake(lake.absolute()), text, as_of(at) if at else None, is_phi=phi)
    try:
        answer = connection.sql(text)
    except duckdb.Error as error:
        names = f"Tables: {', '.join([*gold.tables(Lake(lake.absolute())), 'unmapped_code_counts'])}."
        is_kept_back = "unmapped_codes" in text and not phi
        hint = "unmapped_codes is of the phi zone: ask with --phi." if is_kept_back else names
        raise UsageError(str(error).split("\n\n")[0], hint) from error
    if answer is None:
        raise UsageError("that statement gives no rows", "Gold is read-only here; ask with SELECT, FROM or DESCRIBE.")
    _show(connection, answer, fmt, output, rows)


def _show(connection: Any, answer: Any, fmt: Format, output: Path | None, rows: int) -> None:
    if fmt is Format.table and output is None:
        _as_table(answer, rows)
        return
    if fmt is Format.parquet and output is None:
        raise UsageError("Parquet is not for the screen", "Name a file with --output.")
    target = str(output) if output else "/dev/stdout"
    options = {
        "csv": "FORMAT csv, HEADER",
        "json": "FORMAT json",
        "parquet": "FORMAT parquet",
        "table": "FORMAT csv, HEADER",
    }
    answer.create_view("answer")
    connection.execute(f"COPY answer TO '{target}' ({options[fmt]})")


def _as_table(answer: Any, limit: int) -> None:
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    is_number = [
        str(kind) in ("BIGINT", "INTEGER", "DOUBLE", "HUGEINT") or "DECIMAL" in str(kind) for kind in answer.types
    ]
    for name, number in zip(answer.columns, is_number, strict=True):
        table.add_column(name, justify="right" if number else "left")
    found = answer.fetchmany(limit + 1)
    for row in found[:limit]:
        table.add_row(*("" if value is None else str(value) for value in row))
    out.print(table)
    if len(found) > limit:
        out.print(f"… more than {limit} rows; --rows shows more, --format csv|json|parquet gives all", style="dim")


@app.command()
def tables(
    name: Annotated[str | None, typer.Argument(help="A table: shows its columns.")] = None,
    lake: LakeOption = LAKE,
    catalog: CatalogOption = None,
) -> None:
    """List the curated tables, or one table's columns with their meaning, unit and privacy class.

    **Examples**

    `cohortlake tables`

    `cohortlake tables laboratory_results`
    """
    from rich.table import Table

    from cohortlake.core import gold
    from cohortlake.core.catalog import load_catalog

    declared = load_catalog(catalog).tables
    if name is None:
        live = gold.tables(Lake(lake.absolute()))
        connection = gold.connect(Lake(lake.absolute())) if live else None
        table = Table("table", "rows", "a row is", "title", header_style="bold", box=None, pad_edge=False)
        table.columns[1].justify = "right"
        for known in sorted(set(declared) | set(live)):
            count = "–"
            if connection is not None and known in live:
                count = f"{connection.table(known).count('*').fetchone()[0]:,}"
            about = declared.get(known)
            title = about.title if about else "(not in the catalog)"
            if about and about.part_of:
                title += f" (part of {about.part_of})"
            table.add_row(known, count, about.grain if about else "", title)
        out.print(table)
        return
    if name not in declared:
        raise UsageError(f"there is no table {name!r}", f"Tables: {', '.join(sorted(declared))}.")
    about = declared[name]
    out.print(f"[bold]{about.title}[/] · a row is {about.grain} · key {', '.join(about.key)}\n{about.description}\n")
    table = Table("column", "type", "unit", "privacy", "meaning", header_style="bold", box=None, pad_edge=False)
    for column, facts in about.columns.items():
        table.add_row(column, facts.type, facts.unit or "", facts.privacy, facts.description)
    out.print(table)


@app.command()
def report(
    run_id: Annotated[str | None, typer.Argument(help="A run; the newest where none is named.")] = None,
    lake: LakeOption = LAKE,
) -> None:
    """Say what a run did and where its page is; lists the runs it knows where the one named is not there.

    **Example**

    `cohortlake report && xdg-open lake/report.html`
    """
    from cohortlake.report import summary, write

    place = Lake(lake.absolute())
    runs = sorted(path.parent.name for path in place.runs.glob("*/run.json"))
    chosen = run_id or (runs[-1] if runs else None)
    if chosen not in runs:
        raise UsageError(f"there is no run {chosen or 'yet'} in {lake}", f"Runs: {', '.join(runs[-5:]) or 'none'}.")
    write(place, str(chosen))
    out.print(summary(place, str(chosen)))
