"""Records of delimited claims to FHIR, by the format's declarations."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache

from cohortlake.core.claims.declared import Claims, load_claims
from cohortlake.core.claims.layout import Layout, NoLayoutError, layout_of, plain
from cohortlake.core.claims.run import Cells, Run, Scope, new_run
from cohortlake.core.claims.source import Read, ResourceMaker, RowSource
from cohortlake.core.claims.values import convert
from cohortlake.core.convert import Converted, Options, Problem, Record
from cohortlake.core.language.required import complete
from cohortlake.core.readers.delimited import NotATableError, Table, read


@dataclass(frozen=True)
class Compiled:
    """A format's maps for one header.

    `missing` are the texts that mean no value, by place; `unmapped` the places of columns that nothing takes.
    """

    layout: Layout
    makes: list[ResourceMaker]
    updated: Read | None
    missing: list[tuple[int, frozenset[str]]]
    unmapped: list[tuple[int, str]]


class Mapper:
    """The mapper of one format."""

    def __init__(self, declared: Claims) -> None:
        self.declared = declared
        self.compiled = lru_cache(maxsize=64)(self._compile)

    def _compile(self, columns: tuple[str, ...]) -> Compiled:
        layout = layout_of(columns, self.declared)
        source, shared = RowSource(self.declared, layout), self.declared.shared
        makes = [source.resource(name) for name in layout.kind.makes]
        updated = source.updated()
        missing = [
            (place, frozenset(texts))
            for name, texts in shared.missing.items()
            if (place := layout.place(name)) is not None
        ]
        for name in (*layout.kind.key, layout.kind.line or ""):
            source.column(name)
        unmapped = [
            (place, name)
            for place, name in enumerate(columns)
            if plain(name) not in source.taken and not _is_left_out(name, layout)
        ]
        return Compiled(layout, makes, updated, missing, unmapped)

    def to_fhir(self, record: Record, options: Options) -> Converted:
        """The resources of a record. What cannot be read is its one problem; nothing in it raises."""
        try:
            table = read(record.payload)
            if table is None:
                return Converted(problems=[Problem("there is nothing in it", "header")])
            compiled = self.compiled(table.columns)
        except (NotATableError, NoLayoutError) as error:
            return Converted(problems=[Problem(str(error), "header")])
        run = new_run(self.declared, options)
        rows, problem = _rows(table, record.payload, compiled, run)
        problem = problem or _absent(rows, compiled.layout)
        if problem:
            return Converted(problems=[problem])
        for place, name in compiled.unmapped:
            count = sum(bool(row[place]) for row in rows)
            if count:
                run.unmapped[name] += count
        scope = Scope(run, rows[0], rows)
        self._make(compiled, scope)
        return Converted(run.finished(), list(run.problems.values()), run.unmapped, run.codes)

    def _make(self, compiled: Compiled, scope: Scope) -> None:
        run = scope.run
        updated = convert(compiled.updated(scope), "instant") if compiled.updated else None
        if updated:
            run.meta["lastUpdated"] = updated
        for maker in compiled.makes:
            run.numbers.clear()
            maker.make(scope)
        for (kind, _), values in run.resources.items():
            for path in complete(values, kind, kind):
                run.warn("required by FHIR and not said: marked as absent", path)


def _is_left_out(name: str, layout: Layout) -> bool:
    return any(fnmatchcase(plain(name), plain(pattern)) for pattern in layout.kind.left_out)


def _rows(table: Table, payload: bytes, compiled: Compiled, run: Run) -> tuple[list[Cells], Problem | None]:
    """The rows of a record, once each."""
    rows: list[Cells] = []
    seen: set[bytes] = set()
    line = compiled.layout.place(compiled.layout.kind.line or "")
    for row in table.rows(payload):
        if line is not None and row.raw.strip() in seen:
            run.warn("a line that is there twice counts once", table.columns[line])
            continue
        seen.add(row.raw.strip())
        try:
            cells = row.cells(table.delimiter, len(table.columns))
        except NotATableError as error:
            return [], Problem(f"a row that is not as it should be: {error}", f"line {row.line}")
        for place, texts in compiled.missing:
            if cells[place] in texts:
                run.warn(f"{cells[place]} stands for nothing", table.columns[place])
                cells[place] = ""
        rows.append(Cells(cells))
    if line is not None and all(row[line].isascii() and row[line].isdigit() for row in rows):
        # (so that the order in which a file has a claim's lines changes nothing)
        rows.sort(key=lambda row: int(row[line]))
    return rows, None if rows else Problem("there is no line under the header", "line 2")


def _absent(rows: list[Cells], layout: Layout) -> Problem | None:
    """The first required column without a value."""
    for name in layout.kind.needed:
        place = layout.place(name)
        if place is not None and not any(row[place] for row in rows):
            return Problem(f"{name} is empty", name)
    return None


@cache
def mapper(name: str) -> Mapper:
    """The mapper of a format, compiled once."""
    return Mapper(load_claims(name))
