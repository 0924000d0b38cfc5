"""How the compiler sees FHIR's types: their kinds, and the SQL types of columns."""

from __future__ import annotations

import re
from enum import StrEnum

from cohortlake.core.fhir.definitions import primitive_types


class Kind(StrEnum):
    """What may be done with a value: types of a kind compare with each other, and numbers with numbers."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    STRING = "string"
    DATE = "date or time"
    TIME = "time of day"
    COMPLEX = "complex"


NUMBERS = frozenset((Kind.INTEGER, Kind.DECIMAL))

_KINDS = {
    "boolean": Kind.BOOLEAN,
    "integer": Kind.INTEGER,
    "integer64": Kind.INTEGER,
    "positiveInt": Kind.INTEGER,
    "unsignedInt": Kind.INTEGER,
    "decimal": Kind.DECIMAL,
    "date": Kind.DATE,
    "dateTime": Kind.DATE,
    "instant": Kind.DATE,
    "time": Kind.TIME,
}


def kind(fhir_type: str) -> Kind:
    """The kind of a FHIR type: a primitive without a kind of its own is text."""
    if fhir_type in _KINDS:
        return _KINDS[fhir_type]
    return Kind.STRING if fhir_type in primitive_types() else Kind.COMPLEX


# JSON name of a constant's value -> its FHIR type.
CONSTANT_TYPES = {
    "valueBase64Binary": "base64Binary",
    "valueBoolean": "boolean",
    "valueCanonical": "canonical",
    "valueCode": "code",
    "valueDate": "date",
    "valueDateTime": "dateTime",
    "valueDecimal": "decimal",
    "valueId": "id",
    "valueInstant": "instant",
    "valueInteger": "integer",
    "valueInteger64": "integer64",
    "valueOid": "oid",
    "valuePositiveInt": "positiveInt",
    "valueString": "string",
    "valueTime": "time",
    "valueUnsignedInt": "unsignedInt",
    "valueUri": "uri",
    "valueUrl": "url",
    "valueUuid": "uuid",
}

_DEFAULT_SQL_TYPES = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.INTEGER: "INTEGER",
    Kind.DECIMAL: "DECIMAL(38,18)",
    Kind.STRING: "VARCHAR",
    Kind.DATE: "VARCHAR",
    Kind.TIME: "VARCHAR",
}


def default_sql_type(fhir_type: str) -> str | None:
    """The SQL type of a column without an `ansi/type` tag; None for a complex type, which is left as it is."""
    return "BIGINT" if fhir_type == "integer64" else _DEFAULT_SQL_TYPES.get(kind(fhir_type))


# ISO/IEC 9075 names and their usual shorthands -> the one name that a plan uses.
_SQL_NAMES = {
    "BIGINT": "BIGINT",
    "BINARY": "BINARY",
    "BINARY VARYING": "BINARY",
    "BOOLEAN": "BOOLEAN",
    "CHAR": "VARCHAR",
    "CHARACTER": "VARCHAR",
    "CHARACTER VARYING": "VARCHAR",
    "DATE": "DATE",
    "DEC": "DECIMAL",
    "DECIMAL": "DECIMAL",
    "DOUBLE": "DOUBLE",
    "DOUBLE PRECISION": "DOUBLE",
    "FLOAT": "DOUBLE",
    "INT": "INTEGER",
    "INTEGER": "INTEGER",
    "NUMERIC": "DECIMAL",
    "REAL": "REAL",
    "SMALLINT": "SMALLINT",
    "STRING": "VARCHAR",
    "TEXT": "VARCHAR",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
    "VARBINARY": "BINARY",
    "VARCHAR": "VARCHAR",
}
SQL_TYPE_NAMES = tuple(_SQL_NAMES)
_SQL_TYPE = re.compile(r"(?P<name>[A-Z ]+?)\s*(?:\(\s*(?P<precision>\d+)\s*(?:,\s*(?P<scale>\d+)\s*)?\))?")


def sql_type(text: str) -> str | None:
    """The plan's name of a SQL type, or None where it is not known. A length is dropped: text has none in a lake."""
    found = _SQL_TYPE.fullmatch(" ".join(text.upper().split()))
    name = _SQL_NAMES.get(found["name"]) if found else None
    if found and name == "DECIMAL" and found["precision"]:
        precision, scale = int(found["precision"]), int(found["scale"] or 0)
        return f"DECIMAL({precision},{scale})" if max(scale, 1) <= precision <= 38 else None
    return _DEFAULT_SQL_TYPES[Kind.DECIMAL] if name == "DECIMAL" else name


_SOURCES = {
    "BINARY": (Kind.STRING,),
    "BOOLEAN": (Kind.BOOLEAN, Kind.STRING),
    "DATE": (Kind.DATE, Kind.STRING),
    "TIMESTAMP": (Kind.DATE, Kind.STRING),
}


def is_convertible(source: Kind, name: str) -> bool:
    """Whether values of a kind can be read as a SQL type: any primitive as text, numbers and text as numbers."""
    if source is Kind.COMPLEX or name == "VARCHAR":
        return source is not Kind.COMPLEX
    return source in _SOURCES.get(name, (Kind.INTEGER, Kind.DECIMAL, Kind.STRING))
