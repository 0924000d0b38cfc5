"""A block of JSON lines as typed rows, with nothing lost.

Lines as they should be are read by compiled code, in two walks over their bytes (`json_columns`); a line that is in any
way out of the ordinary is read exactly, in Python (`json_exact`), and what is wrong with it is named. What the schema
has no place for is kept, and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.readers.json_columns import ColumnReader, Lost
from cohortlake.core.readers.json_exact import Look, WrongLineError, leaves, look, shape_of
from cohortlake.core.readers.json_walk import Numbers


@dataclass
class Parsed:
    """`table` has the good lines in order, `kept` their places among the input, `bad` the others' reasons.

    `rest` has, for a row each, the JSON text of an object with the root elements that the row's columns do not hold as
    they were written, each whole, or null; where only a number's written form is at stake (1.0 is not 1), it is the
    record's own text. `unexpected` counts values at paths that the schema lacks.
    """

    table: pa.Table
    kept: Numbers
    rest: pa.Array
    bad: dict[int, str] = field(default_factory=dict)
    unexpected: Counter[str] = field(default_factory=Counter)


class BlockReader:
    """Reads JSON of one schema, block by block; it learns in which order names come."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema, self._shape, self._columns = schema, shape_of(schema), ColumnReader(schema)

    def parse(self, payload: pa.Array) -> Parsed:
        """Parse lines of JSON (a string array without nulls). No line is lost: it is in `table` or in `bad`."""
        read = self._columns.read(*_bytes(payload))
        parsed = Parsed(read.table, read.read, _those(payload, read.inexact))
        strange = read.strange.tolist()
        if strange:
            parsed.rest = parsed.rest.take(pa.array(parsed.kept))
        if read.lost:
            strange += self._keep(read.lost, parsed)
        if strange:
            self._add(payload, strange, parsed)
        return parsed

    def _keep(self, lost: list[Lost], parsed: Parsed) -> list[int]:
        """Count what the schema lacks, and put it into the rest; gives lines that are to be read exactly after all."""
        texts: dict[int, dict[int, str]] = {}
        counts: dict[int, Counter[str]] = {}
        odd: set[int] = set()
        for one in lost:
            texts.setdefault(one.row, {})[one.start] = one.root
            try:
                counts.setdefault(one.row, Counter()).update(leaves(one.value, one.path))
            except WrongLineError:
                odd.add(one.row)
        is_held = pc.is_valid(parsed.rest).to_pylist()
        rest = {row: "{" + ",".join(of.values()) + "}" for row, of in texts.items() if not is_held[row]}
        parsed.rest = _replaced(parsed.rest, rest)
        for row, count in counts.items():
            parsed.unexpected.update(count if row not in odd else ())
        lines: list[int] = parsed.kept[sorted(odd)].tolist()
        if odd:
            good = np.setdiff1d(np.arange(len(parsed.kept)), list(odd))
            parsed.table, parsed.kept = parsed.table.take(pa.array(good)), parsed.kept[good]
            parsed.rest = parsed.rest.take(pa.array(good))
        return lines

    def _add(self, payload: pa.Array, strange: list[int], parsed: Parsed) -> None:
        """Read strange lines exactly, and put the good ones among the others."""
        looks: dict[int, Look] = {}
        for place in strange:
            try:
                looks[place] = look(payload[place].as_py(), self._shape)
            except WrongLineError as error:
                parsed.bad[place] = str(error)
        if not looks:
            return
        for one in looks.values():
            parsed.unexpected.update(one.unexpected)
        kept = np.concatenate([parsed.kept, list(looks)])
        order = pa.array(np.argsort(kept))
        rows = pa.Table.from_pylist([one.values for one in looks.values()], self.schema)
        parsed.kept, parsed.table = np.sort(kept), pa.concat_tables([parsed.table, rows]).take(order)
        rest = pa.array([one.rest for one in looks.values()], pa.string())
        parsed.rest = pa.concat_arrays([parsed.rest, rest]).take(order)


def parse(payload: pa.Array, schema: pa.Schema) -> Parsed:
    """Parse lines of JSON (a string array) as rows of `schema`. No line is lost: it is in `table` or in `bad`."""
    return BlockReader(schema).parse(payload)


def _those(payload: pa.Array, places: Numbers) -> pa.Array:
    """The lines at some places, and null at the others."""
    if not len(places):
        return pa.nulls(len(payload), pa.string())
    return pc.if_else(_mask(places, len(payload)), payload, pa.scalar(None, pa.string()))


def _replaced(texts: pa.Array, others: dict[int, str]) -> pa.Array:
    """Texts with others at some places."""
    if not others:
        return texts
    ordered = pa.array([others[place] for place in sorted(others)], pa.string())
    return pc.replace_with_mask(texts, _mask(list(others), len(texts)), ordered)


def _mask(places: Numbers | list[int], count: int) -> pa.Array:
    """Which of `count` places are among `places`."""
    mask: np.typing.NDArray[np.bool_] = np.zeros(count, np.bool_)
    mask[places] = True
    return pa.array(mask)


def _bytes(payload: pa.Array) -> tuple[Numbers, Numbers]:
    """The lines' bytes as one, and where each begins, and the last ends."""
    if len(payload) == 0:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, offsets, text = payload.buffers()
    starts = np.frombuffer(offsets, np.int32)[payload.offset : payload.offset + len(payload) + 1].astype(np.int64)
    return np.frombuffer(text, np.uint8) if text else np.zeros(0, np.uint8), starts
