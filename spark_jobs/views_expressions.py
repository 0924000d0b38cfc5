"""A plan's expressions as Spark columns over typed FHIR rows.

Columns only: no UDF, no join, nothing that Spark Connect lacks. An element that the rows' schema lacks is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DataType, DecimalType, IntegerType, NullType, StringType

from cohortlake.core.views import plan
from cohortlake.core.views.types import Kind, kind
from spark_jobs.views_collections import Collection, concatenated, merged, widened
from spark_jobs.views_values import boundary, calculate, compare, sortable

ResourceKey = Callable[[Column, Column], Column]
Paths = Sequence[plan.Expression]

# Type and id of a relative, absolute or versioned reference: https://hl7.org/fhir/R4/references.html#literal
LITERAL_REFERENCE = r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?$"


@dataclass(frozen=True)
class Scope:
    """What a path refers to: the item at hand, its place in the nearest iteration, and how a resource is keyed."""

    focus: Collection
    row_index: Column
    resource_key: ResourceKey

    def on(self, focus: Collection) -> Scope:
        return replace(self, focus=focus)


def primitive_type(fhir_type: str) -> DataType:
    """How a typed row holds a FHIR primitive."""
    types = {Kind.BOOLEAN: BooleanType(), Kind.INTEGER: IntegerType(), Kind.DECIMAL: DecimalType(38, 18)}
    return types.get(kind(fhir_type), StringType())


def evaluate(expression: plan.Expression, scope: Scope) -> Collection:
    """The collection that an expression stands for."""
    match expression:
        case plan.Focus():
            return scope.focus
        case plan.Member(source=source, name=name):
            found = evaluate(source, scope).member(name)
            if found.is_missing and kind(expression.type) is not Kind.COMPLEX:
                return replace(found, column=found.column.cast(primitive_type(expression.type)))
            return found
        case plan.Filter(source=source, criteria=criteria):
            return _filtered(evaluate(source, scope), criteria, scope)
        case plan.Item(source=source, index=index):
            items, place = evaluate(source, scope), evaluate(index, scope).column
            if items.is_list:
                return Collection(F.get(items.column, place), items.type)
            return Collection(F.when(place == 0, items.column), items.type)
        case plan.Single(source=source, at=at):
            return _single(evaluate(source, scope), at)
        case plan.ReferenceKey(source=source, target=target):
            references = evaluate(source, scope).member("reference")
            return references.each(lambda text: _key(text, target, scope), StringType())
        case plan.Descendants():
            return _descendants(expression, scope)
    return Collection(_computed(expression, scope), primitive_type(expression.type))


def _computed(expression: plan.Expression, scope: Scope) -> Column:
    """The primitive that an operator or a function gives."""

    def column(operand: plan.Expression) -> Column:
        return evaluate(operand, scope).column

    match expression:
        case plan.Literal(value=value):
            return F.lit(value)
        case plan.RowIndex():
            return scope.row_index
        case plan.Exists(source=plan.Choice(members=members)):
            return reduce(or_, (evaluate(member, scope).exists for member in members))
        case plan.Exists(source=source):
            return evaluate(source, scope).exists
        case plan.Not(operand=operand):
            return ~column(operand)
        case plan.Logic(operator=operator, left=left, right=right):
            return _logic(operator, column(left), column(right))
        case plan.Equality(left=left, right=right):
            return _equal(left, right, scope)
        case plan.Comparison(operator=operator, left=left, right=right):
            return compare(operator, left.type, column(left), column(right))
        case plan.Arithmetic(operator=operator, left=left, right=right):
            return calculate(operator, column(left), column(right), is_whole=expression.type == "integer")
        case plan.Concatenation(left=left, right=right, is_total=is_total):
            texts = (column(left), column(right))
            return F.concat(*(F.coalesce(text, F.lit("")) for text in texts)) if is_total else F.concat(*texts)
        case plan.Join(source=source, separator=separator):
            texts = F.coalesce(evaluate(source, scope).items, F.array().cast("ARRAY<STRING>"))
            return F.call_function("array_join", texts, column(separator))
        case plan.Boundary(source=source, is_high=is_high):
            return boundary(source.type, column(source), is_high)
        case plan.ResourceKey(source=source):
            return scope.resource_key(F.lit(source.type), evaluate(source, scope).member("id").column)
    raise NotImplementedError(type(expression).__name__)


def _filtered(items: Collection, criteria: plan.Expression, scope: Scope) -> Collection:
    if not items.is_list:
        return Collection(F.when(evaluate(criteria, scope.on(items)).column, items.column), items.type)

    def holds(item: Column) -> Column:
        return evaluate(criteria, scope.on(Collection(item, items.type))).column

    return Collection(F.filter(items.column, holds), items.type, is_list=True)


def _single(items: Collection, at: str) -> Collection:
    if not items.is_list:
        return items
    # The message goes to logs, so it holds the path and no value.
    message = F.lit(f"{at}: found more than one item; allowed: one at most (first(), where(), or collection: true)")
    only = F.when(F.size(items.column) > 1, F.raise_error(message)).otherwise(F.get(items.column, F.lit(0)))
    return Collection(only, items.type)


def _logic(operator: str, left: Column, right: Column) -> Column:
    # SQL's and, or and not are three-valued as FHIRPath's are.
    match operator:
        case "and":
            return left & right
        case "or":
            return left | right
        case "xor":
            return left != right
        case _:
            return ~left | right


def _equal(left: plan.Expression, right: plan.Expression, scope: Scope) -> Column:
    one, other = evaluate(left, scope), evaluate(right, scope)
    if not (one.is_list or other.is_list):
        return compare("=", left.type, one.column, other.column)
    items = [F.transform(found.items, lambda item: sortable(left.type, item)) for found in (one, other)]
    return F.when(one.exists & other.exists, items[0] == items[1])


def _key(reference: Column, target: str | None, scope: Scope) -> Column:
    # regexp_extract gives '' for a reference without type and id: a urn, a contained resource, a search.
    found_type = F.regexp_extract(reference, LITERAL_REFERENCE, 1)
    is_wanted = found_type != "" if target is None else found_type == target
    return F.when(is_wanted, scope.resource_key(found_type, F.regexp_extract(reference, LITERAL_REFERENCE, 2)))


def _descendants(expression: plan.Descendants, scope: Scope) -> Collection:
    """The items below, as deep as the rows' schema goes, widened to one type so that one array holds them."""
    types = list(_types_below(expression.first, expression.next, scope))
    if not types:
        return Collection(F.lit(None), NullType())
    target = reduce(merged, types)
    return Collection(
        concatenated(F.array(*_below(expression.first, expression.next, target, scope))), target, is_list=True
    )


def _types_below(paths: Paths, next_paths: Paths, scope: Scope) -> Iterator[DataType]:
    for path in paths:
        found = evaluate(path, scope)
        if not found.is_missing:
            yield found.type
            yield from _types_below(next_paths, next_paths, scope.on(Collection(F.lit(None), found.type)))


def _below(paths: Paths, next_paths: Paths, target: DataType, scope: Scope) -> list[Column]:
    """What each path leads to: an array with each item before those below it."""
    reached = (evaluate(path, scope) for path in paths)
    return [_with_those_below(found, next_paths, target, scope) for found in reached if not found.is_missing]


def _with_those_below(found: Collection, next_paths: Paths, target: DataType, scope: Scope) -> Column:
    def expanded(item: Column) -> Column:
        below = _below(next_paths, next_paths, target, scope.on(Collection(item, found.type)))
        return concatenated(F.array(F.array(widened(item, found.type, target)), *below))

    return concatenated(F.transform(found.items, expanded))
