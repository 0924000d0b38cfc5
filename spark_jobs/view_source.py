"""Rows for views out of silver: the typed elements that a view needs, and what silver keeps as JSON beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StructType

from cohortlake.core.errors import UsageError, ViewError
from cohortlake.core.lake import Lake
from cohortlake.core.views.needed import Needed
from cohortlake.core.views.needed import Path as ElementPath
from spark_jobs import delta, delta_read
from spark_jobs import views_sql as S
from spark_jobs.fhir_types import PARTITION
from spark_jobs.views_collections import widened
from spark_jobs.views_files import json_schema
from spark_jobs.views_sql import Sql
from spark_jobs.views_text import as_column

# Silver's JSON object of the root elements that its typed columns do not hold exactly, each of them whole.
REST = "_rest"
# A quote that no backslash stands before ends a string; a colon behind it makes that string a name.
DECIMAL_MEMBER = r'(?<!\\)("\s*:\s*)(-?\d+(?:\.\d+(?:[eE][-+]?\d+)?|[eE][-+]?\d+))'


def lake_resources(spark: SparkSession, table: Path, needed: Needed, silos: Sequence[str] = ()) -> DataFrame:
    """The live rows of a silver table, of the silos that are named or of all.

    Raises UsageError where the table has no such silo, and ViewError as `resources` does.
    """
    # A plan over all the hundreds of elements of a type takes longer than most views do.
    silver = delta_read.read(spark, table, columns={*needed.tree.children, REST, PARTITION})
    if silos:
        known = {path.name.removeprefix(f"{PARTITION}=") for path in table.glob(f"{PARTITION}=*")}
        for silo in sorted(set(silos) - known):
            raise UsageError(
                f"no {needed.tree.type} came from the silo {silo!r}", f"Silos: {', '.join(sorted(known))}."
            )
        silver = silver.where(F.col(PARTITION).isin(*silos))
    return resources(silver, needed)


def silver_table(lake: Lake, resource_type: str) -> Path:
    """Where a lake's resources of a type lie. Raises UsageError where it has none."""
    table = lake.silver(resource_type)
    if not delta.exists(table):
        held = ", ".join(sorted(path.parent.name for path in table.parent.glob("*/_delta_log")))
        raise UsageError(f"the lake {lake.root} holds no {resource_type}", f"It holds {held or 'no silver yet'}.")
    return table


def silo_key(resource_type: Sql, resource_id: Sql) -> Sql:
    """The key of a resource in a lake, where two silos may use one id: the row's silo, and the id."""
    return S.concat(S.col(PARTITION), "/", resource_id)


def resources(silver: DataFrame, needed: Needed) -> DataFrame:
    """Rows with the elements that a view needs, in the types that it needs, beside their silo.

    Silver has a column for each typed root element, and may have `_rest`: where it does, a root element of which the
    view needs more than is typed is taken from there, and from the typed column in the rows whose `_rest` lacks it.
    The same holds for one with a decimal whose written form the view asks for: there decimals are text.

    Raises ViewError, which names the path in the view, for an element that such a table does not hold.
    """
    return silver.select(*(as_column(column) for column in resource_sql(silver.schema, needed)))


def resource_sql(silver: StructType, needed: Needed) -> list[Sql]:
    """What to select from silver to have `resources`."""
    schema, roots = resource_schema(silver, needed), written_roots(silver, needed)
    rest = S.from_json(_exact(S.col(REST)), StructType([schema[name] for name in roots]).simpleString())

    def element(name: str) -> Sql:
        if name not in roots:
            return S.col(name)
        written = rest.getField(name)
        if name not in silver.names:
            return written
        return S.coalesce(written, widened(S.col(name), silver[name].dataType, schema[name].dataType))

    return [element(name).alias(name) if name in roots else S.col(name) for name in schema.names]


def resource_schema(silver: StructType, needed: Needed) -> StructType:
    """The columns of `resources`."""
    roots = written_roots(silver, needed)
    fields = [field if field.name in roots else silver[field.name] for field in json_schema(needed.tree).fields]
    return StructType([*fields, *(field for field in silver.fields if field.name == PARTITION)])


def written_roots(silver: StructType, needed: Needed) -> list[str]:
    """The root elements that must come from `_rest` where it has them. Raises ViewError where there is no `_rest`."""
    lacking = list(untyped(silver, json_schema(needed.tree)))
    if REST not in silver.names:
        if lacking:
            raise _not_held(needed, lacking)
        return []
    wanted = {path[0] for path in (*lacking, *needed.as_written)}
    return [name for name in needed.tree.children if name in wanted]


def _exact(text: Sql) -> Sql:
    """JSON with its decimals as strings. Where text is asked for, Spark's from_json reads a decimal through a double.

    A decimal is what stands behind a name; FHIR has no lists of them that views could bound.
    """
    return S.regexp_replace(text, DECIMAL_MEMBER, '$1"$2"')


def untyped(held: DataType, wanted: DataType, at: ElementPath = ()) -> Iterator[ElementPath]:
    """The elements, by path, that a wanted type has and a held one has not. Text is wanted where any type will do."""
    if isinstance(wanted, ArrayType):
        if isinstance(held, ArrayType):
            yield from untyped(held.elementType, wanted.elementType, at)
        else:
            yield at
    elif isinstance(wanted, StructType):
        if not isinstance(held, StructType):
            yield at
            return
        for field in wanted.fields:
            if field.name in held.names:
                yield from untyped(held[field.name].dataType, field.dataType, (*at, field.name))
            else:
                yield (*at, field.name)


def _not_held(needed: Needed, lacking: list[ElementPath]) -> ViewError:
    resource = needed.tree.type
    said = [
        f"{needed.places[path]}: found {resource}.{'.'.join(path)}, which this lake does not type; "
        f"allowed: the elements of catalog/resources/{resource}.yaml"
        for path in lacking
    ]
    names = ", ".join(".".join(path) for path in lacking)
    return ViewError("\n".join(said), f"Add {names} to catalog/resources/{resource}.yaml, then run the lake again.")
