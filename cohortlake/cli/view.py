"""`cohortlake view`: SQL on FHIR views, checked, explained, run over a lake or files, and held to the suite."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cohortlake.cli import LAKE, LakeOption, app, err, out
from cohortlake.core.errors import NotConformantError, UsageError, ViewError
from cohortlake.core.lake import Lake, write_error
from cohortlake.core.views import ViewPlan, compile_view
from cohortlake.core.views.plan import DEPTH

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

commands = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(commands, name="view", help="Check, explain and run SQL on FHIR ViewDefinitions.")


class Format(StrEnum):
    """How rows are shown or written."""

    table = "table"
    csv = "csv"
    ndjson = "ndjson"
    parquet = "parquet"


SCREENFUL = 50
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A ViewDefinition in JSON.")]
DepthOption = Annotated[int, typer.Option(min=1, max=12, help="How many levels `repeat` goes down.")]


@commands.command()
def check(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="ViewDefinitions in JSON.")]) -> None:
    """Compile ViewDefinitions; say what is wrong with the path in the view, what was found and what is allowed.

    **Example**

    `cohortlake view check catalog/tables/*/view.json`
    """
    wrong: list[str] = []
    for file in files:
        try:
            view = load(file)
        except ViewError as error:
            wrong += [f"{file}: {line}" for line in str(error).split("\n")]
        else:
            columns = list(view.select.columns_in_order())
            out.print(f"{file}: good; {len(columns)} columns of {view.resource}", markup=False)
    if wrong:
        raise ViewError("\n".join(wrong), "Mend each view at the path that is named.")


@commands.command()
def explain(
    file: FileArgument,
    lake: Annotated[Path | None, typer.Option("--lake", help="A lake, whose silver the SQL is to read.")] = None,
    depth: DepthOption = DEPTH,
) -> None:
    """Show what a view does, which elements it reads, and the Spark SQL that it becomes. No engine is started.

    The SQL runs as it stands: over a lake's silver with `--lake`, else over a table of the resource type's name.

    **Examples**

    `cohortlake view explain catalog/tables/patients/view.json`

    `cohortlake view explain names.json --lake lake | sed -n '/^SELECT/,$p' > names.sql`
    """
    from cohortlake.core.views.describe import describe, reads
    from cohortlake.core.views.needed import needed
    from spark_jobs.views_explain import silver_sql, table_sql

    view = load(file)
    elements = needed(view, depth=depth)
    sql = table_sql(view, elements, depth) if lake is None else silver_sql(view, elements, Lake(lake.absolute()), depth)
    paragraphs = ("\n".join(describe(view)), "\n".join(["reads", *reads(elements.tree, "  ")]), sql)
    out.print("\n\n".join(paragraphs), markup=False, soft_wrap=True)


@commands.command()
def run(
    file: FileArgument,
    lake: LakeOption = LAKE,
    place: Annotated[
        Path | None,
        typer.Option("--from", help="Instead of a lake: FHIR JSON (.ndjson, .ndjson.gz, .json), or a folder of it."),
    ] = None,
    silo: Annotated[list[str] | None, typer.Option(help="Only this silo of the lake; may be given again.")] = None,
    fmt: Annotated[Format, typer.Option("--format", "-f", help="How to show or write the rows.")] = Format.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the rows to this file.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"So many rows at most [default: all; {SCREENFUL} on the screen].")
    ] = None,
    depth: DepthOption = DEPTH,
) -> None:
    """Run a view over a lake's live resources, or over files of FHIR JSON.

    **Examples**

    `cohortlake view run catalog/tables/patients/view.json --limit 10`

    `cohortlake view run names.json --from export/ --format parquet -o names.parquet`
    """
    from rich.table import Table

    from spark_jobs.views_output import first_rows, write

    if fmt is Format.parquet and output is None:
        raise UsageError("Parquet is not for the screen", "Name a file with --output.")
    view = load(file)
    with _rows(view, lake, place, silo or [], depth) as (frame, remarks):
        if fmt is Format.table and output is None:
            shown = first_rows(frame, SCREENFUL if limit is None else limit)
            table = Table(*shown.columns, header_style="bold", box=None, pad_edge=False)
            for row in shown.rows:
                table.add_row(*map(_cell, row))
            out.print(table)
            if shown.is_cut and limit is None:
                out.print("… there are more; --limit shows more, --format csv|ndjson|parquet gives all", style="dim")
        else:
            kind = Format.csv if fmt is Format.table else fmt
            write(frame if limit is None else frame.limit(limit), kind.value, output)
        for remark in remarks():
            err.print(f"note: {remark}", markup=False)


@commands.command()
def conformance(
    folder: Annotated[Path, typer.Argument(help="A folder of files in the suite's format, or one of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The report, in the suite's own format.")] = Path(
        "test_report.json"
    ),
) -> None:
    """Run the SQL on FHIR v2 test suite's cases and write its test report; exit code 14 unless all pass.

    **Example**

    `cohortlake view conformance sql-on-fhir.js/tests -o test_report.json`
    """
    from rich.table import Table

    from cohortlake.core.views.suite import Verdict, load_suites, report
    from spark_jobs.views_conformance import run_suite

    suites = load_suites(folder)
    verdicts: dict[str, list[Verdict]] = {}
    spark = _session()
    with tempfile.TemporaryDirectory() as scratch:
        for suite in suites:
            verdicts[suite.name] = list(run_suite(spark, suite, Path(scratch)))
    _write_report(output, report(verdicts))
    table = Table("file", "cases", "passed", "failed", header_style="bold", box=None, pad_edge=False)
    for name, found in verdicts.items():
        failed = [verdict.title for verdict in found if verdict.reason is not None]
        table.add_row(name, str(len(found)), str(len(found) - len(failed)), "; ".join(failed))
    out.print(table)
    reasons = [verdict.reason for found in verdicts.values() for verdict in found]
    passed = reasons.count(None)
    out.print(f"{passed} of {len(reasons)} cases passed; the report is {output}", markup=False)
    if passed < len(reasons):
        raise NotConformantError(f"{len(reasons) - passed} cases failed", f"The reasons stand in {output}.")


def _write_report(output: Path, content: dict[str, Any]) -> None:
    try:
        output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise write_error(error, output) from error


def load(file: Path) -> ViewPlan:
    """The plan of a ViewDefinition's file. Raises UsageError where it cannot be read, ViewError where it is wrong."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", "Name a ViewDefinition in JSON.") from error
    except ValueError as error:
        raise ViewError(f"the view: found {error}; allowed: JSON", f"Mend {file}.") from error
    if not isinstance(content, dict):
        raise ViewError(f"the view: found a {type(content).__name__}; allowed: a JSON object", f"Mend {file}.")
    return compile_view(content)


@contextmanager
def _rows(
    view: ViewPlan, lake: Path, place: Path | None, silos: Sequence[str], depth: int
) -> Iterator[tuple[DataFrame, Callable[[], list[str]]]]:
    """The view's rows, and what is to be said of the files that they came from once the rows have been read."""
    from pyspark.errors import PySparkException

    from cohortlake.core.views.needed import needed
    from spark_jobs.view_source import lake_resources, silo_key, silver_table
    from spark_jobs.views import raised_by_view, view_frame
    from spark_jobs.views_files import read_files, resource_files

    elements = needed(view, depth=depth)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if place is None:
                table = silver_table(Lake(lake.absolute()), view.resource)
                rows = lake_resources(_session(), table, elements, silos)
                yield view_frame(rows, view, key=silo_key, depth=depth), list
            else:
                files = resource_files(place)
                reading = read_files(_session(), files, elements.tree, Path(scratch))
                yield view_frame(reading.rows, view, depth=depth), reading.remarks
    except PySparkException as error:
        said = raised_by_view(error)
        if said is None:
            raise
        raise ViewError(said, "Mend the view at that path, or the resources.") from error


def _session() -> SparkSession:
    """The Spark session; what stops a job is told by the command, so Spark's own log of it is left out."""
    from spark_jobs.session import spark_session

    spark = spark_session()
    if not os.environ.get("SPARK_REMOTE"):
        spark.sparkContext.setLogLevel("OFF")
    return spark


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value.normalize(), "f")
        case dict() | list():
            return json.dumps(value, default=_cell, ensure_ascii=False)
    return str(value)
