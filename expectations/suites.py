"""Checks as Great Expectations suites: each check with its expectation, its weight and source in the `meta`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite

from cohortlake.core.rules import (
    Check,
    Columns,
    Form,
    HasRequired,
    Holds,
    InLife,
    Matches,
    NoEmptyList,
    OneOf,
    OneType,
    Ordered,
    Present,
    Refers,
    Resolves,
    Unique,
    ValueOrReason,
    ValuesWellFormed,
    WellFormed,
    Within,
)
from expectations import custom
from expectations.audit import Audited

# Great Expectations' own words for how much a failure matters.
SEVERITY = {"fail": "critical", "quarantine": "warning", "warn": "info"}
SHOWN_CODES = 12


@dataclass(frozen=True)
class Judged:
    """A check with the expectation that judges it.

    `rows_sql` is the query of its failing rows where the expectation is itself a query; `has_rows` tells whether rows
    fail it at all, and not the table.
    """

    check: Check
    expectation: Any
    rows_sql: str | None = None
    has_rows: bool = True


def _rule(check: Check) -> tuple[type[Any], dict[str, Any], str]:
    """The expectation's class, its arguments, and the rule in words."""
    rule = check.rule
    if isinstance(rule, OneOf):
        shown = [str(code) for code in rule.codes[:SHOWN_CODES]]
        codes = ", ".join(shown) + (", …" if len(rule.codes) > SHOWN_CODES else "")
        return gxe.ExpectColumnValuesToBeInSet, {"value_set": list(rule.codes)}, f"one of {codes}"
    if isinstance(rule, Matches):
        return custom.ExpectColumnValuesToMatchWholly, {"regex": rule.pattern}, f"matches {rule.pattern}"
    if isinstance(rule, WellFormed):
        words = f"a FHIR {rule.type} whose day exists"
        return custom.ExpectColumnValuesToBeFhirDates, {"fhir_type": rule.type}, words
    if isinstance(rule, Within):
        bounds = {"min_value": rule.minimum, "max_value": rule.maximum}
        words = f"between {rule.minimum} and {rule.maximum}".replace("None", "any")
        return gxe.ExpectColumnValuesToBeBetween, bounds, words
    if isinstance(rule, Ordered):
        return gxe.ExpectColumnValuesToBeBetween, {"min_value": 0}, "the period lasts 0 seconds or more"
    if isinstance(rule, Resolves):
        return custom.ExpectReferencesToResolve, {}, f"points at a known {' or '.join(rule.targets)}"
    if isinstance(rule, InLife):
        side = "before birth" if rule.edge == "birth" else "after death"
        return custom.ExpectDatesToLieWithinLife, {}, f"not more than {rule.days} days {side}"
    if isinstance(rule, Present):
        return gxe.ExpectColumnValuesToNotBeNull, {}, "has a value"
    if isinstance(rule, ValueOrReason):
        words = "has a value, or an extension or a code that stands in its place, such as data-absent-reason"
        return gxe.ExpectColumnValuesToNotBeNull, {}, words
    if isinstance(rule, Holds):
        return custom.ExpectConditionToHold, {}, check.sql
    if isinstance(rule, Unique):
        words = f"no two rows have the same {', '.join(rule.columns)}"
        if len(rule.columns) == 1:
            return gxe.ExpectColumnValuesToBeUnique, {"column": rule.columns[0]}, words
        return gxe.ExpectCompoundColumnsToBeUnique, {"column_list": list(rule.columns)}, words
    if isinstance(rule, Columns):
        arguments = {"column_set": list(rule.names), "exact_match": True}
        return gxe.ExpectTableColumnsToMatchSet, arguments, f"the columns are {', '.join(rule.names)}"
    if isinstance(rule, Form):
        return custom.ExpectFormToHold, {}, _form(rule)
    raise TypeError(f"{type(rule).__name__} is not a rule")


def _form(rule: Form) -> str:
    if isinstance(rule, ValuesWellFormed):
        return f"each value of type {rule.type} has its form"
    if isinstance(rule, HasRequired):
        return f"where it is there, it has {', '.join(rule.elements)}"
    if isinstance(rule, Refers):
        return f"names {' or '.join(rule.targets) or 'a resource'}, or points elsewhere"
    return {OneType: "one type of the choice at most", NoEmptyList: "no list is empty"}[type(rule)]


def meta(check: Check, words: str, helper: str = "") -> dict[str, str]:
    """What an expectation's `meta` says: the check's name, weight, kind, element and source, and its helper column."""
    said = {"check": check.name, "kind": check.kind, "severity": check.severity, "element": check.element}
    said |= {"words": words, "source": check.reason, "helper_column": helper}
    return {key: value for key, value in said.items() if value}


def judged(check: Check, column: str, helper: str = "") -> Judged:
    """A check of a column with its expectation; what Data Docs say of it stands in its description and notes."""
    kind, arguments, words = _rule(check)
    said = f"{check.name}: {words}. {check.severity}, {check.kind}; {check.reason}"
    notes = f"{column}: {helper}" if helper else None
    is_of_column = not isinstance(check.rule, Unique | Columns)
    made = kind(
        **({"column": column} if is_of_column else {}),
        **arguments,
        severity=SEVERITY[check.severity],
        description=said.replace("$", "$$"),
        notes=notes.replace("$", "$$") if notes else None,
        meta=meta(check, words, helper),
    )
    return Judged(check, made, None, not isinstance(check.rule, Columns))


def judged_items(items: Iterable[Audited]) -> tuple[Judged, ...]:
    """The checks of an audited table with their expectations."""
    return tuple(judged(item.check, item.column, item.helper) for item in items)


def suite(name: str, checks: Iterable[Judged]) -> ExpectationSuite:
    """A table's suite."""
    return ExpectationSuite(name, expectations=[one.expectation for one in checks])
