"""The audit query: a staged part flattened to the columns that its checks judge, a row a staged row, in DuckDB's SQL.

A list is judged by its first element that breaks the rule, or by its first where none does, so that one scalar column
says for the whole list whether it passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cohortlake.core.catalog import Node
from cohortlake.core.rules import (
    FHIR_DATES,
    Check,
    Form,
    InLife,
    Matches,
    OneOf,
    Ordered,
    Present,
    Resolves,
    ValueOrReason,
    WellFormed,
)
from cohortlake.core.sql import identifier, literal
from expectations.forms import form_sql
from expectations.paths import answered_sql, element_sql, find, first_day, period_seconds, present_sql, text_sql
from spark_jobs.fhir_types import ARROW
from spark_jobs.staged import PLACE

# The names of the checks across tables that a row failed, from `expectations.links`.
FAILED = "_failed"


@dataclass(frozen=True)
class Audited:
    """A check with the column of the audit query that it judges, and that column's SQL."""

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
        return Audited(check, f"{path} resolves", _across_sql(tree, check))
    if isinstance(rule, InLife):
        return Audited(check, f"{path} in life ({rule.edge})", _across_sql(tree, check))
    if isinstance(rule, Form):
        return Audited(check, f"{path} ({type(rule).__name__})", form_sql(tree, check))
    if isinstance(rule, Ordered):
        return Audited(check, f"{path} seconds", period_seconds(element_sql(tree, check.element)[0]))
    if isinstance(rule, ValueOrReason):
        return Audited(check, f"{path} (value or reason)", answered_sql(tree, check.element))
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


def _across_sql(tree: Node, check: Check) -> str:
    failed = f"coalesce(list_contains({FAILED}, {literal(check.name)}), false)"
    return f"CASE WHEN {present_sql(tree, check.element)} THEN NOT {failed} END"


def breaks_sql(value: str, rule: OneOf | Matches | WellFormed) -> str:
    """Whether a value breaks a rule; null does not."""
    if isinstance(rule, OneOf):
        return f"{value} NOT IN ({', '.join(literal(code) for code in rule.codes)})"
    pattern = FHIR_DATES[rule.type] if isinstance(rule, WellFormed) else rule.pattern
    broken = f"NOT regexp_full_match({value}, {literal(pattern)})"
    is_no_day = f"{first_day(value)} IS NULL"
    return f"{value} IS NOT NULL AND ({broken} OR {is_no_day})" if isinstance(rule, WellFormed) else broken


def _worst_sql(values: str, rule: object) -> str:
    if not isinstance(rule, OneOf | Matches | WellFormed):
        raise TypeError(f"{type(rule).__name__} does not judge lists")
    return f"coalesce(list_filter({values}, lambda x: {breaks_sql('x', rule)})[1], {values}[1])"


def _concept_sql(node: Node, sql: str, is_list: bool, codes: Iterable[str]) -> str:
    """The code of a Coding or CodeableConcept that its binding judges: one of the binding's where it has one.

    Codes of other systems may stand beside it (https://hl7.org/fhir/R4/terminologies.html#unbound).
    """
    if node.type == "Coding":
        if not is_list:
            return f"{sql}.code"
        return _worst_sql(f"list_transform({sql}, lambda c: c.code)", OneOf(tuple(codes)))
    listed = ", ".join(literal(code) for code in codes)
    bound = "list_filter(list_transform({0}.coding, lambda c: c.code), lambda d: d IN ({1}))[1]"
    of_one = f"coalesce({bound}, {{0}}.coding[1].code)"
    if not is_list:
        return of_one.format(sql, listed)
    return _worst_sql(f"list_transform({sql}, lambda concept: {of_one.format('concept', listed)})", OneOf(tuple(codes)))


def audit_sql(items: Sequence[Audited], define: Mapping[str, str], key: Sequence[str] = PLACE) -> str:
    """The audit query over a view `staged`. `define` are columns that the checks' SQL builds on.

    Where a check is across tables, `staged` has the column `FAILED`.
    """
    columns = {item.column: item.sql for item in items if item.column not in key}
    listed = [*(f'"{name}"' for name in key), *(f"{sql} AS {identifier(name)}" for name, sql in columns.items())]
    defined = "".join(f', {sql} AS "{name}"' for name, sql in define.items())
    return f"SELECT {', '.join(listed)} FROM (SELECT *{defined} FROM staged)"  # noqa: S608
