"""Where a person's rows lie: by table, data file and physical row, over every version."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohortlake.core.erasure import Search, Traits, named, patients, without_entries
from cohortlake.core.fhir.render import resources
from cohortlake.core.sql import literal
from spark_jobs.delta_history import Gone, data_files, without_views
from spark_jobs.erase_records import Reader, Told, other_patients
from spark_jobs.fhir_types import LAKE_COLUMNS, PARTITION

# As `cohortlake.core.erasure.references`; a name is as long as it can be.
NAMES = r"[A-Z][A-Za-z]{2,40}/[A-Za-z0-9\-.]{1,64}|urn:uuid:[0-9a-fA-F\-]{36}"
ROWS = 20_000
Rows = Callable[[pa.Table], list[bool]]


@dataclass
class Found:
    """What was found in a table. `several` are rows that name other patients too.

    `own` is what the rows are called that name a patient, `beyond` what those are that name what is erased besides.
    """

    gone: Gone = field(default_factory=Gone)
    own: set[str] = field(default_factory=set)
    beyond: set[str] = field(default_factory=set)
    traits: Traits = field(default_factory=Traits)
    places: set[tuple[str, int]] = field(default_factory=set)
    several: int = 0
    of_others: set[str] = field(default_factory=set)


def silo_of(name: str) -> str:
    """The silo of a data file of silver, by its path."""
    return next((part.partition("=")[2] for part in name.split("/") if part.startswith(f"{PARTITION}=")), "")


def in_silver(table: Path, silo: str, erased: set[str], mine: set[str]) -> Found:
    """A silo's rows of a silver table that are, or refer to, what is `erased`; `mine` are the patients in it.

    `of_others` are other Patients that refer to it.
    """
    found, kind = Found(), table.name
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    wanted = sorted({other for name in erased for other in _written(name)})
    connection.register("wanted", pa.table({"name": pa.array(wanted, pa.string())}))
    for file in data_files(table):
        if silo_of(file) != silo:
            continue
        for row, name, file_hash, offset, others in connection.execute(_silver_sql(table / file, kind)).fetchall():
            found.gone.rows.setdefault(file, []).append(row)
            found.places.add((file_hash, offset))
            is_shared = name not in mine and bool(patients(others) - mine)
            found.several += is_shared
            if is_shared and kind == "Patient":
                found.of_others.add(name.partition("/")[2])
            elif not is_shared:
                (found.beyond if mine.isdisjoint([name, *others]) else found.own).add(name)
    return found


def _written(name: str) -> set[str]:
    """A name as texts have it."""
    return {name.replace("*/", "urn:uuid:") for name in named(name)}


def _silver_sql(file: Path, kind: str) -> str:
    own = f"{literal(kind + '/')} || id"
    text = r"replace(CAST(to_json(t) AS VARCHAR), '\/', '/')"
    listed = f"list_append(list_distinct(regexp_extract_all({text}, {literal(NAMES)})), {own})"
    rows = (
        f"SELECT file_row_number AS n, {own} AS own, _file_hash, _offset, {listed} AS names "  # noqa: S608
        f"FROM read_parquet({literal(file)}, file_row_number=true, hive_partitioning=false) t"
    )
    return (
        f"WITH r AS ({rows}), hit AS (SELECT DISTINCT n FROM (SELECT n, unnest(names) AS name FROM r) "  # noqa: S608
        "SEMI JOIN wanted USING (name)) SELECT n, own, _file_hash, _offset, names FROM r SEMI JOIN hit USING (n)"
    )


def sourced(table: Path, silo: str, search: Search) -> Gone:
    """Rows that stay (an Organization's) and say of a record that goes that they came from it: that is to be null."""
    gone = Gone()
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    for file in data_files(table):
        if silo_of(file) == silo and _has_source(pq.read_schema(table / file)):
            scan = f"read_parquet({literal(table / file)}, file_row_number=true, hive_partitioning=false)"
            sql = f"SELECT file_row_number, meta.source FROM {scan} WHERE meta.source IS NOT NULL"  # noqa: S608
            for row, source in connection.execute(sql).fetchall():
                if search.holds(source):
                    gone.changed.setdefault(file, {})[row] = {"meta.source": None}
    return gone


def _has_source(schema: pa.Schema) -> bool:
    return "meta" in schema.names and schema.field("meta").type.get_field_index("source") >= 0


def patients_traits(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Patient in every version, as (silo, FHIR): its elements that identify."""
    for file in data_files(table):
        for batch in pq.ParquetFile(table / file).iter_batches(ROWS):
            rows = pa.Table.from_batches([batch])
            rest = rows["_rest"].combine_chunks() if "_rest" in rows.column_names else None
            elements = [name for name in rows.column_names if name not in (*LAKE_COLUMNS, PARTITION)]
            for text in resources("Patient", rows.select(elements), rest).to_pylist():
                yield silo_of(file), json.loads(text)


def in_bronze(
    table: Path, reader: Reader, erased: set[str], mine: set[str], bundles: Collection[str], search: Search,
    places: Collection[tuple[str, int]],
) -> Found:  # fmt: skip
    """Records of a silo's bronze that name what is `erased`, or that rows of silver which go were made of (`places`).

    Of those that nobody can read, the ones that `search` finds. Of a Bundle of deletes (feeds `bundles`) only its entry
    goes.
    """
    found = Found()
    wanted = {other for name in erased for other in named(name)}
    for file in data_files(table):
        source, start = pq.ParquetFile(table / file), 0
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group)
            feed = rows["feed"][0].as_py()
            here = list(zip(rows["file_hash"].to_pylist(), rows["offset"].to_pylist(), strict=True))
            for number, told in enumerate(reader.told(feed, rows)):
                if here[number] in places:
                    _note(found, file, start + number, rows, number)
                    _judge(found, told or [], mine, wanted)
                elif told is None:
                    if search.holds(rows["payload"][number].as_py()):
                        _note(found, file, start + number, rows, number)
                elif any(not wanted.isdisjoint(one.every) for one in told):
                    if feed in bundles:
                        text = without_entries(rows["payload"][number].as_py(), wanted)
                        found.gone.changed.setdefault(file, {})[start + number] = {"payload": text}
                    else:
                        _note(found, file, start + number, rows, number)
                        _judge(found, told, mine, wanted)
            start += rows.num_rows
    return found


def _note(found: Found, file: str, row: int, rows: pa.Table, number: int) -> None:
    found.gone.rows.setdefault(file, []).append(row)
    found.places.add((rows["file_hash"][number].as_py(), rows["offset"][number].as_py()))


def _judge(found: Found, told: list[Told], mine: set[str], wanted: set[str]) -> None:
    found.several += bool(other_patients(told, mine))
    for one in told:
        if one.own and (one.own in mine or not patients(one.every) - mine):
            if not mine.isdisjoint(one.every):
                found.own.add(one.own)
            elif not wanted.isdisjoint(one.every):
                found.beyond.add(one.own)
        if one.own in mine:
            found.traits |= one.traits


def by_rows(table: Path, is_gone: Rows) -> Gone:
    """Rows of a table for which a function of its rows says so."""
    gone = Gone()
    for file in data_files(table):
        start = 0
        for batch in pq.ParquetFile(table / file).iter_batches(ROWS):
            rows = without_views(pa.Table.from_batches([batch]))
            chosen = [start + number for number, goes in enumerate(is_gone(rows)) if goes]
            if chosen:
                gone.rows.setdefault(file, []).extend(chosen)
            start += rows.num_rows
    return gone


def with_keys(keys: Collection[str]) -> Rows:
    """Whether a text of a row is one of the keys."""
    wanted = pa.array(sorted(keys), pa.string())

    def is_gone(rows: pa.Table) -> list[bool]:
        held = [
            pc.is_in(rows[name], value_set=wanted).to_pylist() for name in rows.column_names if _is_text(rows, name)
        ]
        return [any(values) for values in zip(*held, strict=True)] if held else [False] * rows.num_rows

    return is_gone


def _is_text(rows: pa.Table, name: str) -> bool:
    return bool(pa.types.is_string(rows.schema.field(name).type))
