"""Checks as Great Expectations suites."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite

from cohortlake.core.rules import (
    Check,
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
    ValueOrReason,
    ValuesWellFormed,
    WellFormed,
    Within,
)
from expectations import custom

# Great Expectations' own words for how much a failure matters.
SEVERITY = {"fail": "critical", "quarantine": "warning", "warn": "info"}
SHOWN_CODES = 12


def _rule(check: Check) -> tuple[type[Any], dict[str, Any], str]:
    """The expectation's class, its arguments, and the rule in words."""
    rule = check.rule
    if isinstance(rule, OneOf):
        codes = ", ".join(rule.codes[:SHOWN_CODES]) + (", …" if len(rule.codes) > SHOWN_CODES else "")
        return gxe.ExpectColumnValuesToBeInSet, {"value_set": list(rule.codes)}, f"one of {codes}"
    if isinstance(rule, Matches):
        return gxe.ExpectColumnValuesToMatchRegex, {"regex": rf"^(?:{rule.pattern})\Z"}, f"matches {rule.pattern}"
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


def expectation(check: Check, column: str) -> Any:
    """A check of a column as an expectation; what Data Docs say of it names the check, its weight and its source."""
    kind, arguments, words = _rule(check)
    said = f"{check.name}: {words}. {check.severity}, {check.kind}; {check.reason}"
    return kind(
        column=column,
        **arguments,
        severity=SEVERITY[check.severity],
        description=said.replace("$", "$$"),
        meta={"check": check.name, "kind": check.kind, "severity": check.severity},
    )


def suite(name: str, checks: Iterable[tuple[Check, str]]) -> ExpectationSuite:
    """A table's suite, from its checks with the columns that they judge."""
    return ExpectationSuite(name, expectations=[expectation(check, column) for check, column in checks])
