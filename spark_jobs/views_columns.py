"""Expression trees as pyspark's columns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_jobs.views_sql import Alias, Call, Case, Cast, Field, Key, Lambda, Literal, Name, Sql, Variable
from spark_jobs.views_text import text

OPERATORS: dict[str, Callable[..., Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "AND": operator.and_,
    "OR": operator.or_,
    "NOT": operator.invert,
}


def as_column(expression: Sql, has_keys: bool = False) -> Column:
    """A column that computes the expression: parsed by Spark from its text, or where it `has_keys` (`Key`), which are
    functions of columns, made node by node."""
    return _column(expression, {}) if has_keys else F.expr(text(expression))


def _column(expression: Sql, known: Mapping[Variable, Column]) -> Column:
    match expression:
        case Literal(value):
            return F.lit(value)
        case Name(name):
            return F.col(f"`{name}`")
        case Variable():
            return known[expression]
        case Field(of, name):
            return _column(of, known).getField(name)
        case Alias(of, name):
            return _column(of, known).alias(name)
        case Cast(of, sql_type, is_try):
            column = _column(of, known)
            return column.try_cast(sql_type) if is_try else column.cast(sql_type)
        case Case(branches, other):
            case_ = F
            for condition, then in branches:
                case_ = case_.when(_column(condition, known), _column(then, known))
            return case_ if other is None else case_.otherwise(_column(other, known))
        case Key(make, resource_type, resource_id):
            return make(_column(resource_type, known), _column(resource_id, known))
        case Call(name, (*others, Lambda() as function)):
            return getattr(F, name)(*(_column(column, known) for column in others), _python(function, known))
        case Call(name, arguments):
            columns = [_column(argument, known) for argument in arguments]
            return OPERATORS[name](*columns) if name in OPERATORS else F.call_function(name, *columns)
    raise NotImplementedError(type(expression).__name__)


def _python(function: Lambda, known: Mapping[Variable, Column]) -> Callable[..., Column]:
    """A lambda as the Python function that pyspark takes, which counts its arguments."""
    first, *others = function.variables
    if not others:
        return lambda one: _column(function.body, {**known, first: one})
    return lambda one, other: _column(function.body, {**known, first: one, others[0]: other})
