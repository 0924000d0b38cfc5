"""From a ViewDefinition to its plan.

Source: the processing algorithm and column rules of
https://build.fhir.org/ig/HL7/sql-on-fhir/en/StructureDefinition-ViewDefinition.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cohortlake.core.views import definition, plan
from cohortlake.core.views.definition import View, parse_view, placed, refusal
from cohortlake.core.views.paths import Paths
from cohortlake.core.views.types import SQL_TYPE_NAMES, Kind, default_sql_type, is_convertible, kind, sql_type

FHIR_TYPES = "http://hl7.org/fhir/StructureDefinition/"


def compile_view(view: View | Mapping[str, Any]) -> plan.ViewPlan:
    """The plan of a ViewDefinition. Raises ViewError, which names the path in the view, for a wrong one."""
    if not isinstance(view, View):
        view = parse_view(view)
    paths = Paths(_constants(view.constant))
    focus = plan.Focus(view.resource, False)
    where = [
        plan.Condition(paths.condition(rule.path, focus, at), placed(at, rule.path))
        for at, rule in ((f"where[{index}].path", rule) for index, rule in enumerate(view.where))
    ]
    selects = _SelectCompiler(paths)
    select = plan.Select(None, False, (), selects.many(view.select, focus, "select"), (), "select")
    names: set[str] = set()
    for column in select.columns_in_order():
        if column.name in names:
            raise refusal("select", f"the column name {column.name!r} a second time", "a name once in a view")
        names.add(column.name)
    return plan.ViewPlan(view.resource, tuple(where), select)


def _constants(constants: Sequence[definition.Constant]) -> dict[str, plan.Literal]:
    found: dict[str, plan.Literal] = {}
    for index, constant in enumerate(constants):
        if constant.name in found or constant.name == "rowIndex":
            raise refusal(f"constant[{index}].name", repr(constant.name), "a name that is not taken")
        found[constant.name] = plan.Literal(constant.type, False, constant.value)
    return found


@dataclass(frozen=True)
class _SelectCompiler:
    paths: Paths

    def many(self, selects: Sequence[definition.Select], focus: plan.Focus, at: str) -> tuple[plan.Select, ...]:
        return tuple(self._select(select, focus, f"{at}[{index}]") for index, select in enumerate(selects))

    def _select(self, select: definition.Select, focus: plan.Focus, at: str) -> plan.Select:
        iteration, iterated_at = self._iteration(select, focus, at)
        item = focus if iteration is None else plan.Focus(iteration.type, False)
        columns = [self._column(column, item, f"{at}.column[{i}]") for i, column in enumerate(select.column)]
        union = self.many(select.union_all, item, f"{at}.unionAll")
        _check_union(union, f"{at}.unionAll")
        return plan.Select(
            iteration,
            select.for_each_or_null is not None,
            tuple(columns),
            self.many(select.select, item, f"{at}.select"),
            union,
            iterated_at,
        )

    def _iteration(self, select: definition.Select, focus: plan.Focus, at: str) -> tuple[plan.Expression | None, str]:
        """What the select iterates over, if anything, and where that stands."""
        for keyword, path in (("forEach", select.for_each), ("forEachOrNull", select.for_each_or_null)):
            if path is not None:
                return self.paths.collection(path, focus, f"{at}.{keyword}"), placed(f"{at}.{keyword}", path)
        if select.repeat is not None:
            found = self.paths.descendants(select.repeat, focus, f"{at}.repeat")
            return found, found.at
        return None, at

    def _column(self, column: definition.Column, focus: plan.Focus, at: str) -> plan.Column:
        compiled = self.paths.collection if column.collection else self.paths.value
        value = compiled(column.path, focus, f"{at}.path")
        fhir_type = _declared_type(column.type, value.type, f"{at}.type")
        column_type = default_sql_type(fhir_type)
        for index, tag in enumerate(column.tag):
            if tag.name == "ansi/type":
                column_type = _tagged_type(tag.value, fhir_type, f"{at}.tag[{index}].value")
        place = placed(f"{at}.path", column.path)
        return plan.Column(column.name, value, column_type, column.collection, column.description, place)


def _declared_type(declared: str | None, found: str, at: str) -> str:
    """The FHIR type of a column whose path gives `found`."""
    if declared is None:
        if kind(found) is Kind.COMPLEX:
            raise refusal(at, f"nothing, for a path to {found}", f"{found}, or a path to a primitive")
        return found
    declared = declared.removeprefix(FHIR_TYPES)
    kinds = kind(declared), kind(found)
    fits = (
        declared == found
        or (declared == "BackboneElement" and "." in found)
        or (kinds[0] is kinds[1] and kinds[0] is not Kind.COMPLEX)
        or kinds == (Kind.DECIMAL, Kind.INTEGER)
        or (kinds[0] is Kind.STRING and kinds[1] is not Kind.COMPLEX)
    )
    if not fits:
        raise refusal(at, f"{declared!r} for a path to {found}", found)
    return declared


def _tagged_type(text: str, fhir_type: str, at: str) -> str:
    found = sql_type(text)
    if found is None:
        raise refusal(at, f"{text!r}", ", ".join(SQL_TYPE_NAMES))
    if not is_convertible(kind(fhir_type), found):
        raise refusal(at, f"{text!r} for a path to {fhir_type}", "a SQL type that holds such values, or VARCHAR")
    return found


def _check_union(union: Sequence[plan.Select], at: str) -> None:
    shapes = [[(c.name, c.shown_type, c.is_collection) for c in select.columns_in_order()] for select in union]
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise refusal(f"{at}[{index}]", f"the columns {_shown(shape)}", f"{_shown(shapes[0])}, as in {at}[0]")


def _shown(shape: Sequence[tuple[str, str, bool]]) -> str:
    return ", ".join(f"{name} {shown_type}{' ARRAY' if many else ''}" for name, shown_type, many in shape)
