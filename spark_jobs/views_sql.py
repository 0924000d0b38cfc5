"""Spark SQL expressions as trees, made in pure Python: `F.lit(1) + F.col("a")`, as with pyspark's own columns.

A view becomes one such tree, which is text to read and to run (`views_text`). pyspark's columns are made by a call into
the JVM for every node, seven times slower for a large view, and by messages that Spark Connect nests a hundred deep.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.sql.types import DataType


class Sql:
    """An expression. Operators build on it, `==` among them."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Call:  # type: ignore[override]
        return call("=", self, other)

    def __ne__(self, other: object) -> Call:  # type: ignore[override]
        return call("!=", self, other)

    def __lt__(self, other: object) -> Call:
        return call("<", self, other)

    def __le__(self, other: object) -> Call:
        return call("<=", self, other)

    def __gt__(self, other: object) -> Call:
        return call(">", self, other)

    def __ge__(self, other: object) -> Call:
        return call(">=", self, other)

    def __add__(self, other: object) -> Call:
        return call("+", self, other)

    def __sub__(self, other: object) -> Call:
        return call("-", self, other)

    def __and__(self, other: object) -> Call:
        return call("AND", self, other)

    def __or__(self, other: object) -> Call:
        return call("OR", self, other)

    def __invert__(self) -> Call:
        return call("NOT", self)

    def isNotNull(self) -> Call:  # noqa: N802 (pyspark's name)
        return call("isnotnull", self)

    def getField(self, name: str) -> Field:  # noqa: N802 (pyspark's name)
        return Field(self, name)

    def cast(self, sql_type: str | DataType) -> Cast:
        return Cast(self, _type_name(sql_type), is_try=False)

    def try_cast(self, sql_type: str | DataType) -> Cast:
        return Cast(self, _type_name(sql_type), is_try=True)

    def alias(self, name: str) -> Alias:
        return Alias(self, (name,))


@dataclass(frozen=True, eq=False)
class Literal(Sql):
    value: str | int | bool | None


@dataclass(frozen=True, eq=False)
class Name(Sql):
    """A column of the rows."""

    name: str


@dataclass(frozen=True, eq=False)
class Variable(Sql):
    """A lambda's argument; it is known by its identity."""


@dataclass(frozen=True, eq=False)
class Lambda(Sql):
    variables: tuple[Variable, ...]
    body: Sql


@dataclass(frozen=True, eq=False)
class Call(Sql):
    """A function or an operator, by its name in Spark SQL."""

    name: str
    arguments: tuple[Sql, ...]


@dataclass(frozen=True, eq=False)
class Field(Sql):
    of: Sql
    name: str


@dataclass(frozen=True, eq=False)
class Cast(Sql):
    of: Sql
    sql_type: str
    is_try: bool


@dataclass(frozen=True, eq=False)
class Alias(Sql):
    """A column under a name, or a generator's columns under theirs."""

    of: Sql
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Case(Sql):
    branches: tuple[tuple[Sql, Sql], ...]
    other: Sql | None = None

    def when(self, condition: Sql, value: object) -> Case:
        return Case((*self.branches, (condition, lit(value))))

    def otherwise(self, value: object) -> Case:
        return Case(self.branches, lit(value))


def _type_name(sql_type: str | DataType) -> str:
    return sql_type if isinstance(sql_type, str) else sql_type.simpleString()


def lit(value: Any) -> Sql:
    """A value as an expression; an expression stays what it is, and a Python function becomes a lambda."""
    if isinstance(value, Sql):
        return value
    if callable(value):
        variables = tuple(Variable() for _ in inspect.signature(value).parameters)
        return Lambda(variables, value(*variables))
    return Literal(value)


def col(name: str) -> Name:
    return Name(name)


def when(condition: Sql, value: object) -> Case:
    return Case(((condition, lit(value)),))


def call(name: str, *arguments: object) -> Call:
    return Call(name, tuple(lit(argument) for argument in arguments))


def names(expression: object) -> Iterator[str]:
    """The columns that an expression reads, in the order in which it names them."""
    if isinstance(expression, Name):
        yield expression.name
    elif isinstance(expression, Sql | tuple):
        parts = expression if isinstance(expression, tuple) else vars(expression).values()
        for part in parts:
            yield from names(part)


def __getattr__(name: str) -> Callable[..., Call]:
    """Any other name is Spark SQL's function of that name."""
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *arguments: call(name, *arguments)
