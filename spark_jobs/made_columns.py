"""What the job makes of a view's columns: one display a code, values in standard units, whether a row counts."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog.table import IS_COUNTED, CountedCodes, Table
from spark_jobs.displays import with_displays
from spark_jobs.units import Converter, in_standard_units


def with_made_columns(rows: pa.Table, table: Table, converter: Converter, displays: pa.Table) -> pa.Table:
    """A curated table's rows with the columns that its declaration adds, and with the lake's displays.

    `displays` are columns system, code, display: what `spark_jobs.displays` found for each code.
    """
    rows = with_displays(rows, table.displays, displays)
    if table.standard_units is not None:
        rows = in_standard_units(rows, table.standard_units, converter)
    if table.counted_statuses:
        rows = rows.append_column(IS_COUNTED, is_counted(rows, table.counted_statuses))
    return rows


def is_counted(rows: pa.Table, declared: dict[str, CountedCodes]) -> pa.ChunkedArray:
    """True for the rows whose statuses all count, false for the others; never null."""
    counts = pa.chunked_array([pa.repeat(True, rows.num_rows)])
    for name, codes in declared.items():
        one = pc.is_in(rows[name], pa.array(codes.counted, rows[name].type))
        if codes.absent == "counted":
            one = pc.or_(one, pc.is_null(rows[name]))
        counts = pc.and_(counts, one)
    return counts
