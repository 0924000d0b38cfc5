"""The page: a matrix a table, the sources behind it, and what is wrong with either."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path as Folder
from typing import Any

import yaml

from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.views import compile_view
from tools.coverage.columns import columns, kept
from tools.coverage.templates import Template, templates

HERE = Folder(__file__).parent
CATALOG = HERE.parents[1] / "catalog"
CONVERTED = ("hl7v2", "ccda", "cpcds", "rif", "x12")
SHOWN = 160

# By format or silo, then by `table.column`, `table`, `*.column` or resource type: why there is nothing.
Reasons = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Cell:
    """A column of a table in one format: its sources, or the reason why it has none; the share that is filled."""

    sources: tuple[str, ...]
    is_constant: bool
    reason: str | None
    filled: float | None
    empty: str | None


@dataclass
class Coverage:
    """Every column of the tables that are views, in every format.

    `measured` is by silo and table the number of `rows` and the share `filled` of each column.
    """

    catalog: Catalog
    formats_folder: Folder
    no_source: Reasons
    empty: Reasons
    measured: Mapping[str, Mapping[str, Any]]
    used: set[tuple[str, str]] = field(default_factory=set)

    @cached_property
    def formats(self) -> dict[str, list[Template] | None]:
        """The templates by format; None where what comes is FHIR already."""
        tabular = [f"csv: {name}" for name, silo in self.catalog.silos.items() if silo.format == "csv"]
        named = {name: templates(self.catalog, name, self.formats_folder) for name in (*tabular, *CONVERTED)}
        return {"fhir_ndjson": None, **named}

    def silo(self, name: str) -> str | None:
        """The bundled silo of a format."""
        if name.startswith("csv: "):
            return name.removeprefix("csv: ")
        return next((silo for silo, declared in self.catalog.silos.items() if declared.format == name), None)

    @cached_property
    def tables(self) -> dict[str, dict[str, dict[str, Cell]]]:
        """Table, column, format to cell."""
        return {name: dict(self._columns(name)) for name, table in sorted(self.catalog.tables.items()) if table.is_view}

    def _columns(self, table: str) -> Iterator[tuple[str, dict[str, Cell]]]:
        view = compile_view(self.catalog.views[table])
        made = {
            name: None
            if found is None
            else [each for each in found if each.resource == view.resource and all(map(each.can_be, kept(view)))]
            for name, found in self.formats.items()
        }
        for column, paths in columns(view).items():
            cells = {}
            for name, maps in made.items():
                named = len(maps or ()) > 1
                given = maps and [
                    replace(leaf, map=each.name if named else "") for each in maps for leaf in each.leaves
                ]
                cells[name] = self._cell(name, table, column, view.resource, given, paths)
            yield column, cells

    def _cell(
        self, name: str, table: str, column: str, resource: str, leaves: list[Any] | None, paths: list[Any]
    ) -> Cell:
        if leaves is None:
            found = tuple(dict.fromkeys(".".join((resource, *path)) for path in paths)) or ("its place",)
            is_constant = False
        elif not paths or all(path == ("id",) for path in paths):
            found, is_constant = ("the record's identity" if paths else "its place",) if leaves else (), False
        else:
            fits = [leaf for leaf in leaves if any(leaf.fills(path) for path in paths)]
            found = tuple(dict.fromkeys(leaf.shown for leaf in fits))
            is_constant = bool(fits) and all(leaf.is_constant and not leaf.when for leaf in fits)
        silo = self.silo(name)
        held = self.measured.get(silo or "", {}).get(table)
        filled = held["filled"].get(column) if held else None
        keys = (f"{table}.{column}", table, f"*.{column}", resource)
        reason = None if found else self._reason(self.no_source, name, keys)
        empty = self._reason(self.empty, silo or "", keys) if found and filled == 0 else None
        return Cell(found, is_constant, reason, filled, empty)

    def _reason(self, reasons: Reasons, name: str, keys: tuple[str, ...]) -> str | None:
        for key in keys:
            if key in reasons.get(name, {}):
                self.used.add((name, key))
                return reasons[name][key]
        return None

    def cells(self) -> Iterator[tuple[str, str, str, Cell]]:
        """(table, column, format, cell) of all."""
        for table, of_table in self.tables.items():
            for column, of_column in of_table.items():
                for name, cell in of_column.items():
                    yield table, column, name, cell

    def wrong(self) -> list[str]:
        """What has neither source nor reason, what is empty with no reason, and the reasons that nothing needs."""
        told = []
        for table, column, name, cell in self.cells():
            if not cell.sources and cell.reason is None:
                told.append(f"{table}.{column} has no source in {name}, and no reason under no_source")
            if cell.sources and cell.filled == 0 and cell.empty is None:
                told.append(f"{table}.{column} is empty in {self.silo(name)}, and no reason under empty")
        declared = {
            (name, key) for reasons in (self.no_source, self.empty) for name in reasons for key in reasons[name]
        }
        return told + [f"the reason of {name}: {key} is not needed" for name, key in sorted(declared - self.used)]


def coverage(folder: Folder = CATALOG) -> Coverage:
    """The coverage of a catalog, with the reasons and the measurements beside this file."""
    reasons = yaml.safe_load((HERE / "reasons.yaml").read_text(encoding="utf-8"))
    measured = json.loads((HERE / "measured.json").read_text(encoding="utf-8"))
    return Coverage(load_catalog(folder), folder / "formats", reasons["no_source"], reasons["empty"], measured)


def page(found: Coverage) -> str:
    """The page in Markdown."""
    lines = [
        "# Coverage: every format, every column of gold",
        "",
        "<!-- Written by `python -m tools.coverage`. -->",
        "",
        "Which field of a source fills a column, by format: read from the templates in `catalog/`, as the",
        "converters read them. A test says when this page is stale, and when a column has neither a source nor a",
        "reason. Templates can lie, so the share of rows that the bundled silo of the format fills stands beside",
        "(`python -m tools.coverage --lake lake` measures it).",
        "",
        "`●` a field of the source · `=` always one value · `–` nothing, with the reason below · `○` mapped, but",
        "empty in the bundled silo, with the reason below. Left out: tables that SQL makes of these.",
    ]
    for table, of_table in found.tables.items():
        lines += ["", f"## {table}", "", *_matrix(found, of_table), "", *_reasons(found, of_table), *_sources(of_table)]
    return "\n".join(lines) + "\n"


def _matrix(found: Coverage, of_table: dict[str, dict[str, Cell]]) -> list[str]:
    names = list(found.formats)
    rows = [f"| column | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for column, cells in of_table.items():
        rows.append(f"| {column} | {' | '.join(_mark(cells[name]) for name in names)} |")
    return rows


def _mark(cell: Cell) -> str:
    if not cell.sources:
        return "–"
    if cell.filled == 0:
        return "○"
    share = "" if cell.filled is None else f" {_percent(cell.filled)}"
    return ("=" if cell.is_constant else "●") + share


def _percent(share: float) -> str:
    # 99.96 % is not all, and 0.04 % is not nothing.
    return "<1 %" if share < 0.01 else "99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def _reasons(found: Coverage, of_table: dict[str, dict[str, Cell]]) -> list[str]:
    told: dict[tuple[str, str], list[str]] = {}
    for column, cells in of_table.items():
        for name, cell in cells.items():
            if cell.reason:
                told.setdefault((name, cell.reason), []).append(column)
            if cell.empty:
                told.setdefault((f"{name}, {found.silo(name)}", cell.empty), []).append(column)
    lines = []
    for (name, reason), of in sorted(told.items()):
        which = "all" if len(of) == len(of_table) else ", ".join(f"`{column}`" for column in of)
        lines.append(f"* {name}: {which}: {reason}")
    return [*lines, ""] if lines else []


def _sources(of_table: dict[str, dict[str, Cell]]) -> list[str]:
    lines = ["<details><summary>Sources</summary>", "", "| column | format | from |", "|---|---|---|"]
    for column, cells in of_table.items():
        for name, cell in cells.items():
            if cell.sources and name != "fhir_ndjson":
                shown = " · ".join(f"`{_cut(source)}`" for source in cell.sources)
                lines.append(f"| {column} | {name} | {'always ' if cell.is_constant else ''}{shown} |")
    return [*lines, "", "</details>"]


def _cut(source: str) -> str:
    text = source if len(source) <= SHOWN else f"{source[:SHOWN]}…"
    return text.replace("|", "\\|").replace("`", "'")
