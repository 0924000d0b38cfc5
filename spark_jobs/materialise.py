"""Several views over one resource type made in a single scan: the views' rows leave Spark as Arrow, and the
executors' Python workers write the parts of each table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from cohortlake.core.catalog import Table
from cohortlake.core.errors import CatalogError
from cohortlake.core.terminology.units import Units
from cohortlake.core.views import ViewPlan
from cohortlake.core.views.needed import needed
from spark_jobs import delta
from spark_jobs.fhir_types import PARTITION, table_schema
from spark_jobs.made_columns import with_made_columns
from spark_jobs.match import stand
from spark_jobs.person_rows import with_persons
from spark_jobs.staged import Staged
from spark_jobs.units import Converter
from spark_jobs.view_source import resources
from spark_jobs.views import several_stages, staged
from spark_jobs.views_expressions import SqlKey

# Rows of a table that a task holds before it writes a part of them.
ROWS_PER_PART = 500_000


@dataclass(frozen=True)
class Known:
    """What the lake knows, by which a view's rows are made whole.

    `replaced` are keys that others stand for (`spark_jobs.match`), `units` what `standard_units` are made by, `persons`
    what `person_of` is looked up in (`person_rows.PERSON_KEYS`), `displays` the one display of each code
    (`spark_jobs.displays`).
    """

    replaced: pa.Table
    units: Units
    persons: pa.Table
    displays: pa.Table


def check_columns(table: Table, made: Sequence[str]) -> None:
    """Raises CatalogError where a table's view or SQL makes other columns than its declaration says."""
    if set(made) != set(table.viewed):
        missing, extra = set(table.viewed) - set(made), set(made) - set(table.viewed)
        raise CatalogError(
            f"table {table.name}: declared but not made: {sorted(missing)}; made but not declared: {sorted(extra)}",
            f"Make catalog/tables/{table.name}/table.yaml agree with its view or SQL.",
        )


def view_structs(silver: DataFrame, views: Mapping[str, tuple[Table, ViewPlan]], key: SqlKey) -> DataFrame:
    """A column a view, named as its table: in the view's rows a struct of the declared columns, null in the others'.

    Those that the job makes (`Table.made`) are not among them; they are made where the rows are written.
    """
    plans = {name: view for name, (_, view) in views.items()}
    rows = resources(silver, needed(*plans.values()))
    for table, view in views.values():
        check_columns(table, [PARTITION, *(column.name for column in view.select.columns_in_order())])
    made = staged(rows, several_stages(rows.schema, plans, [PARTITION], key=key))
    return made.select(*(_declared(table, name).alias(name) for name, (table, _) in views.items()))


def _declared(table: Table, view: str) -> Column:
    """A view's row as the table declares it."""
    row = F.col(view)
    values = {name: F.col(PARTITION) if name == PARTITION else row.getField(name) for name in table.viewed}
    declared = F.struct(*(values[name].cast(table.columns[name].type).alias(name) for name in table.viewed))
    return F.when(row.isNotNull(), declared)


def write_views(
    structs: DataFrame, tables: Mapping[str, Table], folders: Mapping[str, Path], known: Known
) -> dict[str, Staged]:
    """Write each table's rows as parts below its folder, in one job; no reader sees them before `delta.commit`."""
    schemas = {
        name: table_schema({column: declared.type for column, declared in table.columns.items()})
        for name, table in tables.items()
    }

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: dict[str, list[pa.Table]] = {name: [] for name in schemas}
        converter = Converter(known.units)

        def write(name: str) -> Iterator[pa.RecordBatch]:
            data = pa.concat_tables(waiting[name]) if waiting[name] else schemas[name].empty_table()
            waiting[name] = []
            if data.num_rows:
                part = json.dumps(asdict(delta.write_part(folders[name], data, {})))
                yield pa.RecordBatch.from_pydict({"table": [name], "part": [part]})

        for batch in batches:
            for name, schema in schemas.items():
                found = batch.column(name).drop_null()
                if len(found):
                    table = tables[name]
                    rows = with_made_columns(pa.Table.from_struct_array(found), table, converter, known.displays)
                    rows = with_persons(rows, table.person_of, known.persons).select(schema.names).cast(schema)
                    waiting[name].append(stand(rows, table.key[0], known.replaced))
                if sum(table.num_rows for table in waiting[name]) >= ROWS_PER_PART:
                    yield from write(name)
        for name in schemas:
            yield from write(name)

    written = {name: Staged(name, [], 0) for name in schemas}
    for row in structs.mapInArrow(task, "table string, part string").collect():
        part = delta.Part(**json.loads(row["part"]))
        written[row["table"]].parts.append(part)
        written[row["table"]].rows += part.rows
    return written
