"""A plan's expressions as Spark SQL over typed FHIR rows.

Expressions only: no UDF, no join, nothing that Spark Connect lacks. An element that the rows' schema lacks is empty. A
decimal is a number, or text where the rows keep how it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from operator import or_

from pyspark.sql.types import ArrayType, BooleanType, DataType, DecimalType, IntegerType, LongType, StringType

from cohortlake.core.views import plan
from cohortlake.core.views.dates import sortable_date, sortable_time
from cohortlake.core.views.types import Kind, kind
from spark_jobs import views_sql as F
from spark_jobs.views_collections import DECIMAL, Collection, merged, widened
from spark_jobs.views_sql import Sql
from spark_jobs.views_values import boundary, calculate, compare, equal_in_order, least_text, sortable

SqlKey = Callable[[Sql, Sql], Sql]

# Type and id of a relative, absolute or versioned reference: https://hl7.org/fhir/R4/references.html#literal
LITERAL_REFERENCE = r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?$"


@dataclass(frozen=True)
class Scope:
    """What a path refers to: the item at hand, its place in the nearest iteration, and how a resource is keyed.

    `depth` is how many levels `repeat` goes down; `as_written` keeps decimals that are text as they are.
    """

    focus: Collection
    row_index: Sql
    resource_key: SqlKey
    depth: int
    as_written: bool = False

    def on(self, focus: Collection) -> Scope:
        return replace(self, focus=focus, as_written=False)


def primitive_type(fhir_type: str) -> DataType:
    """How a typed row holds a FHIR primitive."""
    if fhir_type == "integer64":
        return LongType()
    types = {Kind.BOOLEAN: BooleanType(), Kind.INTEGER: IntegerType(), Kind.DECIMAL: DECIMAL}
    return types.get(kind(fhir_type), StringType())


def evaluate(expression: plan.Expression, scope: Scope) -> Collection:
    """The collection that an expression stands for."""
    match expression:
        case plan.Focus():
            return _number(scope.focus, expression.type, scope)
        case plan.Member(source=source, name=name):
            found = evaluate(source, scope).member(name)
            if found.is_missing and kind(expression.type) is not Kind.COMPLEX:
                return replace(found, column=found.column.cast(primitive_type(expression.type)))
            return _number(found, expression.type, scope)
        case plan.Filter(source=source, criteria=criteria):
            return _kept(evaluate(source, scope), lambda item: evaluate(criteria, scope.on(item)).column)
        case plan.OfType(source=source, type=resource_type):
            return _kept(evaluate(source, scope), lambda item: item.member("resourceType").column == resource_type)
        case plan.Item(source=source, index=index):
            items, place = evaluate(source, scope), evaluate(index, scope).column
            if items.is_list:
                return Collection(F.get(items.column, place), items.type)
            return Collection(F.when(place == 0, items.column), items.type)
        case plan.Conditional():
            return _either(expression, scope)
        case plan.Single(source=source, at=at):
            return _single(evaluate(source, scope), at)
        case plan.ReferenceKey(source=source, target=target):
            references = evaluate(source, scope).member("reference")
            return references.each(lambda text: _key(text, target, scope), StringType())
    return Collection(_computed(expression, replace(scope, as_written=False)), primitive_type(expression.type))


def _number(found: Collection, fhir_type: str, scope: Scope) -> Collection:
    """Decimals that are text as numbers, unless it matters how they were written."""
    if scope.as_written or kind(fhir_type) is not Kind.DECIMAL or not isinstance(found.type, StringType):
        return found
    return found.each(lambda text: text.try_cast(DECIMAL), DECIMAL)


def _computed(expression: plan.Expression, scope: Scope) -> Sql:
    """The primitive that an operator or a function gives."""

    def column(operand: plan.Expression) -> Sql:
        return evaluate(operand, scope).column

    match expression:
        case plan.Literal(value=value):
            is_typed = not isinstance(value, Decimal) and expression.type != "integer64"
            return F.lit(value) if is_typed else F.lit(str(value)).cast(primitive_type(expression.type))
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
            one, other = _sortable(left, scope), _sortable(right, scope)
            if not (one.is_list or other.is_list):
                return compare("=", left.type, one.column, other.column)
            return F.when(one.exists & other.exists, equal_in_order(left.type, one.items, other.items))
        case plan.Comparison(operator=operator, left=left, right=right):
            return compare(operator, left.type, _sortable(left, scope).column, _sortable(right, scope).column)
        case plan.Arithmetic(operator=operator, left=left, right=right):
            return calculate(operator, column(left), column(right), expression.type)
        case plan.Concatenation(left=left, right=right, is_total=is_total):
            texts = (column(left), column(right))
            return F.concat(*(F.coalesce(text, F.lit("")) for text in texts)) if is_total else F.concat(*texts)
        case plan.Join(source=source, separator=separator):
            items = F.coalesce(evaluate(source, scope).items, F.array().cast("ARRAY<STRING>"))
            return F.array_join(items, column(separator))
        case plan.Boundary(source=source, is_high=is_high, precision=precision):
            return boundary(source.type, _written(source, scope), is_high, precision)
        case plan.ResourceKey(source=source):
            return scope.resource_key(F.lit(source.type), evaluate(source, scope).member("id").column)
    raise NotImplementedError(type(expression).__name__)


def _kept(items: Collection, keeps: Callable[[Collection], Sql]) -> Collection:
    if not items.is_list:
        return Collection(F.when(keeps(items), items.column), items.type)
    kept = F.filter(items.column, lambda item: keeps(Collection(item, items.type)))
    return Collection(kept, items.type, is_list=True)


def _single(items: Collection, at: str) -> Collection:
    if not items.is_list:
        return items
    # The message goes to logs, so it holds the path and no value.
    message = F.lit(f"{at}: found more than one item; allowed: one at most (first(), where(), or collection: true)")
    only = F.when(F.size(items.column) > 1, F.raise_error(message)).otherwise(F.get(items.column, F.lit(0)))
    return Collection(only, items.type)


def _either(expression: plan.Conditional, scope: Scope) -> Collection:
    """One of two collections; a condition that is empty is not true."""
    item = evaluate(expression.source, scope)
    condition, inner = evaluate(expression.condition, scope.on(item)).column, replace(scope, focus=item)
    one = evaluate(expression.then, inner)
    if expression.otherwise is None:
        return Collection(F.when(condition, one.column), one.type, one.is_list)
    other = evaluate(expression.otherwise, inner)
    both = one.type if other.is_missing else other.type if one.is_missing else merged(one.type, other.type)

    def shown(found: Collection) -> Sql:
        column = found.items if expression.is_list else found.column
        wanted = ArrayType(both) if expression.is_list else both
        given = ArrayType(found.type) if expression.is_list else found.type
        return F.lit(None) if found.is_missing else widened(column, given, wanted)

    return Collection(F.when(condition, shown(one)).otherwise(shown(other)), both, expression.is_list)


def _logic(operator: str, left: Sql, right: Sql) -> Sql:
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


def _sortable(expression: plan.Expression, scope: Scope) -> Collection:
    """Items in the form that compares as they do. A literal is brought there now, once, and not for every row."""
    if isinstance(expression, plan.Literal) and kind(expression.type) in (Kind.DATE, Kind.TIME):
        form = sortable_time if kind(expression.type) is Kind.TIME else sortable_date
        return Collection(F.lit(form(str(expression.value))), StringType())
    items = evaluate(expression, scope)
    return items.each(lambda item: sortable(expression.type, item), items.type)


def _written(expression: plan.Expression, scope: Scope) -> Sql:
    """A date, time or decimal as it was written, as far as the rows have kept that."""
    if isinstance(expression, plan.Literal):
        return F.lit(str(expression.value))
    found = evaluate(expression, replace(scope, as_written=True))
    return least_text(found.column) if isinstance(found.type, DecimalType) else found.column


def _key(reference: Sql, target: str | None, scope: Scope) -> Sql:
    # regexp_extract gives '' for a reference without type and id: a urn, a contained resource, a search.
    found_type = F.regexp_extract(reference, LITERAL_REFERENCE, 1)
    is_wanted = found_type != "" if target is None else found_type == target
    return F.when(is_wanted, scope.resource_key(found_type, F.regexp_extract(reference, LITERAL_REFERENCE, 2)))
