"""The SQL of linking persons, and a model's parts as Splink wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cohortlake.core.persons.declared import Blocking, Comparison, Levels, PersonModel, Rule
from cohortlake.core.sql import literal

# Identifying values that a placeholder would make many records share: columns with what a value is within, and lists.
SCALARS = {"ssn": "ssn", "email": "email", "address": "address, coalesce(postcode, city)"}
ARRAYS = ("identifiers", "phones", "record_numbers")
BIRTH = ("birth_date", "birth_year", "birth_day_month")
# So many records may share a birth date, however few there are in all.
FEW = 100


def told_apart(model: PersonModel) -> str:
    """The given records without the values that so many share that they tell no one apart."""
    most, share = model.cleaning.shared_by_at_most, model.cleaning.birth_date_share_at_most
    scalars = ", ".join(
        f"CASE WHEN {name} IS NULL OR count(*) OVER (PARTITION BY {within}) <= {most} THEN {name} END AS {name}"
        for name, within in SCALARS.items()
    )
    usual = f"count(*) OVER (PARTITION BY birth_date) <= greatest({FEW}, {share} * count(*) OVER ())"
    scalars += "".join(f", CASE WHEN {usual} THEN {name} END AS {name}" for name in BIRTH)
    frequent = ", ".join(
        f"(SELECT coalesce(list(v), []) AS f_{name} FROM "  # noqa: S608
        f"(SELECT v FROM given, unnest({name}) u(v) GROUP BY v HAVING count(*) > {most}))"
        for name in ARRAYS
    )
    arrays = ", ".join(f"list_filter({name}, lambda v: NOT list_contains(f_{name}, v)) AS {name}" for name in ARRAYS)
    left_out = ", ".join(f"f_{name}" for name in ARRAYS)
    usual_name = (
        f"count(*) OVER () < {model.cleaning.usual_names_from} OR min(birth_date) OVER (PARTITION BY first_name) "
        "<> max(birth_date) OVER (PARTITION BY first_name) AS is_usual_name"
    )
    return (
        f"SELECT * EXCLUDE ({left_out}) REPLACE ({scalars}, {arrays}), {usual_name} "  # noqa: S608
        f"FROM given, {frequent} ORDER BY record"
    )


def blocking(rule: Blocking) -> dict[str, Any]:
    """A blocking rule as Splink wants it."""
    return {"blocking_rule": rule.when} | ({"arrays_to_explode": rule.explode} if rule.explode else {})


def comparison(declared: Comparison) -> dict[str, Any]:
    """A comparison as Splink wants it."""
    levels = []
    for level in declared.levels:
        made: dict[str, Any] = {"sql_condition": level.when, "label_for_charts": level.name}
        if level.is_missing:
            made |= {"is_null_level": True}
        else:
            made |= {"m_probability": level.m, "u_probability": level.u}
        if level.tf:
            # Its u is the frequency of the value that is shared.
            made |= {"tf_adjustment_column": level.tf, "tf_minimum_u_value": level.tf_floor}
            made |= {"disable_tf_exact_match_detection": True}
        levels.append(made)
    return {"output_column_name": declared.name, "comparison_levels": levels}


def evidence_sql(model: PersonModel, scored: str) -> str:
    """PAIRS of Splink's table of scored pairs."""
    told = ", ".join(
        f"{{'comparison': {literal(c.name)}, 'level': {level_sql(c)}, 'weight': {_weight(c)}}}"
        for c in model.comparisons
    )
    return (
        'SELECT least(record_l, record_r) AS "left", greatest(record_l, record_r) AS "right", match_weight AS weight, '  # noqa: S608
        f"match_probability AS probability, {first_rule(model, model.rules)} AS rule, "
        f"{first_rule(model, model.holds)} AS hold, {_outweighs(model)} AS outweighs, [{told}] AS evidence "
        f"FROM {scored} ORDER BY record_l, record_r"
    )


def codes(declared: Comparison) -> dict[str, int]:
    """Splink's number of each level: -1 where there is nothing to compare, and the lowest level is 0."""
    compared = [level.name for level in declared.levels if not level.is_missing]
    return {level.name: -1 for level in declared.levels} | {name: n for n, name in enumerate(reversed(compared))}


def level_sql(declared: Comparison) -> str:
    """The name of the level at which a pair stands."""
    cases = " ".join(f"WHEN {code} THEN {literal(name)}" for name, code in codes(declared).items())
    return f"CASE gamma_{declared.name} {cases} END"


def first_rule(model: PersonModel, rules: Iterable[Rule]) -> str:
    """The name of the first rule that a pair meets, or null."""
    cases = " ".join(f"WHEN {_met(model, rule.levels)} THEN {literal(rule.name)}" for rule in rules)
    return f"CASE {cases} END" if cases else "NULL"


def _outweighs(model: PersonModel) -> str:
    return " OR ".join(f"({_met(model, levels)})" for levels in model.outweighs_holds) or "false"


def _met(model: PersonModel, levels: Levels) -> str:
    known = {c.name: codes(c) for c in model.comparisons}
    return " AND ".join(
        f"gamma_{name} IN ({', '.join(str(known[name][level]) for level in allowed)})"
        for name, allowed in levels.items()
    )


def _weight(declared: Comparison) -> str:
    has_tf = any(level.tf for level in declared.levels)
    return f"mw_{declared.name}" + (f" + mw_tf_adj_{declared.name}" if has_tf else "")
