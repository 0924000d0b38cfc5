"""A view as stages, each a SELECT from the one before, which may make a row of each item of a list.

Spark compiles such stages to loops; lambdas over arrays it interprets, at a third of the speed (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cohortlake.core.views import plan
from spark_jobs import views_sql as F
from spark_jobs.views_collections import Collection
from spark_jobs.views_columns import absent, column
from spark_jobs.views_expressions import Scope
from spark_jobs.views_repeat import iterated
from spark_jobs.views_sql import Alias, Case, Field, Literal, Name, Sql, names


@dataclass(frozen=True)
class Stage:
    """What is selected from the stage before, and the condition that its rows meet."""

    columns: tuple[Sql, ...]
    where: Sql | None = None


@dataclass
class _Value:
    """A column of the view: an expression over the newest stage, until a stage holds it under a name of its own."""

    declared: plan.Column
    sql: Sql


@dataclass
class _Step:
    """A stage in the making: what it adds to the columns of the one before, and the condition on that one."""

    where: Sql | None
    added: dict[str, Sql] = field(default_factory=dict)
    generator: tuple[Name, Name, Sql, bool] | None = None


def stages(select: plan.Select, scope: Scope, where: Sql | None, taken: Iterable[str]) -> list[Stage]:
    """The stages of the rows of a select. `taken` are the names of the columns that the first stage selects from."""
    builder = _Builder(set(map(str.lower, taken)), where)
    values = builder.rows(select, scope, None)
    return builder.stages([value.sql.alias(value.declared.name) for value in values])


def stages_of_several(
    views: Mapping[str, tuple[plan.Select, Sql | None]], scope: Scope, kept: Sequence[str], taken: Iterable[str]
) -> list[Stage]:
    """The stages of several views' rows, in one pass: of each row, the struct of the view that it is of, others null.

    Each view is a select and the condition that it sets. `kept` are columns to select besides.
    """
    builder = _Builder(set(map(str.lower, taken)), None)
    guards = builder.shared(len(views), None)
    rows = []
    for (select, where), mine in zip(views.values(), guards, strict=True):
        if where is not None:
            builder.require(~mine | where)
        rows.append(builder.rows(select, scope, mine))
    # Only now, for what is computed in a stage has its name from then on.
    structs = (F.struct(*(value.sql.alias(value.declared.name) for value in values)) for values in rows)
    made = [F.when(mine, row).alias(name) for name, mine, row in zip(views, guards, structs, strict=True)]
    return builder.stages([*map(Name, kept), *made])


class _Builder:
    def __init__(self, taken: set[str], where: Sql | None) -> None:
        self._taken = taken
        self._where = where
        self._steps: list[_Step] = []
        self._values: list[_Value] = []

    def rows(self, select: plan.Select, scope: Scope, guard: Sql | None) -> list[_Value]:
        """Add the stages of a select; gives its columns in order.

        Where `guard` is not true, the rows are others' rows: none of them is lost, none is added.
        """
        if select.iteration is not None:
            scope, guard = self._iterate(select, select.iteration, scope, guard)
        values = [self._value(declared, scope, guard) for declared in select.columns]
        for inner in select.selects:
            values += self.rows(inner, scope, guard)
        return values + (self._union(select.union, scope, guard) if select.union else [])

    def stages(self, columns: Sequence[Sql]) -> list[Stage]:
        """The stages, each with no more than those after it need; the last one selects `columns`."""
        found = [Stage(tuple(columns), self._where)]
        needed = dict.fromkeys(name for sql in (*columns, self._where) for name in names(sql))
        for step in reversed(self._steps):
            made: list[Alias] = [sql.alias(name) for name, sql in step.added.items() if name in needed]
            if step.generator:
                place, item, items, is_outer = step.generator
                ending = "_outer" if is_outer else ""
                if place.name in needed:
                    made.append(Alias(F.call(f"posexplode{ending}", items), (place.name, item.name)))
                else:
                    made.append(Alias(F.call(f"explode{ending}", items), (item.name,)))
            new = {name for sql in made for name in sql.names}
            kept = [name for name in needed if name not in new]
            found.append(Stage((*map(Name, kept), *made), step.where))
            used = (name for sql in (*made, step.where) for name in names(sql))
            needed = dict.fromkeys((*kept, *used))
        return found[::-1]

    def _value(self, declared: plan.Column, scope: Scope, guard: Sql | None) -> _Value:
        sql = column(declared, scope)
        value = _Value(declared, sql if guard is None else F.when(guard, sql).otherwise(absent(declared)))
        self._values.append(value)
        return value

    def _name(self, wish: str) -> Name:
        """A name that no column has."""
        found, number = wish, 1
        while found.lower() in self._taken:
            number += 1
            found = f"{wish}{number}"
        self._taken.add(found.lower())
        return Name(found)

    def _step(self) -> _Step:
        """Begin a stage. What has been computed so far is computed before, not anew for each row that it makes."""
        costly = [value for value in self._values if not _is_plain(value.sql)]
        step = _Step(self._where)
        self._where = None
        if costly:
            for value in costly:
                name = self._name(value.declared.name)
                step.added[name.name] = value.sql
                value.sql = name
            self._steps.append(step)
            step = _Step(None)
        self._steps.append(step)
        return step

    def _iterate(
        self, select: plan.Select, iteration: plan.Expression, scope: Scope, guard: Sql | None
    ) -> tuple[Scope, Sql | None]:
        """Add a stage with a row for each item; gives the scope of the item and what guards its columns."""
        items = iterated(select, iteration, scope)
        item, place = self._name("item"), self._name("place")
        step = self._step()
        if items.is_list:
            is_outer = guard is not None or select.or_null
            array = _within(guard, items.column)
            step.generator = (place, item, array, is_outer)
            index: Sql = place
            is_there = place.isNotNull()
        else:
            is_outer = True
            step.added[item.name] = _within(guard, items.column)
            index = F.lit(0)
            is_there = item.isNotNull()
        inner = replace(scope, focus=Collection(item, items.type), row_index=index)
        if select.or_null:
            return inner, is_there if guard is None else guard & is_there
        if is_outer:
            self.require(is_there if guard is None else ~guard | is_there)
        return inner, guard

    def require(self, condition: Sql) -> None:
        """Leave out the rows that do not meet a condition, from the next stage on."""
        self._where = condition if self._where is None else self._where & condition

    def shared(self, shares: int, guard: Sql | None) -> list[Sql]:
        """Add a stage with each row once a share; gives what tells whether a row is of a share, for each."""
        share, step = self._name("share"), self._step()
        step.generator = (
            self._name("place"),
            share,
            _within(guard, F.array(*range(shares))),
            guard is not None,
        )
        return [F.equal_null(share, number) for number in range(shares)]

    def _union(self, branches: Sequence[plan.Select], scope: Scope, guard: Sql | None) -> list[_Value]:
        """Add a stage with each row once a branch; each branch makes rows of its own ones."""
        guards = self.shared(len(branches), guard)
        before = len(self._values)
        rows = [self.rows(select, scope, mine) for select, mine in zip(branches, guards, strict=True)]
        del self._values[before:]
        made = [_chosen(guards, values) for values in zip(*rows, strict=True)]
        self._values += made
        return made


def _within(guard: Sql | None, sql: Sql) -> Sql:
    """The expression where the guard holds, if there is one; else null."""
    return sql if guard is None else F.when(guard, sql)


def _chosen(guards: Sequence[Sql], values: Sequence[_Value]) -> _Value:
    """The column of a union: that of the branch whose row it is."""
    cases = []
    for guard, value in zip(guards, values, strict=True):
        match value.sql:
            case Case(((condition, sql),)) if condition is guard:  # which it need not ask twice
                cases.append((guard, sql))
            case sql:
                cases.append((guard, sql))
    declared = values[0].declared
    return _Value(declared, Case(tuple(cases), absent(declared)))


def _is_plain(sql: Sql) -> bool:
    """Whether it costs nothing to compute it for each row that is made of a row."""
    return isinstance(sql, Literal | Name) or (isinstance(sql, Field) and _is_plain(sql.of))
