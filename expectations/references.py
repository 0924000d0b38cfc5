"""What the rows of a staged part refer to (claims) and can be referred to by (targets), in Arrow: the executors' part.

Spark SQL can say this too, but then a silo is a union of forty plans, whose planning and code generation cost several
times what the work does (measured: 18 s of processor time against 2 for hospital A).
"""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.catalog import Node
from cohortlake.core.fhir.definitions import resource_types
from spark_jobs.delta import COMPRESSION
from spark_jobs.parallel import Unit
from spark_jobs.staged import PLACE

_STANDS = [("table", pa.string()), ("_file_hash", pa.string()), ("_offset", pa.int64()), ("id", pa.string())]
_KEY = ("key", pa.string())
# Of a reference: the check that it resolves. Of a date: its two checks, and the first and last day that it may mean.
_JUDGED = [("resolves", pa.string()), ("after_birth", pa.string()), ("before_death", pa.string())]
_DAYS = [("days_before", pa.int32()), ("days_after", pa.int32()), ("first", pa.date32()), ("last", pa.date32())]
CLAIMS = pa.schema([*_STANDS, _KEY, *_JUDGED, *_DAYS])
_KNOWN = [("version", pa.string()), ("is_id", pa.bool_()), ("birth", pa.date32()), ("death", pa.date32())]
TARGETS = pa.schema([*_STANDS, _KEY, *_KNOWN])


@dataclass(frozen=True)
class Reference:
    """A reference to look up: `path` from the root, the check's name, and the type that a `urn:uuid:` is taken for."""

    path: tuple[str, ...]
    check: str
    target: str
    is_patient: bool


@dataclass(frozen=True)
class Dated:
    """A date of the patient's: `path` from the root, and its two checks with their tolerance in days."""

    path: tuple[str, ...]
    after_birth: str
    before_death: str
    days_before: int
    days_after: int


def reference_key(text: str, target: str) -> str | None:
    """What a reference points at, as a key of the targets: `Type/id`, or `Type?identifier=system|value`.

    A server's address and a version (`/_history/2`) are left out; a resource contained in this one (`#id`) is no
    target, and gives None. https://hl7.org/fhir/R4/references.html#literal
    """
    if text.startswith("#"):
        return None
    if text.startswith("urn:uuid:"):
        return f"{target}/{text.removeprefix('urn:uuid:')}"
    path, is_search, search = text.partition("?")
    if is_search:
        return f"{path.rpartition('/')[2]}?{search}"
    return "/".join(path.partition("/_history/")[0].split("/")[-2:])


def day_bounds(text: str) -> tuple[datetime.date | None, datetime.date | None]:
    """The first and last day that a FHIR date or dateTime may mean; None for what is no date."""
    try:
        year = int(text[:4])
        if len(text) == 4:
            return datetime.date(year, 1, 1), datetime.date(year, 12, 31)
        month = int(text[5:7])
        if len(text) == 7:
            return datetime.date(year, month, 1), datetime.date(year, month, calendar.monthrange(year, month)[1])
        day = datetime.date(year, month, int(text[8:10]))
    except ValueError:
        return None, None
    return day, day


def _each(values: pa.Array, work: Callable[[str], Any], kind: pa.DataType) -> pa.Array:
    """What `work` gives for each text; each distinct text is worked on once."""
    coded = values.dictionary_encode()
    made = [None if text is None else work(text) for text in coded.dictionary.to_pylist()]
    return pa.array(made, kind).take(coded.indices)


def _reached(table: pa.Table, path: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    """Every value at a path, with the row that it is of."""
    values = table[path[0]].combine_chunks()
    rows = pa.array(range(table.num_rows), pa.int64())
    for name in (*path[1:], None):
        if pa.types.is_list(values.type):
            rows, values = rows.take(pc.list_parent_indices(values)), pc.list_flatten(values)
        if name is not None:
            values = pc.struct_field(values, name)
    return rows, values


def _texts(values: pa.Array, *path: str) -> pa.Array:
    texts = pc.struct_field(values, list(path))
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _token(system: pa.Array, value: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pc.fill_null(system, ""), value, "|")


def _keys(references: pa.Array, reference: Reference) -> pa.Array:
    """The keys of Reference values: what they say literally, else their logical identifier, else none."""
    literal = _each(_texts(references, "reference"), partial(reference_key, target=reference.target), pa.string())
    token = _token(_texts(references, "identifier", "system"), _texts(references, "identifier", "value"))
    logical = pc.binary_join_element_wise("?identifier=", token, "")
    is_literal = pc.is_valid(_texts(references, "reference"))
    keys = pc.if_else(is_literal, literal, logical)
    if reference.is_patient:
        # A patient that is named by a mere text, or within the record, is nobody.
        is_named = pc.or_(is_literal, pc.is_valid(_texts(references, "display")))
        keys = pc.if_else(pc.and_(is_named, pc.is_null(keys)), "", keys)
    return keys


def _table(schema: pa.Schema, size: int, columns: dict[str, Any]) -> pa.Table:
    """Rows of a schema: a scalar is the same in each row, and what is not given is null."""
    made = []
    for field in schema:
        value = columns.get(field.name)
        is_column = isinstance(value, pa.Array | pa.ChunkedArray)
        made.append(value.cast(field.type) if is_column else pa.repeat(pa.scalar(value, field.type), size))
    return pa.table(made, schema=schema)


def claims(
    table: pa.Table, name: str, references: Sequence[Reference], dates: Sequence[Dated], held: set[str]
) -> pa.Table:
    """The claims of rows; one on a type that silver does not hold (`held` are those it does) is not judged."""
    unheld = resource_types() - held
    found = []
    for reference in references:
        rows, values = _reached(table, reference.path)
        keys = _keys(values, reference)
        is_known = _each(keys, lambda key: key.partition("/")[0].partition("?")[0] not in unheld, pa.bool_())
        rows, keys = rows.filter(is_known), keys.filter(is_known)
        place = {column: table[column].take(rows).combine_chunks() for column in PLACE}
        found.append(_table(CLAIMS, len(keys), {**place, "table": name, "key": keys, "resolves": reference.check}))
        if not reference.is_patient:
            continue
        for dated in dates:
            _, texts = _reached(table, dated.path)
            texts = texts.take(rows)
            first = _each(texts, lambda text: day_bounds(text)[0], pa.date32())
            last = _each(texts, lambda text: day_bounds(text)[1], pa.date32())
            checks = {"after_birth": dated.after_birth, "before_death": dated.before_death}
            days = {"days_before": dated.days_before, "days_after": dated.days_after, "first": first, "last": last}
            made = _table(CLAIMS, len(keys), {**place, "table": name, "key": keys, **checks, **days})
            found.append(made.filter(pc.is_valid(made["first"])))
    return pa.concat_tables(found) if found else CLAIMS.empty_table()


def targets(table: pa.Table, name: str) -> pa.Table:
    """What rows can be referred to by: their type and id, and their identifiers; a patient's with birth and death."""
    every = pa.array(range(table.num_rows), pa.int64())
    forms = [(every, pc.binary_join_element_wise(f"{name}/", table["id"].combine_chunks(), ""))]
    if "identifier" in table.column_names:
        rows, identifiers = _reached(table, ["identifier"])
        value = _texts(identifiers, "value")
        token = _token(_texts(identifiers, "system"), value)
        for start, rest in ((f"{name}?identifier=", token), (f"{name}?identifier=", value), ("?identifier=", token)):
            forms.append((rows, pc.binary_join_element_wise(start, rest, "")))
    found = []
    for rows, keys in forms:
        columns = {column: table[column].take(rows).combine_chunks() for column in PLACE}
        columns |= {"table": name, "key": keys, "is_id": rows is every}
        columns["version"] = table["_version"].take(rows).combine_chunks()
        if name == "Patient":
            for element, column, edge in (("birthDate", "birth", 0), ("deceasedDateTime", "death", 1)):
                if element in table.column_names:
                    days = _each(
                        table[element].combine_chunks(), lambda text, edge=edge: day_bounds(text)[edge], pa.date32()
                    )
                    columns[column] = days.take(rows)
        made = _table(TARGETS, len(keys), columns)
        found.append(made.filter(pc.is_valid(made["key"])))
    return pa.concat_tables(found)


def _file_path(node: Node, path: Sequence[str]) -> str:
    """An element's path in a Parquet file, so that no more of the record is read than it."""
    found = []
    for name in path:
        node = node.children[name]
        found.append(f"{name}.list.element" if node.is_list else name)
    return ".".join(found)


def target_columns(tree: Node) -> list[str]:
    """The elements that `targets` looks at, as far as silver types them."""
    return [name for name in ("id", "identifier", "birthDate", "deceasedDateTime") if name in tree.children]


def extract(unit: Unit, tree: Node, references: Sequence[Reference], dates: Sequence[Dated], held: set[str]) -> Unit:
    """One task: the claims and the targets of a staged part, as two files."""
    paths = [(name,) for name in target_columns(tree)] + [item.path for item in (*references, *dates)]
    columns = {_file_path(tree, path) for path in paths}
    source = pq.ParquetFile(unit["source"])
    rows = source.read(columns=sorted({*columns, "_version", *PLACE}))
    counts = {}
    found = {"claims": claims(rows, tree.name, references, dates, held), "targets": targets(rows, tree.name)}
    for kind, made in found.items():
        path = Path(unit[kind])
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(made, path, **COMPRESSION)
        counts[kind] = made.num_rows
    return counts
