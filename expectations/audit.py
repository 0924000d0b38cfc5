"""The audit frame: a staged table flattened to the columns that its checks judge, a row a staged row.

A list is judged by its first element that breaks the rule, or by its first where none does, so that one scalar column
says for the whole list whether it passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from cohortlake.core.catalog import Node
from cohortlake.core.checks import (
    FHIR_DATES,
    Check,
    InLife,
    Matches,
    OneOf,
    Ordered,
    Present,
    Resolves,
    WellFormed,
    Within,
)
from expectations.paths import element_sql, find, literal, period_seconds, present_sql, text_sql
from spark_jobs.fhir_types import ARROW

KEY = ["_file_hash", "_offset", "id"]
# The names of the checks across tables that a row failed, from `expectations.links`.
FAILED = "_failed"


@dataclass(frozen=True)
class Audited:
    """A check with the column of the audit frame that it judges, and that column's SQL."""

    check: Check
    column: str
    sql: str

    @property
    def is_across(self) -> bool:
        """Whether it is judged against other tables."""
        return isinstance(self.check.rule, Resolves | InLife)


def audit_columns(checks: Iterable[Check], tree: Node) -> list[Audited]:
    """The columns of row checks; checks that judge the same value share one."""
    found: list[Audited] = []
    taken: dict[str, str] = {}
    for check in checks:
        item = _audited(check, tree)
        while taken.setdefault(item.column, item.sql) != item.sql:
            item = replace(item, column=f"{item.column}*")
        found.append(item)
    return found


def _audited(check: Check, tree: Node) -> Audited:
    path = check.element.replace(".", " ")
    if check.sql:
        return Audited(check, path, check.sql)
    rule = check.rule
    if isinstance(rule, Resolves):
        return Audited(check, f"{path} resolves", present_sql(tree, check.element))
    if isinstance(rule, InLife):
        return Audited(check, f"{path} in life ({rule.edge})", present_sql(tree, check.element))
    if isinstance(rule, Ordered):
        return Audited(check, f"{path} seconds", period_seconds(element_sql(tree, check.element)[0]))
    is_choice = check.element.endswith("[x]")
    node = None if is_choice else find(tree, check.element)
    if isinstance(rule, Present) and (node is None or node.children or element_sql(tree, check.element)[1]):
        return Audited(check, f"{path} (any)", f"CASE WHEN {present_sql(tree, check.element)} THEN true END")
    sql, is_list = element_sql(tree, check.element)
    if node is not None and isinstance(rule, OneOf) and node.children:
        return Audited(check, f"{path} code", _concept_sql(node, sql, is_list, rule.codes))
    if is_list:
        return Audited(check, path, _worst_sql(sql, rule))
    is_text = node is not None and node.type not in ARROW
    return Audited(check, path, text_sql(sql) if is_text else sql)


def _breaks_sql(value: str, rule: OneOf | Matches | WellFormed) -> str:
    """Whether a value breaks a rule; null does not."""
    if isinstance(rule, OneOf):
        return f"{value} NOT IN ({', '.join(literal(code) for code in rule.codes)})"
    pattern = FHIR_DATES[rule.type] if isinstance(rule, WellFormed) else rule.pattern
    broken = f"NOT {value} RLIKE {literal(pattern)}"
    is_no_day = f"try_cast({value} AS DATE) IS NULL"
    return f"{value} IS NOT NULL AND ({broken} OR {is_no_day})" if isinstance(rule, WellFormed) else broken


def _worst_sql(values: str, rule: object) -> str:
    if not isinstance(rule, OneOf | Matches | WellFormed):
        raise TypeError(f"{type(rule).__name__} does not judge lists")
    return f"coalesce(get(filter({values}, x -> {_breaks_sql('x', rule)}), 0), get({values}, 0))"


def _concept_sql(node: Node, sql: str, is_list: bool, codes: Iterable[str]) -> str:
    """The code of a Coding or CodeableConcept that its binding judges: one of the binding's where it has one.

    Codes of other systems may stand beside it (https://hl7.org/fhir/R4/terminologies.html#unbound).
    """
    listed = ", ".join(literal(code) for code in codes)
    if node.type == "Coding":
        return _worst_sql(f"{sql}.code", OneOf(tuple(codes))) if is_list else f"{sql}.code"
    of_one = "coalesce(get(filter({0}.coding.code, c -> c IN ({1})), 0), get({0}.coding.code, 0))"
    if not is_list:
        return of_one.format(sql, listed)
    return _worst_sql(f"transform({sql}, concept -> {of_one.format('concept', listed)})", OneOf(tuple(codes)))


def audit_frame(
    rows: DataFrame,
    items: Collection[Audited],
    define: dict[str, str],
    failing: Collection[str],
    failures: DataFrame | None,
) -> DataFrame:
    """The audit frame of staged rows.

    `define` are columns that the checks' SQL builds on. `failing` are the checks across tables that some row fails, and
    `failures` the rows that do, with `KEY`'s first two columns and `FAILED`.
    """
    frame = rows.withColumns({name: F.expr(sql) for name, sql in define.items()}) if define else rows
    if failures is not None:
        frame = frame.join(failures, KEY[:2], "left")
    columns = {}
    for item in items:
        sql = item.sql
        if item.is_across:
            failed = f"NOT coalesce(array_contains({FAILED}, {literal(item.check.name)}), false)"
            sql = f"CASE WHEN {sql} THEN {failed if item.check.name in failing else 'true'} END"
        columns[item.column] = sql
    return frame.select(*KEY, *(F.expr(sql).alias(name) for name, sql in columns.items() if name not in KEY))


def fails(item: Audited) -> Column:
    """Whether a row of the audit frame fails a check: the condition of its expectation, as Spark's own."""
    value, rule = F.col(f"`{item.column}`"), item.check.rule
    if isinstance(rule, Present):
        return value.isNull()
    if isinstance(rule, OneOf):
        failed = ~value.isin(list(rule.codes))
    elif isinstance(rule, Matches):
        failed = ~value.rlike(rule.pattern)
    elif isinstance(rule, WellFormed):
        failed = ~value.rlike(FHIR_DATES[rule.type]) | value.try_cast("date").isNull()
    elif isinstance(rule, Within):
        failed = F.lit(False)
        if rule.minimum is not None:
            failed = failed | (value < rule.minimum)
        if rule.maximum is not None:
            failed = failed | (value > rule.maximum)
    elif isinstance(rule, Ordered):
        failed = value < 0
    else:
        failed = ~value
    return F.coalesce(value.isNotNull() & failed, F.lit(False))


def failing_rows(frame: DataFrame, held: Collection[Audited], noted: Collection[Audited]) -> DataFrame:
    """The rows that fail one of the `held` checks: `KEY`, `checks` (which of them) and `warned` (which of `noted`)."""
    return frame.select(*KEY, _failed(held).alias("checks"), _failed(noted).alias("warned")).where(F.size("checks") > 0)


def _failed(items: Collection[Audited]) -> Column:
    names = [F.when(fails(item), F.lit(item.check.name)) for item in items]
    return F.array_compact(F.array(*names)) if names else F.array().cast("array<string>")
