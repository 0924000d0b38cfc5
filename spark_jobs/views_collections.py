"""FHIRPath collections as Spark SQL, and the struct types of their items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql.types import ArrayType, DataType, DecimalType, NullType, StringType, StructField, StructType

from cohortlake.core.fhir.definitions import elements
from spark_jobs import views_sql as F
from spark_jobs.views_sql import Sql
from spark_jobs.views_values import least_text

DECIMAL = DecimalType(38, 18)


@dataclass(frozen=True)
class Collection:
    """A column of the only item, or of an array of the items; null where there is none. An array holds no nulls.

    `type` is the Spark type of an item, NullType where the rows' schema lacks the element.
    """

    column: Sql
    type: DataType
    is_list: bool = False

    @property
    def is_missing(self) -> bool:
        """Whether the rows' schema lacks the element, so that no row has an item."""
        return isinstance(self.type, NullType)

    @property
    def items(self) -> Sql:
        """The items as an array, null for none."""
        return self.column if self.is_list else F.when(self.column.isNotNull(), F.array(self.column))

    @property
    def exists(self) -> Sql:
        return F.coalesce(F.size(self.column) > 0, F.lit(False)) if self.is_list else self.column.isNotNull()

    def member(self, name: str) -> Collection:
        """An element of each item."""
        if not isinstance(self.type, StructType) or name not in self.type.names:
            return Collection(F.lit(None), NullType())
        found, declared = self._field(name), self.type[name].dataType
        if isinstance(declared, ArrayType):
            items = concatenated(found) if self.is_list else found
            # In JSON of FHIR only primitives may be null in a list, where something is said beside them.
            is_whole = isinstance(declared.elementType, StructType)
            return Collection(items if is_whole else F.array_compact(items), declared.elementType, is_list=True)
        return Collection(F.array_compact(found) if self.is_list else found, declared, self.is_list)

    def each(self, change: Callable[[Sql], Sql], changed: DataType) -> Collection:
        """Every item changed to another type; those that became null are left out."""
        if not self.is_list:
            return Collection(change(self.column), changed)
        return Collection(F.array_compact(F.transform(self.column, lambda item: change(item))), changed, is_list=True)

    def _field(self, name: str) -> Sql:
        return self.column.getField(name)


class Resource(Collection):
    """The row itself. Its elements are read as columns, so that Spark scans only those which a view names."""

    def __init__(self, schema: StructType) -> None:
        super().__init__(F.struct(*(F.col(name) for name in schema.names)), schema)

    def _field(self, name: str) -> Sql:
        return F.col(name)


def concatenated(arrays: Sql) -> Sql:
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
    return right if isinstance(right, StructType) else left


def widened(column: Sql, source: DataType, target: DataType) -> Sql:
    """A value of a type as one of another: the fields that it lacks are null.

    Text stands for a complex value of which no more is asked than whether it is there, and so has no fields to give.
    """
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
    if isinstance(target, StructType):
        return F.lit(None).cast(target)
    if isinstance(target, StringType):
        return least_text(column) if isinstance(source, DecimalType) else F.to_json(column)
    return column


def with_numbers(data_type: DataType, fhir_type: str) -> DataType:
    """A complex type whose decimals are text, as JSON writes them, with numbers in their place."""
    if isinstance(data_type, ArrayType):
        return ArrayType(with_numbers(data_type.elementType, fhir_type))
    if fhir_type == "decimal":
        return DECIMAL
    if not isinstance(data_type, StructType):
        return data_type
    known = elements(fhir_type)
    fields = [
        StructField(f.name, with_numbers(f.dataType, known[f.name].type) if f.name in known else f.dataType)
        for f in data_type.fields
    ]
    return StructType(fields)
