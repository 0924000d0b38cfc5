"""What users bring: suites as Great Expectations' JSON, and expectation classes, run as given beside generated checks.

```
expectations/own/classes/*.py                         classes of expectations (Great Expectations' own form)
expectations/own/suites/<silo>/<type>/*.json          of one silo's resource type, before it is published
expectations/own/suites/every_silo/<type>/*.json      of a resource type, whichever silo it comes from
expectations/own/suites/gold/<table>/*.json           of a curated table
```

`COHORTLAKE_EXPECTATIONS` names another folder than `expectations/own`. Its README says how a suite is written.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from great_expectations.expectations.core import UnexpectedRowsExpectation
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    Expectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.registry import list_registered_expectation_implementations
from pydantic import BaseModel, ConfigDict, Field

from cohortlake.core.catalog import Catalog, Node, Table
from cohortlake.core.catalog.silo import Severity
from cohortlake.core.catalog.source import Declaration, load
from cohortlake.core.errors import CatalogError
from cohortlake.core.rules import Brought, Check, Kind
from expectations.paths import element_sql, text_sql
from expectations.suites import Judged, meta
from spark_jobs.fhir_types import ARROW
from spark_jobs.staged import PLACE

FOLDER = Path(__file__).parent / "own"
# The files of classes that this process has registered, by SHA-256.
LOADED: set[str] = set()
GOLD, EVERY = "gold", "every_silo"
OF_ROWS = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
# Great Expectations' words for how much a failure matters, as the lake's.
SEVERITIES: dict[str, Severity] = {"critical": "fail", "warning": "quarantine", "info": "warn"}
HINT = "expectations/own/README.md says how a suite is written."


class _Meta(BaseModel):
    """What an expectation's `meta` may say to the lake; all else in it stays as it is."""

    model_config = ConfigDict(extra="allow")
    severity: Severity | None = None
    kind: Kind = "plausibility"
    check: str | None = None


class _Expectation(BaseModel):
    """One expectation of a suite's JSON."""

    model_config = ConfigDict(extra="allow")
    type: str
    kwargs: dict[str, Any] = Field(default={})
    meta: _Meta = Field(default=_Meta())
    severity: Literal["critical", "warning", "info"] | None = None
    description: str | None = None
    notes: Any = None


class _Suite(Declaration):
    """A suite as Great Expectations keeps it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    expectations: list[_Expectation] = Field(min_length=1)


@dataclass(frozen=True)
class OwnSuite:
    """A suite's file, with its checks."""

    path: Path
    scope: str
    table: str
    checks: tuple[Judged, ...]


@dataclass(frozen=True)
class OwnChecks:
    """The brought checks of a staged table, and the columns that they need beside those of the generated checks."""

    checks: tuple[Judged, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


NOTHING = OwnChecks()


def folder() -> Path:
    """Where the suites and classes of users lie."""
    return Path(os.environ.get("COHORTLAKE_EXPECTATIONS") or FOLDER)


def own_suites(root: Path | None = None) -> tuple[OwnSuite, ...]:
    """Every suite that was brought, read and checked. Raises CatalogError naming the file and what is expected."""
    return _read(root or folder())


@cache
def _read(root: Path) -> tuple[OwnSuite, ...]:
    for path in sorted((root / "classes").glob("*.py")):
        _load_class(path)
    found = []
    for path in sorted((root / "suites").rglob("*.json")):
        place = path.relative_to(root / "suites").parts
        if len(place) != 3:
            raise CatalogError(f"{path}: a suite lies in suites/<silo, {EVERY} or {GOLD}>/<type or table>/", HINT)
        found.append(OwnSuite(path, place[0], place[1], tuple(_checks(path, *place[:2]))))
    return tuple(found)


def _load_class(path: Path) -> None:
    """Register the expectation classes of a file; done once for what it says, wherever it lies."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest in LOADED:
        return
    before = set(list_registered_expectation_implementations())
    spec = importlib.util.spec_from_file_location(f"expectations_own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CatalogError(f"{path}: cannot be imported", HINT)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CatalogError(f"{path}: cannot be imported: {type(error).__name__}: {error}", HINT) from error
    made = [one for one in vars(module).values() if _is_class(one) and one.__module__ == module.__name__]
    if not made:
        raise CatalogError(f"{path}: it defines no expectation class", HINT)
    for one in made:
        if one.expectation_type in before:
            raise CatalogError(f"{path}: {one.__name__} would take the place of {one.expectation_type}", HINT)
        if not (one.__doc__ or "").strip():
            raise CatalogError(f"{path}: {one.__name__} has no docstring, which says what it expects", HINT)
    LOADED.add(digest)


def _is_class(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, Expectation)


def _checks(path: Path, scope: str, table: str) -> Iterator[Judged]:
    read = load(path, _Suite)
    taken: dict[str, int] = {}
    for one in read.expectations:
        name = one.meta.check or f"{table} {read.name}: {one.description or _words(one)}"
        taken[name] = taken.get(name, 0) + 1
        name = f"{name} ({taken[name]})" if taken[name] > 1 else name
        severity = one.meta.severity or SEVERITIES[one.severity or "info"]
        check = Check(table, name, one.meta.kind, severity, Brought(one.type), "", f"expectations/own, {path.name}")
        yield _judged(path, scope, one, check)


def _words(one: _Expectation) -> str:
    named = [one.kwargs[key] for key in ("column", "column_A", "column_B") if key in one.kwargs]
    return " ".join([one.type.replace("_", " "), *map(str, [*named, *one.kwargs.get("column_list", [])])])


def _judged(path: Path, scope: str, one: _Expectation, check: Check) -> Judged:
    given = one.meta.model_dump(exclude={"severity", "kind", "check"}) | meta(check, one.description or _words(one))
    weight = {of: word for word, of in SEVERITIES.items()}[check.severity]
    try:
        made = ExpectationConfiguration(
            type=one.type, kwargs=dict(one.kwargs), meta=given, notes=one.notes, description=one.description,
            severity=weight,
        ).to_domain_obj()  # fmt: skip
    except Exception as error:
        raise CatalogError(f"{path}: {one.type}: {str(error).splitlines()[0]}", HINT) from error
    query = made.unexpected_rows_query if isinstance(made, UnexpectedRowsExpectation) else None
    if check.severity == "quarantine":
        if scope == GOLD:
            raise CatalogError(f"{path}: {check.name}: no row of gold is quarantined; say warn or fail", HINT)
        if query is None and not isinstance(made, OF_ROWS):
            raise CatalogError(f"{path}: {one.type} tells no rows, so none can be quarantined; say warn or fail", HINT)
        if query is not None and not ("*" in query or all(name in query for name in PLACE)):
            raise CatalogError(f"{path}: a query that quarantines selects {', '.join(PLACE)}", HINT)
    return Judged(check, made, query, isinstance(made, OF_ROWS))


def check_places(catalog: Catalog) -> None:
    """Raises CatalogError naming the file of a suite that is of no silo, resource type, table or column there is."""
    for suite in own_suites():
        tables = catalog.tables if suite.scope == GOLD else catalog.resources
        if suite.scope not in (GOLD, EVERY, *catalog.silos):
            known = ", ".join([GOLD, EVERY, *catalog.silos])
            raise CatalogError(f"{suite.path}: there is no silo {suite.scope}; expected one of {known}", HINT)
        if suite.table not in tables:
            raise CatalogError(f"{suite.path}: there is no {suite.table}; expected one of {', '.join(tables)}", HINT)
        if suite.scope == GOLD:
            gold_checks(catalog.tables[suite.table])
        else:
            silo_checks(suite.scope, catalog.resources[suite.table])


def silo_checks(silo: str, tree: Node) -> OwnChecks:
    """What was brought for a silo's resource type. Raises CatalogError naming the file that asks for no column."""
    checks: list[Judged] = []
    columns: dict[str, str] = {}
    for suite in own_suites():
        if suite.table == tree.name and suite.scope in (silo, EVERY):
            checks += suite.checks
            for one in suite.checks:
                columns |= {name: _column_sql(suite.path, tree, name) for name in _columns(one) if name not in PLACE}
                columns |= {name: f'"{name}"' for name in _named(one.rows_sql or "", tree) if name not in PLACE}
    return OwnChecks(tuple(checks), columns)


def gold_checks(table: Table) -> tuple[Judged, ...]:
    """What was brought for a curated table. Raises CatalogError naming the file of a column that is not there."""
    checks: list[Judged] = []
    for suite in own_suites():
        if suite.scope == GOLD and suite.table == table.name:
            for name in (name for one in suite.checks for name in _columns(one)):
                if name not in table.columns:
                    raise CatalogError(f"{suite.path}: {table.name} has no column {name}", HINT)
            checks += suite.checks
    return tuple(checks)


def _columns(one: Judged) -> list[str]:
    """The columns that an expectation names."""
    kwargs = one.expectation.configuration.kwargs
    named = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    return [str(name) for name in [*named, *kwargs.get("column_list", [])]]


def _named(query: str, tree: Node) -> list[str]:
    """The root elements that a query names."""
    words = set(re.findall(r"[A-Za-z_]+", query))
    return [name for name in tree.children if name in words]


def _column_sql(path: Path, tree: Node, name: str) -> str:
    node, is_known = tree, True
    for step in name.split("."):
        is_known = is_known and step in node.children
        node = node.children[step] if is_known else node
    if not is_known or node.children:
        raise CatalogError(f"{path}: {tree.name} has no column {name}: name an element that silver types", HINT)
    sql, is_list = element_sql(tree, name)
    if is_list:
        raise CatalogError(f"{path}: {tree.name}.{name} repeats; ask of it with an unexpected_rows_expectation", HINT)
    if node.type == "decimal":
        return f"CAST({sql} AS DOUBLE)"
    return sql if node.type in ARROW else text_sql(sql)
