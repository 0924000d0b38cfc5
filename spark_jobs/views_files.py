"""Rows for views out of files of FHIR JSON: NDJSON, zipped or not, and JSON files with a resource or a Bundle.

Read with the explicit schema of what the view needs. Decimals are read as text: boundaries depend on how they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import ArrayType, DataType, DecimalType, StringType, StructField, StructType

from cohortlake.core.catalog.resource import Node
from cohortlake.core.errors import SourceError
from cohortlake.core.views.resources import resource_lines
from spark_jobs.fhir_types import fhir_schema

LINES, WHOLE = (".ndjson", ".ndjson.gz"), (".json",)
TYPE, CORRUPT = "resourceType", "_corrupt_record"


@dataclass(frozen=True)
class Reading:
    """`rows` has a row a resource of the view's type. What else was met is known once an action on them has ended."""

    rows: DataFrame
    _met: Observation

    def remarks(self) -> list[str]:
        """What a user must know of lines that are no rows, or not whole ones; counts only."""
        met = self._met.get
        said = {
            "unreadable": "lines are no FHIR resources: not JSON, or without a resourceType",
            "misfits": "resources hold an element of another JSON type than FHIR gives it: it is empty in their rows",
        }
        return [f"{met[name]:,} {what}" for name, what in said.items() if met[name]]


def read_files(spark: SparkSession, files: Sequence[Path], needed: Node, scratch: Path) -> Reading:
    """The resources of `needed.type` in files, with the elements that are needed; those of other types are no rows.

    `scratch` is a folder of our own, which must last until the rows have been read.
    """
    lines = [_linked(file, scratch) for file in files if file.name.endswith(LINES)]
    whole = [file for file in files if not file.name.endswith(LINES)]
    if whole:
        lines.append(_as_lines(whole, scratch))
    schema = json_schema(needed)
    whole_schema = StructType([StructField(TYPE, StringType()), *schema.fields, StructField(CORRUPT, StringType())])
    read = spark.read.schema(whole_schema).json([str(file) for file in lines])
    # Spark gives what it could read of a record that it calls corrupt: of one that is cut, too, which is no JSON.
    is_json = F.col(CORRUPT).isNull() | F.try_parse_json(CORRUPT).isNotNull()
    is_wanted = F.coalesce(F.col(TYPE) == needed.type, F.lit(False)) & is_json
    met = Observation(f"view-{uuid4().hex}")
    observed = read.observe(
        met,
        F.count_if(F.col(TYPE).isNull() | ~is_json).alias("unreadable"),
        F.count_if(is_wanted & F.col(CORRUPT).isNotNull()).alias("misfits"),
    )
    return Reading(observed.where(is_wanted).select(*(F.col(f"`{name}`") for name in schema.names)), met)


def row_schema(tree: Node) -> StructType:
    """The elements of a tree as silver types them."""
    return from_arrow_schema(fhir_schema(tree))


def json_schema(tree: Node) -> StructType:
    """The elements of a tree as JSON's reader is to type them."""
    return StructType([StructField(f.name, _with_text(f.dataType)) for f in row_schema(tree).fields])


def _with_text(data_type: DataType) -> DataType:
    """A type with text in the place of decimals."""
    if isinstance(data_type, ArrayType):
        return ArrayType(_with_text(data_type.elementType))
    if isinstance(data_type, StructType):
        return StructType([StructField(f.name, _with_text(f.dataType)) for f in data_type.fields])
    return StringType() if isinstance(data_type, DecimalType) else data_type


def resource_files(place: Path) -> list[Path]:
    """A file of FHIR JSON, or those in a folder and below. Raises SourceError where there is none."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    found = [file for file in files if file.name.endswith((*LINES, *WHOLE))]
    if not found:
        kinds = ", ".join((*LINES, *WHOLE))
        raise SourceError(f"{place}: there is no file of FHIR JSON", f"Name a folder or a file of {kinds}.")
    return found


def _linked(file: Path, scratch: Path) -> Path:
    """The file under a plain name: Spark takes names for patterns, and leaves out those that begin with `_` or `.`."""
    link = scratch / f"{uuid4().hex}{next(end for end in LINES if file.name.endswith(end))}"
    link.symlink_to(file.absolute())
    return link


def _as_lines(files: Sequence[Path], scratch: Path) -> Path:
    to = scratch / f"{uuid4().hex}.ndjson"
    with to.open("w", encoding="utf-8") as stream:
        for file in files:
            stream.writelines(
                f"{line}\n" for line in resource_lines(file.read_text(encoding="utf-8", errors="replace"))
            )
    return to
