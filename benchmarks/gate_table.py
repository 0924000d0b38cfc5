"""The table that the gate benchmark judges: observations typed as silver types them, with faults in known rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb

from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.rules import FHIR_DATES, FHIR_ID, Check, Matches, OneOf, Present, Rule, Within
from expectations.audit import audit_columns
from spark_jobs.delta import Part
from spark_jobs.fhir_types import duckdb_type

TYPED = ("status", "code.text", "subject", "encounter", "effectiveDateTime", "issued", "valueQuantity")
TREE = resource_tree("Observation", TYPED)
PART_ROWS = 500_000
# One row in so many has a fault, of each of the ten kinds.
FAULT_EVERY = 10_000

PRESENT = ("id", "status", "code.text", "subject.reference", "effectiveDateTime", "valueQuantity.value")
CODES = {
    "status": ("registered", "preliminary", "final", "amended"),
    "valueQuantity.comparator": ("<", "<=", ">=", ">"),
    "valueQuantity.system": ("http://unitsofmeasure.org",),
    "valueQuantity.code": ("mg/dL", "/min", "mm[Hg]", "kg", "cm"),
}
PATTERNS = {
    "id": FHIR_ID,
    "subject.reference": f"Patient/{FHIR_ID}",
    "encounter.reference": f"Encounter/{FHIR_ID}",
    "effectiveDateTime": FHIR_DATES["dateTime"],
    "issued": FHIR_DATES["instant"],
}
# Numbers by name: SQL that DuckDB and Spark read alike, and their bounds.
NUMBERS = {
    "value is possible": ("CAST(valueQuantity.value AS DOUBLE)", 0, 500),
    "value is plausible": ("CAST(valueQuantity.value AS DOUBLE)", 10, 400),
    "year": ("CAST(left(effectiveDateTime, 4) AS INT)", 1900, 2026),
    "length of text": ("length(code.text)", 1, 40),
    "length of id": ("length(id)", 1, 64),
}
MOMENT = "TIMESTAMP '2015-01-01' + to_minutes(i % 5000000)"
UCUM = f"({list(CODES['valueQuantity.code'])})[1 + i % 5]"
# Each element of row `i` as DuckDB's SQL.
GOOD = {
    "id": "'obs-' || i",
    "status": "'final'",
    "code.text": "'Laboratory result ' || i % 200",
    "subject.reference": "'Patient/p' || i % 20000",
    "encounter.reference": "'Encounter/e' || i % 300000",
    "effectiveDateTime": f"strftime({MOMENT}, '%Y-%m-%dT%H:%M:%SZ')",
    "issued": f"strftime({MOMENT}, '%Y-%m-%dT%H:%M:%S.%gZ')",
    "valueQuantity.value": "20 + (i * 7919 % 28000) / 100",
    "valueQuantity.system": "'http://unitsofmeasure.org'",
    "valueQuantity.code": UCUM,
}
# What stands there instead where the row's number leaves the fault's own remainder.
FAULTS = (
    ("id", "'obs ' || i"),
    ("status", "'done'"),
    ("code.text", "repeat('long ', 20)"),
    ("subject.reference", "NULL"),
    ("encounter.reference", "'Encounter/a b'"),
    ("effectiveDateTime", "'1066-10-14'"),
    ("issued", "'yesterday'"),
    ("valueQuantity.code", "'mg%'"),
    ("valueQuantity.value", "9187.25"),
    ("valueQuantity.value", "450.5"),
)


def _checks() -> Iterator[Check]:
    def check(what: str, rule: Rule, element: str, sql: str = "") -> Check:
        return Check(
            "Observation", f"Observation.{element} {what}", "conformance", "quarantine", rule, element, "", sql
        )

    for path in PRESENT:
        yield check("is present", Present(), path)
    for path, codes in CODES.items():
        yield check("is a known code", OneOf(codes), path)
    for path, pattern in PATTERNS.items():
        yield check("is well formed", Matches(pattern), path)
    for name, (sql, least, most) in NUMBERS.items():
        yield check("is within bounds", Within(least, most), name, sql)


# Twenty checks, with the column of the flat table that each judges. Great Expectations' Spark engine puts a name with a
# dot into backticks, and then does not find it among the columns.
ITEMS = tuple(replace(item, column=item.column.replace(".", "_")) for item in audit_columns(_checks(), TREE))


def spark_sql() -> dict[str, str]:
    """The flat table's columns as Spark's SQL over the typed rows; an empty text is no value."""
    typed = {"valueQuantity.value": "valueQuantity.value"}
    return {
        item.column: item.check.sql or typed.get(item.check.element, f"nullif({item.check.element}, '')")
        for item in ITEMS
    }


def _value(path: str) -> str:
    """An element of row `i`, good or with its fault."""
    faults = [f"WHEN {at} THEN {bad}" for at, (of, bad) in enumerate(FAULTS) if of == path]
    return f"CASE i % {FAULT_EVERY} {' '.join(faults)} ELSE {GOOD[path]} END" if faults else GOOD[path]


def _columns() -> str:
    """The typed columns of row `i`; what of a data type is not made is null."""
    made: dict[str, list[str]] = {}
    for path in GOOD:
        name, _, within = path.partition(".")
        made.setdefault(name, []).append(f"{within}: {_value(path)}" if within else _value(path))
    columns = []
    for name, values in made.items():
        node = TREE.children[name]
        sql = "{" + ", ".join(values) + "}" if node.children else values[0]
        columns.append(f'CAST({sql} AS {duckdb_type(node)}) AS "{name}"')
    return ", ".join(columns)


def write_parts(folder: Path, rows: int, size: int = PART_ROWS) -> list[Part]:
    """Write the table as a staged table's parts, each of `size` rows."""
    folder.mkdir(parents=True)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    parts = []
    for start in range(0, rows, size):
        some = min(size, rows - start)
        path = folder / f"part-{start:09d}.parquet"
        numbers = f"range({start}, {start + some}) t(i)"
        source = f"SELECT {_columns()}, 'hash' AS _file_hash, i AS _offset, NULL::VARCHAR AS _rest FROM {numbers}"  # noqa: S608
        connection.execute(f"COPY ({source}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
        parts.append(Part(path.name, some, path.stat().st_size))
    return parts
