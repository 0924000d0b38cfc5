"""`repeat` over typed rows: the items of every level in one array, each with the elements that the view touches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from pyspark.sql.types import ArrayType, BooleanType, DataType, NullType, StructField, StructType

from cohortlake.core.catalog.resource import Node
from cohortlake.core.views import plan
from cohortlake.core.views.needed import touched
from spark_jobs import views_sql as F
from spark_jobs.views_collections import Collection, concatenated, merged, widened
from spark_jobs.views_expressions import Scope, evaluate
from spark_jobs.views_sql import Sql

Paths = Sequence[plan.Expression]


def iterated(select: plan.Select, iteration: plan.Expression, scope: Scope) -> Collection:
    """The items that a select makes rows of."""
    if isinstance(iteration, plan.Descendants):
        return descendants(iteration, scope, touched(replace(select, iteration=None), iteration.type, scope.depth))
    return evaluate(iteration, replace(scope, as_written=True))


def descendants(expression: plan.Descendants, scope: Scope, asked: Node) -> Collection:
    """The items below, parents first, `scope.depth` levels down or as deep as the rows' schema goes.

    `asked` is the tree of the elements that are asked of an item. No more of it is kept, for else each item would
    carry all that lies below it. An item below the last level stops the job when it runs: it would not be seen.
    """
    types = list(_types_below(expression.first, expression.next, scope, scope.depth))
    if not types:
        return Collection(F.lit(None), NullType())
    below = _Below(expression, _kept(reduce(merged, types), asked))
    items = F.array(*below.items(expression.first, scope, scope.depth))
    return Collection(concatenated(items), below.type, is_list=True)


def _types_below(paths: Paths, next_paths: Paths, scope: Scope, levels: int) -> Iterator[DataType]:
    for path in paths if levels else ():
        found = evaluate(path, scope)
        if not found.is_missing:
            yield found.type
            yield from _types_below(next_paths, next_paths, scope.on(Collection(F.lit(None), found.type)), levels - 1)


def _kept(data_type: DataType, asked: Node) -> DataType:
    """A type with the elements that are asked for."""
    if isinstance(data_type, ArrayType):
        return ArrayType(_kept(data_type.elementType, asked))
    if not isinstance(data_type, StructType):
        return data_type
    fields = [f for f in data_type.fields if f.name in asked.children]
    if not fields:
        # Nothing is asked of it but to be there.
        return StructType([StructField("_", BooleanType())])
    return StructType([StructField(f.name, _kept(f.dataType, asked.children[f.name])) for f in fields])


@dataclass(frozen=True)
class _Below:
    """What the paths of `repeat` lead to, level by level, all of it as one `type`."""

    expression: plan.Descendants
    type: DataType

    def items(self, paths: Paths, scope: Scope, levels: int) -> list[Sql]:
        """What each path leads to: an array with each item before those below it."""
        reached = (evaluate(path, scope) for path in paths)
        return [self._with_those_below(found, scope, levels - 1) for found in reached if not found.is_missing]

    def _with_those_below(self, found: Collection, scope: Scope, levels: int) -> Sql:
        def expanded(item: Sql) -> Sql:
            inner = scope.on(Collection(item, found.type))
            itself = widened(item, found.type, self.type)
            if not levels:
                return F.array(self._last(itself, inner))
            below = self.items(self.expression.next, inner, levels)
            return concatenated(F.array(F.array(itself), *below)) if below else F.array(itself)

        return concatenated(F.transform(found.items, expanded))

    def _last(self, item: Sql, inner: Scope) -> Sql:
        reached = (evaluate(path, inner) for path in self.expression.next)
        deeper = [found.exists for found in reached if not found.is_missing]
        if not deeper:
            return item
        message = f"{self.expression.at}: found items more than {inner.depth} levels down; allowed: a greater --depth"
        return F.when(reduce(or_, deeper), F.raise_error(F.lit(message))).otherwise(item)
