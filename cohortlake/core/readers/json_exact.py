"""One JSON line read exactly: is it good, what does the schema hold, what not, what must be kept as it was written.

Slow and careful, for the few lines that need it: Python's own JSON reader, which keeps the place of each element.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import pyarrow as pa

MAX_DEPTH = 200
TYPE = "resourceType"
CANONICAL = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{0,17}[1-9])?")
SPACES = re.compile(r"[ \t\n\r]*")
INTEGER = "integer"
INTEGERS = range(-(2**31), 2**31)
# DECIMAL(38,18).
LIMIT, SCALE, DIGITS = Decimal(10) ** 20, Decimal("1e-18"), Context(prec=40)
JSON_TYPES = {str: "string", bool: "boolean", int: "number", list: "array", dict: "object", type(None): "null"}

# The schema as plain Python: a struct is a dict, a list a one-item list, a leaf its JSON type.
Shape = Any


class Written(str):
    """A number with a point or an exponent, as it was written."""

    __slots__ = ()


class WrongLineError(ValueError):
    """The line cannot be a row; the message is the reason, without values."""


@dataclass(frozen=True)
class Look:
    """What an exact look found.

    `values` is what the schema holds; `rest` the JSON text of the root's elements that it does not hold as they were
    written, each whole, or None; `unexpected` counts values at paths that the schema lacks.
    """

    values: dict[str, Any]
    rest: str | None
    unexpected: Counter[str]


def shape_of(schema: pa.Schema) -> Shape:
    """A schema as plain Python."""
    return {field.name: _shape(field.type) for field in schema}


@lru_cache(maxsize=4096)
def _shape(kind: pa.DataType) -> Shape:
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _shape(kind.field(i).type) for i in range(kind.num_fields)}
    if pa.types.is_list(kind):
        return [_shape(kind.value_type)]
    if pa.types.is_integer(kind):
        return INTEGER
    return "boolean" if pa.types.is_boolean(kind) else "string" if pa.types.is_string(kind) else "number"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise WrongLineError("not valid JSON: a name stands twice in an object")
    return made


def _refuse(text: str) -> None:
    raise WrongLineError(f"not valid JSON: {text} is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Written, parse_constant=_refuse)


def _skip(line: str, at: int) -> int:
    found = SPACES.match(line, at)
    return found.end() if found else at


def elements(line: str) -> dict[str, tuple[Any, str]]:
    """An object's elements: name -> value, and its text as written. Raises WrongLineError, with what and where."""
    try:
        found = _elements(line)
        if "\\u" in line:
            json.dumps([(name, value) for name, (value, _) in found.items()], ensure_ascii=False).encode()
        return found
    except UnicodeEncodeError:
        raise WrongLineError("not valid JSON: half of a surrogate pair") from None
    except (ValueError, IndexError) as error:
        if isinstance(error, WrongLineError):
            raise
        raise WrongLineError(_why_not(line)) from None
    except RecursionError:
        raise WrongLineError(f"nested deeper than {MAX_DEPTH} levels") from None


def _elements(line: str) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    at = _skip(line, 0)
    if line[at] != "{":
        raise WrongLineError("not a JSON object")
    at = _skip(line, at + 1)
    while line[at] != "}":
        if line[at] != '"':
            raise ValueError(at)
        name, at = scanstring(line, at + 1, True)
        at = _skip(line, at)
        if line[at] != ":":
            raise ValueError(at)
        start = _skip(line, at + 1)
        value, end = _DECODER.raw_decode(line, start)
        if name in found:
            raise WrongLineError("not valid JSON: a name stands twice in an object")
        found[name] = (value, line[start:end])
        at = _skip(line, end)
        if line[at] == ",":
            at = _skip(line, at + 1)
            if line[at] == "}":
                raise ValueError(at)
        elif line[at] != "}":
            raise ValueError(at)
    if _skip(line, at + 1) != len(line):
        raise WrongLineError("not one JSON object on the line")
    return found


def _why_not(line: str) -> str:
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return f"not valid JSON: {error.msg} at character {error.pos + 1}"
    except RecursionError:
        return f"nested deeper than {MAX_DEPTH} levels"
    return "not valid JSON"


def look(line: str, shape: Shape) -> Look:
    """Look at a line exactly. Raises WrongLineError where it cannot be a row of this shape."""
    unexpected: Counter[str] = Counter()
    values, rest = {}, []
    for name, (value, text) in elements(line).items():
        if name in shape:
            is_held = _is_held(shape[name], value, name, unexpected, 1)
            values[name] = _typed(shape[name], value)
        else:
            _count(value, name, unexpected, 1)
            is_held = False
        if not is_held and name != TYPE:
            rest.append(f"{json.dumps(name, ensure_ascii=False)}:{text}")
    return Look(values, "{" + ",".join(rest) + "}" if rest else None, unexpected)


def leaves(text: str, path: str) -> Counter[str]:
    """The leaf values of a JSON text, counted by path. Raises WrongLineError where an object in it is none."""
    counts: Counter[str] = Counter()
    _count(_DECODER.decode(text), path, counts, 1)
    return counts


def _is_held(shape: Shape, value: Any, path: str, unexpected: Counter[str], depth: int) -> bool:
    """Whether a typed value gives back what was written; what the shape lacks is counted."""
    if value is None:
        return False
    wanted = "object" if isinstance(shape, dict) else "array" if isinstance(shape, list) else shape
    found = "number" if isinstance(value, Written) else JSON_TYPES[type(value)]
    if found != ("number" if wanted == INTEGER else wanted):
        raise WrongLineError(f"wrong JSON type: {path} is a {found}, not a {wanted}")
    if wanted == INTEGER and _integer(value) is None:
        raise WrongLineError(f"wrong JSON value: {path} is not an integer of 32 bits")
    if wanted == "number" and _decimal(value) is None:
        raise WrongLineError(f"wrong JSON value: {path} does not fit its type")
    held = True
    if isinstance(shape, dict):
        for name, inner in value.items():
            if name in shape:
                held &= _is_held(shape[name], inner, f"{path}.{name}", unexpected, depth + 1)
            else:
                _count(inner, f"{path}.{name}", unexpected, depth + 1)
                held = False
    elif isinstance(shape, list):
        for item in value:
            if item is not None:
                held &= _is_held(shape[0], item, path, unexpected, depth + 1)
    elif isinstance(value, Written):
        return shape != INTEGER and CANONICAL.fullmatch(value) is not None
    return held


def _typed(shape: Shape, value: Any) -> Any:
    """The value as the shape's columns hold it, without what they lack."""
    if value is None:
        return None
    if isinstance(shape, dict):
        return {name: _typed(shape[name], inner) for name, inner in value.items() if name in shape}
    if isinstance(shape, list):
        return [_typed(shape[0], item) for item in value]
    if shape == INTEGER:
        return _integer(value)
    return _decimal(value) if shape == "number" else value


def _decimal(value: Any) -> Decimal | None:
    """A number as a DECIMAL(38,18), rounded; None where it does not fit."""
    try:
        number = Decimal(value).quantize(SCALE, context=DIGITS)
    except InvalidOperation:  # far too large
        return None
    return number if -LIMIT < number < LIMIT else None


def _integer(value: Any) -> int | None:
    """A number as an integer of 32 bits, None where it is none."""
    number = _decimal(value)
    if number is None or Decimal(value) % 1 or int(number) not in INTEGERS:
        return None
    return int(number)


def _count(value: Any, path: str, unexpected: Counter[str], depth: int) -> None:
    """Count the leaf values below a path that the shape lacks."""
    if depth > MAX_DEPTH:
        raise WrongLineError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for name, inner in value.items():
            _count(inner, f"{path}.{name}", unexpected, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _count(item, path, unexpected, depth + 1)
    elif value is not None:
        unexpected[path] += 1
