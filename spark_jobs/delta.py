"""The only writer of tables.

Data files are written first, invisible, under the table's folder (`Part`s; by Spark or by a job's own workers), and
made visible by one commit to the Delta log, which is atomic: so a batch can be audited before it is published, without
being written twice, and a run that is killed leaves nothing half-done. VACUUM removes files that no commit names.
Rows that replace live ones are committed with what they replace (`spark_jobs.delta_commit`).
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arro3.io
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction

from cohortlake.core.errors import CatalogError
from cohortlake.core.lake import write_error

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

COMPRESSION = {"compression": "zstd", "compression_level": 1}
# Rows of a row group, at most: readers share a file out by them.
ROW_GROUP = 32_768
ATTEMPTS = 5
# Every earlier version can be asked for: the log is not shortened when it is folded into a checkpoint.
HISTORY = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class Part:
    """A data file that may become part of a table: its path below the table's folder, rows, bytes."""

    path: str
    rows: int
    bytes: int
    partition: dict[str, str | None] = field(default_factory=dict)
    minimum: dict[str, Any] = field(default_factory=dict)
    maximum: dict[str, Any] = field(default_factory=dict)


def part_path(partition: Mapping[str, str | None]) -> str:
    """A new part's path below its table's folder."""
    folder = "".join(f"{key}={value}/" for key, value in partition.items())
    return f"{folder}part-{uuid.uuid4().hex}.parquet"


def write_part(table: Path, data: pa.Table, partition: dict[str, str | None]) -> Part:
    """Write a part; no reader sees it before `commit`. Raises where the disk does not take it.

    arrow-rs writes wide nested rows a third faster than Arrow's writer in C++ (docs/performance.md).
    """
    name = part_path(partition)
    path = table / name
    path.parent.mkdir(parents=True, exist_ok=True)
    even = math.ceil(data.num_rows / math.ceil(data.num_rows / ROW_GROUP)) if data.num_rows else ROW_GROUP
    arro3.io.write_parquet(data, path, compression="zstd(1)", max_row_group_size=even)
    return Part(name, data.num_rows, path.stat().st_size, partition)


def write_spark_parts(frame: DataFrame, table: Path, partition: dict[str, str | None]) -> list[Part]:
    """Write a frame as parts with Spark; no reader sees them before `commit`."""
    folder = "".join(f"{key}={value}/" for key, value in partition.items()) + f"batch-{uuid.uuid4().hex}"
    frame.write.parquet(str(table / folder))
    parts = []
    for path in sorted((table / folder).glob("*.parquet")):
        rows = pq.read_metadata(path).num_rows
        if rows:
            parts.append(Part(f"{folder}/{path.name}", rows, path.stat().st_size, partition))
    return parts


def exists(table: Path) -> bool:
    return (table / "_delta_log").is_dir() and DeltaTable.is_deltatable(str(table))


def version(table: Path) -> int:
    """The table's newest version, or -1 where there is no table."""
    return int(DeltaTable(str(table)).version()) if exists(table) else -1


def is_outside_phi(table: Path) -> bool:
    """Whether a table lies where analysts and modelers look: the last zone in its path is `research`."""
    return next((part for part in reversed(table.parts) if part in ("phi", "research", "ops")), "") == "research"


def create(
    table: Path,
    schema: pa.Schema,
    *,
    description: str = "",
    partition_by: Sequence[str] = (),
    privacy: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> DeltaTable:
    """Create the table if there is none. Tables outside the phi and ops zones need a privacy class for each column.

    Raises CatalogError for a column without a class, or an identifier, there; LakeWriteError where the disk refuses.
    """
    if is_outside_phi(table):
        classes = privacy or {}
        for name in schema.names:
            if classes.get(name, "identifier") == "identifier":
                raise CatalogError(
                    f"{table.name}.{name} is {'an identifier' if name in classes else 'not classified'}: "
                    "it cannot be written outside the phi zone",
                    "Give the column a privacy class in the table's declaration, or leave it out.",
                )
    if exists(table):
        return DeltaTable(str(table))
    try:
        return DeltaTable.create(
            str(table),
            schema=schema,
            mode="ignore",
            partition_by=list(partition_by),
            description=description,
            configuration={**HISTORY, **(properties or {})},
        )
    except OSError as error:
        raise write_error(error, table) from error


def _action(table: Path, part: Part) -> AddAction:
    stats = {"numRecords": part.rows, "minValues": part.minimum, "maxValues": part.maximum, "nullCount": {}}
    return AddAction(part.path, part.bytes, part.partition, int(time.time() * 1000), True, json.dumps(stats))


def commit(
    table: Path,
    parts: Iterable[Part],
    *,
    mode: str = "append",
    application: tuple[str, int] | None = None,
    facts: Mapping[str, str] | None = None,
) -> int:
    """Make parts visible in one commit, adding to or (`overwrite`) replacing what is live; gives the new version.

    With `application` (a name and a number that only grows) a second call with the same number does nothing.
    """
    actions = [_action(table, part) for part in parts]
    for attempt in range(ATTEMPTS):
        live = DeltaTable(str(table))
        before = live.transaction_version(application[0]) if application else None
        if application and before is not None and before >= application[1]:
            return int(live.version())
        properties = CommitProperties(
            custom_metadata=dict(facts or {}),
            app_transactions=[Transaction(*application)] if application else None,
        )
        partition_by = live.metadata().partition_columns
        try:
            live.create_write_transaction(
                actions,
                mode,
                live.schema(),
                partition_by,
                commit_properties=properties,
            )
            return int(DeltaTable(str(table)).version())
        except CommitFailedError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
        except OSError as error:
            raise write_error(error, table) from error
    raise AssertionError("unreachable")


def replace(
    table: Path,
    schema: pa.Schema,
    parts: Sequence[Part],
    *,
    description: str,
    privacy: Mapping[str, str],
    facts: Mapping[str, str],
) -> None:
    """Make parts the whole of a table, in one commit; columns that changed change with them."""
    live = create(table, schema, description=description, privacy=privacy)
    if live.schema() == Schema.from_arrow(schema):
        commit(table, parts, mode="overwrite", facts=facts)
        return
    data = pa.concat_tables([pq.read_table(table / part.path) for part in parts] or [schema.empty_table()])
    try:
        write_deltalake(
            str(table), data.cast(schema), mode="overwrite", schema_mode="overwrite",
            commit_properties=CommitProperties(custom_metadata=dict(facts)),
        )  # fmt: skip
    except OSError as error:
        raise write_error(error, table) from error


def add_columns(spark: SparkSession, table: Path, schema: pa.Schema) -> list[str]:
    """Add to the table what the schema has beyond it, at any depth; gives the paths added."""
    from pyspark.sql.pandas.types import from_arrow_schema
    from pyspark.sql.types import ArrayType, DataType, StructType

    added: list[str] = []

    def compare(live: DataType, wanted: DataType, path: str) -> None:
        if isinstance(live, ArrayType) and isinstance(wanted, ArrayType):
            compare(live.elementType, wanted.elementType, f"{path}.element")
        elif isinstance(live, StructType) and isinstance(wanted, StructType):
            for field_ in wanted.fields:
                place = f"{path}.`{field_.name}`" if path else f"`{field_.name}`"
                if field_.name not in live.names:
                    added.append(f"{place} {field_.dataType.simpleString()}")
                else:
                    compare(live[field_.name].dataType, field_.dataType, place)

    compare(spark.read.format("delta").load(str(table)).schema, from_arrow_schema(schema), "")
    if added:
        spark.sql(f"ALTER TABLE delta.`{table}` ADD COLUMNS ({', '.join(added)})")
    return added


def told(table: Path, batch: str) -> dict[str, Any] | None:
    """What a commit of late with this `batch` among its facts says of itself, with its books; None if there is none."""
    for commit in DeltaTable(str(table)).history(20):
        if commit.get("batch") == batch and "book" in commit:
            return dict(commit)
    return None


def replace_rows(table: Path, data: pa.Table, where: str) -> None:
    """Replace the rows that match `where` by `data`, atomically; for the small tables of the books.

    Columns that the table lacks are added to it.
    """
    for attempt in range(ATTEMPTS):
        try:
            if not exists(table):
                DeltaTable.create(str(table), schema=data.schema, mode="ignore")
            write_deltalake(str(table), data, mode="overwrite", predicate=where, schema_mode="merge")
            return
        except CommitFailedError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
        except OSError as error:
            raise write_error(error, table) from error


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema with texts as texts."""
    return pa.schema([field.with_type(pa.string()) if field.type == pa.string_view() else field for field in schema])


def rows(table: Path, columns: list[str] | None = None, filters: Any = None) -> pa.Table | None:
    """A small table's live rows without Spark, or None where there is no table."""
    try:
        live = DeltaTable(str(table))
    except TableNotFoundError:
        return None
    named = [name for name, *_ in filters or []]
    found = live.to_pyarrow_table(columns=columns and list(dict.fromkeys([*columns, *named])))
    # Files that delta-rs wrote again (UPDATE) say that their texts are string views, which Arrow cannot compare.
    found = found.cast(_plain(found.schema))
    if filters:
        found = found.filter(pq.filters_to_expression(filters))
    return found.select(columns) if columns else found


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that a reader sees the old one or the new one, whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        fresh.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise write_error(error, path) from error
