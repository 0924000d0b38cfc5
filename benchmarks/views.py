"""Five SQL on FHIR views, Delta tables to Parquet: ours on silver, Pathling on its own tables, DuckDB's SQL on silver.

Each writes the same rows; that is checked for every view, by DuckDB over the Parquet files, before a figure is given.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import duckdb as engine

from benchmarks.contenders import cohortlake, duckdb, pathling
from benchmarks.harness import ROOT, Contender, Measured, in_turn
from benchmarks.hospital import records, write_copies
from benchmarks.results import machine, ratios, spread, table, walls
from benchmarks.settings import Settings

TITLE = "Five views, beside Pathling and DuckDB"
DEFINITIONS = ROOT / "benchmarks/view_definitions"
# Pathling's JVM compiles with all it has, as by default; ours where it is asked to, for most of our runs are short.
LONG_LIVED = {"COHORTLAKE_JAVA_OPTIONS": "-XX:TieredStopAtLevel=4"}
VIEWS = ("flat", "names", "components", "blood_pressure", "quantities")
# Each resource type's share of the NDJSON: the hospital has few patients, and most of it is of types not viewed.
SHARES = {"Patient": 0.2, "Condition": 0.2, "Observation": 0.6}


def measure(asked: Settings, folder: Path) -> str:
    """Measure, and say it in Markdown."""
    data = folder / "data"
    megabytes = asked.megabytes or 1_500
    size = write_copies(data, {name: copies(name, share * megabytes) for name, share in SHARES.items()})
    with ExitStack() as stack:
        ours, theirs, floor = (
            stack.enter_context(one) for one in (cohortlake(folder, LONG_LIVED), pathling(folder), duckdb(folder))
        )
        for contender in (ours, theirs):
            contender.ask("ingest", data=data, target=folder / f"lake-{contender.name}")
        sources = {contender: folder / f"lake-{(theirs if contender is theirs else ours).name}" for contender in
                   (ours, theirs, floor)}  # fmt: skip
        rows = {view: checked_rows(sources, view, folder) for view in VIEWS}
        found: dict[str, dict[Contender, list[Measured]]] = {view: {c: [] for c in sources} for view in VIEWS}
        for number in range(asked.rounds or 3):
            for view in VIEWS:
                for contender in in_turn(list(sources), number):
                    found[view][contender].append(run(contender, sources[contender], view, folder / "rows"))
                    shutil.rmtree(folder / "rows")
    head = ["view", "rows", "Cohortlake, s", "Pathling, s", "DuckDB, s", "Pathling / ours", "ours / DuckDB"]
    lines = []
    for view, of_view in found.items():
        times = [of_view[contender] for contender in (ours, theirs, floor)]
        gain, against = ratios(times[1], times[0]), ratios(times[0], times[2])
        seconds = [spread(walls(rounds), 2) for rounds in times]
        lines.append([title(view), f"{rows[view]:,}", *seconds, f"**{spread(gain)}**", spread(against)])
    sizes = ", ".join(f"{name} x {copies(name, share * megabytes)}" for name, share in SHARES.items())
    least = min(statistics.median(ratios(of_view[theirs], of_view[ours])) for of_view in found.values())
    return "\n".join(
        [
            f"{sizes} of hospital A: {size:,.0f} MB of NDJSON, {len(times[0])} rounds. {machine()}.",
            "",
            table(head, lines),
            "",
            f"* The least gain over Pathling is {least:.1f} times (mark: ahead on each).",
            "* All three write the same rows, compared value by value.",
            f"* Ours runs as a session that lives long: `{'; '.join('='.join(pair) for pair in LONG_LIVED.items())}`.",
        ]
    )


def copies(resource: str, megabytes: float) -> int:
    """How many copies of a resource type's records come nearest to a size."""
    return max(1, round(megabytes * 1e6 / len(records(resource))))


def title(view: str) -> str:
    """What a view's definition calls itself."""
    return str(json.loads((DEFINITIONS / f"{view}.json").read_text(encoding="utf-8"))["title"])


def run(contender: Contender, source: Path, view: str, target: Path) -> Measured:
    """Have a view written to Parquet."""
    definition, sql = (DEFINITIONS / f"{view}.{ending}" for ending in ("json", "sql"))
    return contender.ask("view", source=source, definition=definition, sql=sql, target=target)


def checked_rows(sources: Mapping[Contender, Path], view: str, folder: Path) -> int:
    """The rows of a view; these first runs warm the contenders up. Raises AssertionError unless all give the same."""
    connection = engine.connect()
    types: dict[str, str] = {}
    for contender, source in sources.items():
        target = folder / f"{view}-{contender.name}"
        run(contender, source, view, target)
        files = connection.sql(f"FROM read_parquet('{target}/*.parquet')")
        if not types:
            types = {name: str(kind) for name, kind in zip(files.columns, files.types, strict=True)}
        # Pathling gives decimals as text, and of more than six places the first six.
        plain = [name if kind == "VARCHAR" else f"round({name}::DOUBLE, 6) AS {name}" for name, kind in types.items()]
        files.select(", ".join(plain)).create(contender.name)
    first, *others = (contender.name for contender in sources)
    for other in others:
        for left, right in ((first, other), (other, first)):
            differ = connection.sql(f"FROM {left} EXCEPT ALL FROM {right}").fetchall()
            assert not differ, f"{view}: {len(differ)} rows of {left} are not {right}'s, such as {differ[0]}"
    return int(connection.sql(f"FROM {first}").count("*").fetchall()[0][0])
