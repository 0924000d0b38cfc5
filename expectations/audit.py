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
    Rule,
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
NO_COLUMNS: Mapping[str, str] = {}


# What a column is called whose value is computed here before Great Expectations judges it; Data Docs show the name.
HELPER = "helper column: "


@dataclass(frozen=True)
class Audited:
    """A check with the column of the audited table that it judges, and that column's SQL.

    `helper` says what a helper column holds; it is empty where the column is an element of the record as it stands.
    """

    check: Check
    column: str
    sql: str
    helper: str = ""

    @property
    def is_across(self) -> bool:
        """Whether it is judged against other tables."""
        return isinstance(self.check.rule, Resolves | InLife)


def _helper(check: Check, column: str, sql: str, what: str) -> Audited:
    return Audited(check, f"{HELPER}{column}", sql, what)


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
    path, rule = check.element, check.rule
    if check.sql:
        return _helper(check, path, check.sql, f"the SQL of expectations/extras/{tree.name}.yaml")
    if isinstance(rule, Resolves):
        what = "false where one of its references points at nothing staged or live, null without a reference"
        return _helper(check, f"{path} resolves", _across_sql(tree, check), what)
    if isinstance(rule, InLife):
        what = f"false where its day lies outside the patient's life ({rule.edge}), null without a day"
        return _helper(check, f"{path} in life ({rule.edge})", _across_sql(tree, check), what)
    if isinstance(rule, Form):
        what = "whether no value in the record breaks the rule"
        return _helper(check, f"{path} ({type(rule).__name__})", form_sql(tree, check), what)
    if isinstance(rule, Ordered):
        seconds = period_seconds(element_sql(tree, path)[0])
        return _helper(check, f"{path} seconds", seconds, "seconds from the period's start to its end, at most")
    if isinstance(rule, ValueOrReason):
        what = "true where it has a value, or an extension or a code in its place; else null"
        return _helper(check, f"{path} (value or reason)", answered_sql(tree, path), what)
    return _of_element(check, tree)


def _of_element(check: Check, tree: Node) -> Audited:
    """The column of a check of an element's own value."""
    path, rule = check.element, check.rule
    node = None if path.endswith("[x]") else find(tree, path)
    if isinstance(rule, Present) and (node is None or node.children or element_sql(tree, path)[1]):
        sql = f"CASE WHEN {present_sql(tree, path)} THEN true END"
        return _helper(check, f"{path} (any)", sql, "true where any value is in it, else null")
    sql, is_list = element_sql(tree, path)
    if node is not None and isinstance(rule, OneOf) and node.type in ARROW:
        rule = OneOf(tuple(_typed(node, code) for code in rule.codes))
        check = replace(check, rule=rule)
    if node is not None and isinstance(rule, OneOf) and node.children:
        what = "the code that its binding judges: the first unknown one, else the first"
        return _helper(check, f"{path} code", _concept_sql(node, sql, is_list, rule.codes), what)
    if is_list:
        what = "of the list's values, the first that breaks the rule, else the first"
        return _helper(check, f"{path} ({_kind(rule)})", _worst_sql(sql, rule), what)
    if node is not None and node.type == "decimal":
        # As a number: 0.30 is 0.3 (https://hl7.org/fhir/R4/datatypes.html#decimal), on each engine.
        return Audited(check, path, f"CAST({sql} AS DOUBLE)")
    is_text = node is not None and node.type not in ARROW
    return Audited(check, path, text_sql(sql) if is_text else sql)


def _typed(node: Node, code: str | float) -> str | float:
    """A declared code of an element that is a number or a boolean, as such."""
    return str(code).lower() == "true" if node.type == "boolean" else float(code)


def _kind(rule: Rule) -> str:
    return f"{type(rule).__name__} {rule.type}" if isinstance(rule, WellFormed) else type(rule).__name__


def _across_sql(tree: Node, check: Check) -> str:
    failed = f"coalesce(list_contains({FAILED}, {literal(check.name)}), false)"
    return f"CASE WHEN {present_sql(tree, check.element)} THEN NOT {failed} END"


def breaks_sql(value: str, rule: OneOf | Matches | WellFormed) -> str:
    """Whether a value breaks a rule; null does not."""
    if isinstance(rule, OneOf):
        codes = (literal(code) if isinstance(code, str) else str(code) for code in rule.codes)
        return f"{value} NOT IN ({', '.join(codes)})"
    pattern = FHIR_DATES[rule.type] if isinstance(rule, WellFormed) else rule.pattern
    broken = f"NOT regexp_full_match({value}, {literal(pattern)})"
    is_no_day = f"{first_day(value)} IS NULL"
    return f"{value} IS NOT NULL AND ({broken} OR {is_no_day})" if isinstance(rule, WellFormed) else broken


def _worst_sql(values: str, rule: object) -> str:
    if not isinstance(rule, OneOf | Matches | WellFormed):
        raise TypeError(f"{type(rule).__name__} does not judge lists")
    return f"coalesce(list_filter({values}, lambda x: {breaks_sql('x', rule)})[1], {values}[1])"


def _concept_sql(node: Node, sql: str, is_list: bool, codes: Iterable[str | float]) -> str:
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


def audit_sql(items: Sequence[Audited], define: Mapping[str, str], more: Mapping[str, str] = NO_COLUMNS) -> str:
    """The audit query over a view `staged`: the rows' places, and each value that is judged.

    `define` are columns that the checks' SQL builds on, `more` further columns to give, by name. Where a check is
    across tables, `staged` has the column `FAILED`.
    """
    columns = {item.column: item.sql for item in items}
    columns |= {name: sql for name, sql in more.items() if name not in columns}
    listed = [
        *(f'"{name}"' for name in PLACE),
        *(f"{sql} AS {identifier(name)}" for name, sql in columns.items() if name not in PLACE),
    ]
    defined = "".join(f', {sql} AS "{name}"' for name, sql in define.items())
    return f"SELECT {', '.join(listed)} FROM (SELECT *{defined} FROM staged)"  # noqa: S608
