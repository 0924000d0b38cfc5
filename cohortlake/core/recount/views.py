"""The recount of curated views: every live resource of a type is in the table, or left out for a reason that is named.

DuckDB reads silver and makes the view's rows of its own (`paths`), with keys by its own SHA-256; then the staged table
is read. Both sides are tallied over all columns that the recount knows to make; those that it does not are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cohortlake.core.catalog.resource import Node
from cohortlake.core.catalog.table import IS_COUNTED, Table
from cohortlake.core.recount.made import note_displays, recount_made
from cohortlake.core.recount.paths import NotCountedError, Scope, constants, typed
from cohortlake.core.recount.sql_tables import source_of
from cohortlake.core.recount.tally import Tally, tally
from cohortlake.core.sql import identifier, literal

KEY_DIGITS = 32
OWN_KEY = "getResourceKey()"
SILO = "silo"
DOUBLE, NO_ROW, LOST = "the same fact stands by another door", "the view makes no row of it", "not accounted for"


@dataclass
class View:
    """What came of a type's live resources in one table: in it, or left out by reason; and both tallies of its rows.

    `uncounted` are columns that the recount does not make, with why; `problem` says why it could make none, and
    `problems` what is wrong with columns that are made of others.
    """

    resources: int = 0
    present: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    must: Tally = field(default_factory=Tally)
    does: Tally = field(default_factory=Tally)
    uncounted: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Silver:
    """A table of silver as it is in a version, and the tree of its type."""

    table: Path
    version: int
    tree: Node


def prepare(connection: Any, secret: str, doubles: Any, members: Any) -> None:
    """Give a connection the lake's secret, the keys that others stand for, and the person of each patient's key.

    `doubles` is an Arrow table of resource_type, silo, id, stands_silo, stands_id; `members` one of silo, patient_id,
    person_id.
    """
    connection.execute("SET VARIABLE secret = $1", [secret])
    connection.register("told_twice", doubles)
    old, new = (_key("resource_type", id_, silo) for silo, id_ in (("silo", "id"), ("stands_silo", "stands_id")))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE doubles AS SELECT {old} AS key, {new} AS stands FROM told_twice")
    connection.register("linked", members)
    key = _key("'Patient'", "patient_id")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE people AS SELECT {key} AS key, person_id AS person FROM linked")


def _key(kind: str, key: str, silo: str = SILO) -> str:
    """The pseudonym of a resource, null for no id."""
    whole = f"getvariable('secret') || '|' || {silo} || '|' || ({kind}) || '|' || ({key})"
    return f"left(sha256({whole}), {KEY_DIGITS})"


def recount_view(connection: Any, silver: Silver, view: Mapping[str, Any], table: Table, files: Sequence[Path]) -> View:
    """Count a view's rows in the files of its table, staged or live; `prepare` came first."""
    import duckdb

    found = View()
    scope = Scope(silver.tree, _key, constants(view))
    live = f"delta_scan({literal(silver.table)}, version = {silver.version})"
    _staged(connection, table, files)
    try:
        wheres = [(_reason(where), scope.evaluate(where["path"]).sql) for where in view.get("where", ())]
        branches = list(_branches(scope, view["select"]))
        made = [_columns(branch, table) for branch in branches]
    except NotCountedError as error:
        return _not_counted(connection, found, table, live, str(error))
    for columns in made:
        found.uncounted |= {name: str(why) for name, why in columns.items() if isinstance(why, NotCountedError)}
    known = (*table.viewed, *((IS_COUNTED,) if table.counted_statuses else ()))
    can_be = [name for name in known if name not in found.uncounted]
    # A display is elected over all silos' codings (`recount_made`); the view's own stands where there is no code.
    counted = [name for name in can_be if name not in table.displays]
    passed = " AND ".join(f"coalesce(({sql}), false)" for _, sql in wheres) or "true"
    own = _key(literal(silver.tree.type), "id")
    keyed = f"(SELECT *, {own} AS _key FROM {live})"
    unions = [_select(branch, columns, can_be, keyed, passed) for branch, columns in zip(branches, made, strict=True)]
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE must_rows AS {_standing(' UNION ALL '.join(unions), can_be)}")
    except duckdb.BinderException:
        # Silver that an earlier catalog typed has not all elements that the view reads; the job finds them in `_rest`.
        return _not_counted(connection, found, table, live, "silver lacks elements that the catalog types")
    _accounted(connection, found, live, wheres, own, _key_column(branches, table))
    found.must = tally(connection, "must_rows", counted)
    found.does = tally(connection, "staged_rows", counted)
    shown = ((name, pair) for name, pair in table.displays.items() if name not in found.uncounted)
    found.problems = [problem for name, pair in shown if (problem := _own_words(connection, table, name, pair))]
    found.problems += recount_made(connection, table)
    note_displays(connection, table, can_be)
    return found


def _own_words(connection: Any, table: Table, name: str, pair: tuple[str, str]) -> str:
    """Whether a display without a code is what the view says; empty if so."""
    bare = " OR ".join(f"{identifier(one)} IS NULL" for one in pair)
    must, does = (
        tally(connection, f"{rows} WHERE {bare}", [*table.key, name]) for rows in ("must_rows", "staged_rows")
    )
    return "" if must == does else f"{name} without a code is not what the resources say"


def _key_column(branches: Sequence[_Branch], table: Table) -> str:
    """The column that holds the resource's own key, whatever the table declares as its key: that may be wrong."""
    columns = (column for branch in branches for column, _ in branch.columns)
    return next((str(column["name"]) for column in columns if column["path"] == OWN_KEY), table.key[0])


def _not_counted(connection: Any, found: View, table: Table, live: str, problem: str) -> View:
    found.problem = problem
    found.resources = connection.execute(f"SELECT count(*) FROM {live}").fetchone()[0]
    found.does = tally(connection, "staged_rows", list(table.columns))
    return found


def _reason(where: Mapping[str, Any]) -> str:
    return str(where.get("description") or where["path"])


def _staged(connection: Any, table: Table, files: Sequence[Path]) -> None:
    """View `staged_rows`: what the files hold."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW staged_rows AS SELECT * FROM {source_of(table, files)}")


@dataclass(frozen=True)
class _Branch:
    """One way through a view's unions: the columns with their scopes, and the lists that it goes through."""

    columns: tuple[tuple[Mapping[str, Any], Scope], ...] = ()
    lists: tuple[tuple[str, str, bool], ...] = ()

    def __add__(self, other: _Branch) -> _Branch:
        return _Branch(self.columns + other.columns, self.lists + other.lists)


def _branches(scope: Scope, selects: Sequence[Mapping[str, Any]]) -> Iterator[_Branch]:
    """Every combination of the alternatives of the selects."""
    if not selects:
        yield _Branch()
        return
    for first in _of_select(scope, selects[0]):
        for rest in _branches(scope, selects[1:]):
            yield first + rest


def _of_select(scope: Scope, select: Mapping[str, Any]) -> Iterator[_Branch]:
    if "repeat" in select:
        raise NotCountedError("repeat")
    here = _Branch()
    if path := select.get("forEach") or select.get("forEachOrNull"):
        items = scope.evaluate(path)
        if items.node is None:
            raise NotCountedError(f"forEach {path}")
        name = f"each{next(scope.names)}"
        listed = items.sql if items.is_list else f"CASE WHEN ({items.sql}) IS NOT NULL THEN [{items.sql}] END"
        here = _Branch(lists=((name, listed, "forEachOrNull" in select),))
        scope = scope.on(f"{name}_item", items.node, f"{name}_place")
    here += _Branch(columns=tuple((column, scope) for column in select.get("column", ())))
    for inner in _branches(scope, select.get("select", ())):
        if not select.get("unionAll"):
            yield here + inner
        for other in select.get("unionAll", ()):
            for way in _of_select(scope, other):
                yield here + inner + way


def _columns(branch: _Branch, table: Table) -> dict[str, str | NotCountedError]:
    """The SQL of each of the table's columns that the view makes, or why there is none."""
    made: dict[str, str | NotCountedError] = {SILO: SILO} if SILO in table.columns else {}
    for column, scope in branch.columns:
        name = column["name"]
        if name in table.columns:
            try:
                made[name] = typed(scope.evaluate(column["path"]), _tag(column), table.columns[name].type)
            except NotCountedError as error:
                made[name] = error
    if table.counted_statuses:
        made[IS_COUNTED] = _is_counted(table, made)
    return made


def _is_counted(table: Table, columns: Mapping[str, str | NotCountedError]) -> str | NotCountedError:
    """Whether a row counts, by what the table declares of its statuses."""
    tests = []
    for name, codes in table.counted_statuses.items():
        sql = columns[name]
        if isinstance(sql, NotCountedError):
            return sql
        listed = ", ".join(literal(code) for code in codes.counted)
        tests.append(f"coalesce(({sql}) IN ({listed}), {str(codes.absent == 'counted').lower()})")
    return " AND ".join(tests)


def _tag(column: Mapping[str, Any]) -> str | None:
    return next((tag["value"] for tag in column.get("tag", ()) if tag.get("name") == "ansi/type"), None)


def _select(
    branch: _Branch, columns: Mapping[str, str | NotCountedError], counted: Sequence[str], live: str, passed: str
) -> str:
    """The rows of a branch with their key; what is of the resource itself is made before its lists part."""
    whole = {SILO, *(column["name"] for column, scope in branch.columns if scope.focus is None)} & set(counted)
    hoisted = "".join(f", {columns[name]} AS {identifier(f'whole_{name}')}" for name in counted if name in whole)
    rows = f"(SELECT *{hoisted} FROM {live} WHERE {passed})"
    for name, listed, is_outer in branch.lists:
        is_some = f"len({name}_list) > 0"
        # An empty list makes a row of nulls where one is due.
        items = f"CASE WHEN {is_some} THEN {name}_list ELSE [NULL] END" if is_outer else f"{name}_list"
        place = f"CASE WHEN {is_some} THEN generate_subscripts({items}, 1) - 1 END"
        with_list = f"(SELECT *, {listed} AS {name}_list FROM {rows})"
        rows = f"(SELECT *, unnest({items}) AS {name}_item, {place} AS {name}_place FROM {with_list})"
    made = {name: identifier(f"whole_{name}") if name in whole else columns[name] for name in counted}
    return f"SELECT _key, {', '.join(f'{sql} AS {identifier(name)}' for name, sql in made.items())} FROM {rows}"


def _standing(rows: str, counted: Sequence[str]) -> str:
    """The rows of resources that stand for themselves; a key that another stands for is that other's."""
    keys = [name for name in counted if name.endswith("_key")]
    new = ", ".join(f"coalesce(d{n}.stands, m.{identifier(name)}) AS {identifier(name)}" for n, name in enumerate(keys))
    joins = "".join(f" LEFT JOIN doubles d{n} ON d{n}.key = m.{identifier(name)}" for n, name in enumerate(keys))
    replaced = f" REPLACE ({new})" if keys else ""
    return f"SELECT m.*{replaced} FROM ({rows}) m ANTI JOIN doubles o ON o.key = m._key{joins}"


def _accounted(connection: Any, found: View, live: str, wheres: Sequence[tuple[str, str]], own: str, key: str) -> None:
    """Sort the type's live resources: in the table, or left out by the first reason that holds."""
    tests = [f"WHEN _key IN (SELECT key FROM doubles) THEN {literal(DOUBLE)}"]
    tests += [f"WHEN NOT coalesce(({sql}), false) THEN {literal(reason)}" for reason, sql in wheres]
    tests += [f"WHEN _key NOT IN (SELECT _key FROM must_rows) THEN {literal(NO_ROW)}"]
    is_there = f"_key IN (SELECT {identifier(key)} FROM staged_rows WHERE {identifier(key)} IS NOT NULL)"
    sorted_ = (
        f"SELECT {is_there} AS is_there, CASE {' '.join(tests)} END AS reason, count(*) "
        f"FROM (SELECT *, {own} AS _key FROM {live}) GROUP BY ALL"
    )
    for there, reason, count in connection.execute(sorted_).fetchall():
        found.resources += count
        if there and reason is None:
            found.present += count
        elif there:
            found.left_out[f"in the table although: {reason}"] = count
        else:
            found.left_out[reason or LOST] = found.left_out.get(reason or LOST, 0) + count
