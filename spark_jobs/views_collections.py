"""FHIRPath collections as Spark columns, and the struct types of their items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, NullType, StructField, StructType


@dataclass(frozen=True)
class Collection:
    """A column of the only item, or of an array of the items; null where there is none. An array holds no nulls.

    `type` is the Spark type of an item, NullType where the rows' schema lacks the element.
    """

    column: Column
    type: DataType
    is_list: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether the rows' schema lacks the element, so that no row has an item."""
        return isinstance(self.type, NullType)

    @property
    def items(self) -> Column:
        """The items as an array, null for none."""
        return self.column if self.is_list else F.when(self.column.isNotNull(), F.array(self.column))

    @property
    def exists(self) -> Column:
        return F.coalesce(F.size(self.column) > 0, F.lit(False)) if self.is_list else self.column.isNotNull()

    def member(self, name: str) -> Collection:
        """An element of each item."""
        if not isinstance(self.type, StructType) or name not in self.type.names:
            return Collection(F.lit(None), NullType())
        found, declared = self._field(name), self.type[name].dataType
        if isinstance(declared, ArrayType):
            items = concatenated(found) if self.is_list else found
            return Collection(F.array_compact(items), declared.elementType, is_list=True)
        return Collection(F.array_compact(found) if self.is_list else found, declared, self.is_list)

    def each(self, change: Callable[[Column], Column], changed: DataType) -> Collection:
        """Every item changed to another type; those that became null are left out."""
        if not self.is_list:
            return Collection(change(self.column), changed)
        return Collection(F.array_compact(F.transform(self.column, lambda item: change(item))), changed, is_list=True)

    def _field(self, name: str) -> Column:
        return self.column.getField(name)


class Resource(Collection):
    """The row itself. Its elements are read as columns, so that Spark scans only those which a view names."""

    def __init__(self, schema: StructType) -> None:
        super().__init__(F.struct(*(F.col(f"`{name}`") for name in schema.names)), schema)

    def _field(self, name: str) -> Column:
        return F.col(f"`{name}`")


def concatenated(arrays: Column) -> Column:
    """An array of arrays as one. Spark's flatten alone gives null where one of them is null."""
    return F.flatten(F.array_compact(arrays))


def merged(left: DataType, right: DataType) -> DataType:
    """The type that holds the fields of both: a recursive element is typed less deep the further down it stands."""
    if isinstance(left, ArrayType) and isinstance(right, ArrayType):
        return ArrayType(merged(left.elementType, right.elementType))
    if isinstance(left, StructType) and isinstance(right, StructType):
        shared = {field.name: field.dataType for field in left.fields}
        for field in right.fields:
            shared[field.name] = merged(shared[field.name], field.dataType) if field.name in shared else field.dataType
        return StructType([StructField(name, data_type) for name, data_type in shared.items()])
    return left


def widened(column: Column, source: DataType, target: DataType) -> Column:
    """A value of a type as one of a type that `merged` it with others: the fields that it lacks are null."""
    if source == target:
        return column
    if isinstance(source, ArrayType) and isinstance(target, ArrayType):
        items = source.elementType, target.elementType
        return F.transform(column, lambda item: widened(item, *items))
    if isinstance(source, StructType) and isinstance(target, StructType):
        fields = [
            widened(column.getField(field.name), source[field.name].dataType, field.dataType).alias(field.name)
            if field.name in source.names
            else F.lit(None).cast(field.dataType).alias(field.name)
            for field in target.fields
        ]
        return F.when(column.isNotNull(), F.struct(*fields))
    return column
