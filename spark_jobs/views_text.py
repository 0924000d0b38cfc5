"""Expression trees as the text of Spark SQL, laid out to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pyspark.sql import Column
from pyspark.sql import functions as F

from spark_jobs.views_sql import Alias, Call, Case, Cast, Field, Lambda, Literal, Name, Sql, Variable

WIDTH = 110
INFIX = frozenset(("=", "!=", "<", "<=", ">", ">=", "+", "-", "AND", "OR"))
# What Spark's ANSI mode keeps for itself, besides words that it takes for names nowhere.
RESERVED = frozenset(
    """
    all and anti any as authorization between both case cast check collate column constraint create cross current_date
    current_time current_timestamp current_user distinct else end escape except execute exists false fetch filter for
    foreign from full grant group having in inner intersect interval into is join lateral leading left like minus
    natural not null on only or order outer overlaps primary references right select semi session_user some sql table
    then time to trailing true union unique unknown user using when where window with within
    """.split()  # noqa: SIM905 (a word a line would bury the rest)
)
ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def as_column(expression: Sql) -> Column:
    """A column that computes the expression, which Spark parses from its text."""
    return F.expr(text(expression))


def text(expression: Sql) -> str:
    """An expression on one line."""
    return _Printer().part(expression).flat


def select_text(columns: Sequence[Sql], source: str, where: Sql | None = None) -> str:
    """A SELECT of expressions from a table, or from a subquery in brackets."""
    printer = _Printer()
    shown = ",\n".join(f"  {printer.part(column).laid_out(2)}" for column in columns)
    condition = "" if where is None else f"\nWHERE {printer.part(where).laid_out(0)}"
    return f"SELECT\n{shown}\nFROM {source}{condition}"


def bracketed(select: str) -> str:
    """A SELECT as a subquery."""
    indented = select.replace("\n", "\n  ")
    return f"(\n  {indented}\n)"


def quoted(name: str) -> str:
    """A name that Spark SQL takes as it is."""
    is_plain = re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in RESERVED
    return name if is_plain else "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True)
class _Part:
    """Text of some parts, between a head and a tail. `glue` parts them: without one they stay on a line."""

    head: str
    parts: tuple[_Part, ...] = ()
    tail: str = ""
    glue: str | None = None

    @cached_property
    def flat(self) -> str:
        between = "" if self.glue is None else f"{self.glue} "
        return self.head + between.join(part.flat for part in self.parts) + self.tail

    def laid_out(self, indent: int) -> str:
        """The text, a part a line where one line would be too long."""
        if indent + len(self.flat) <= WIDTH:
            return self.flat
        if self.glue is None:
            return self.head + "".join(part.laid_out(indent) for part in self.parts) + self.tail
        start = "\n" + " " * (indent + 2)
        parts = f"{self.glue}{start}".join(part.laid_out(indent + 2) for part in self.parts)
        return f"{self.head.rstrip()}{start}{parts}\n{' ' * indent}{self.tail.lstrip()}"


@dataclass
class _Printer:
    """Gives lambdas' arguments names in the order in which they are met."""

    names: dict[Variable, str] = field(default_factory=dict)

    def part(self, expression: Sql) -> _Part:
        match expression:
            case Literal(value):
                return _Part(_literal(value))
            case Name(name):
                return _Part(quoted(name))
            case Variable():
                return _Part(self.names[expression])
            case Field(of, name):
                return self._field(of, name)
            case Alias(of, (name,)):
                return _Part("", (self.part(of),), f" AS {quoted(name)}")
            case Alias(of, several):
                return _Part("", (self.part(of),), f" AS ({', '.join(map(quoted, several))})")
            case Cast(of, sql_type, is_try):
                return _Part("TRY_CAST(" if is_try else "CAST(", (self.part(of),), f" AS {sql_type})")
            case Lambda(variables, body):
                names = [self.names.setdefault(variable, f"x{len(self.names) + 1}") for variable in variables]
                return _Part(f"({', '.join(names)}) -> " if names[1:] else f"{names[0]} -> ", (self.part(body),))
            case Case(branches, other):
                cases = [
                    (word, side) for branch in branches for word, side in zip(("WHEN", "THEN"), branch, strict=True)
                ]
                cases += [] if other is None else [("ELSE", other)]
                parts = tuple(_Part(f"{word} ", (self.part(side),)) for word, side in cases)
                return _Part("CASE ", parts, " END", "")
            case Call("NOT", (operand,)):
                return _Part("(NOT ", (self.part(operand),), ")")
            case Call(name, arguments):
                parts = tuple(self.part(argument) for argument in arguments)
                return _Part("(", parts, ")", f" {name}") if name in INFIX else _Part(f"{name}(", parts, ")", ",")
        raise NotImplementedError(type(expression).__name__)

    def _field(self, of: Sql, name: str) -> _Part:
        is_closed = isinstance(of, Name | Variable | Field) or (isinstance(of, Call) and of.name.isidentifier())
        part = self.part(of)
        return _Part("", (part,), f".{quoted(name)}") if is_closed else _Part("(", (part,), f").{quoted(name)}")


def _literal(value: str | int | bool | None) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
    return "'" + "".join(ESCAPES.get(letter, letter) for letter in value) + "'"
