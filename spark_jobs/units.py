"""Values in the unit that their LOINC code implies: columns at a time, since a table's units are few.

Silver keeps values as they came. Gold has them in the standard unit beside that, and the gate judges them there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.catalog.table import StandardUnits
from cohortlake.core.terminology.respell import respell
from cohortlake.core.terminology.units import Units
from spark_jobs import delta
from spark_jobs import units_ucum as ucum
from spark_jobs.staged import Staged

LOINC = "http://loinc.org"
# Digits of a converted value: no measurement has as many, and the noise of binary fractions lies beyond.
DIGITS = 10
UNIT = "unit"
UNITS_FILE = "_units.json"


@dataclass(frozen=True)
class Conversion:
    """A value in `unit` (UCUM) is `factor` times the value as it came, plus `offset`."""

    unit: str
    factor: float
    offset: float

    @property
    def is_identity(self) -> bool:
        return (self.factor, self.offset) == (1.0, 0.0)


@dataclass(frozen=True)
class Seen:
    """Values of a LOINC code (or of none) that came in a unit: its code and its words, either may be missing."""

    loinc: str | None
    code: str | None
    unit: str | None
    records: int = 1

    @property
    def words(self) -> list[str]:
        """The unit as it came: its code, then its words."""
        return list(dict.fromkeys(word for word in (self.code, self.unit) if word and word.strip()))


@dataclass
class Converter:
    """The declared units, with the conversions that were asked for."""

    units: Units
    known: dict[tuple[str | None, str | None, str | None], Conversion | None] = field(default_factory=dict)

    def standard(self, seen: Seen) -> Conversion | None:
        """How values become values in the standard unit, or None where that cannot be told.

        Where the LOINC code has no declared unit, the standard unit is the unit that came, in UCUM.
        """
        key = (seen.loinc, seen.code, seen.unit)
        if key not in self.known:
            self.known[key] = self._found(seen)
        return self.known[key]

    def is_unmapped(self, seen: Seen) -> bool:
        """Whether the unit is one that a reader must see to: unknown, not convertible, or missing where one is due."""
        return self.standard(seen) is None and bool(seen.words or seen.loinc in self.units.codes)

    def _found(self, seen: Seen) -> Conversion | None:
        declared = self.units.codes.get(seen.loinc or "")
        spelled = [respell(word, self.units.spellings) for word in seen.words]
        if declared is None:
            units = (meant[0] for meant in spelled if len(meant) == 1 and ucum.is_ucum(meant[0]))
            unit = next(units, None)
            return Conversion(unit, 1.0, 0.0) if unit else None
        if not spelled:
            return Conversion(declared.unit, 1.0, 0.0) if ucum.is_unity(declared.unit) else None
        analyte = self.units.analyte(seen.loinc or "")
        for candidate in (unit for meant in spelled for unit in meant):
            line = ucum.line(candidate, declared.unit, analyte)
            if line is not None:
                return Conversion(declared.unit, *line)
        return None


def seen_units(table: Path, staged: Staged | None) -> list[Seen]:
    """The units of a batch's staged Observations and their components, each with its LOINC code and how often."""
    if staged is None or not staged.parts:
        return []
    import duckdb

    files = [str(table / part.path) for part in staged.parts]
    first = f"list_filter({{}}.code.coding, lambda c: c.system = '{LOINC}')[1].code"
    whole = f"SELECT {first.format('o')} AS loinc, valueQuantity AS q FROM o"  # noqa: S608
    parts = f"SELECT {first.format('p')}, p.valueQuantity FROM (SELECT unnest(component) AS p FROM o)"  # noqa: S608
    sql = (
        f"WITH o AS (SELECT code, valueQuantity, component FROM read_parquet({files}, hive_partitioning = false)) "  # noqa: S608
        f"SELECT loinc, q.code, q.unit, count(*) FROM ({whole} UNION ALL {parts}) "
        "WHERE q.value IS NOT NULL GROUP BY ALL ORDER BY ALL"
    )
    return [Seen(*row) for row in duckdb.connect().execute(sql).fetchall()]


def unmapped_units(seen: Iterable[Seen], converter: Converter) -> dict[str, int]:
    """Units that a reader must see to, named as codes that a map lacks (`unit: mg% (2345-7)`), with their counts."""
    found: dict[str, int] = {}
    for one in seen:
        if converter.is_unmapped(one):
            name = f"{UNIT}: {one.words[0] if one.words else '(none)'} ({one.loinc or 'no LOINC code'})"
            found[name] = found.get(name, 0) + one.records
    return found


def keep_units(folder: Path, seen: Sequence[Seen]) -> None:
    """Keep what was seen beside the staged batch, for its gate."""
    delta.write_json(folder / UNITS_FILE, [asdict(one) for one in seen])


def read_units(folder: Path) -> list[Seen]:
    """What `keep_units` kept."""
    path = folder / UNITS_FILE
    return [Seen(**one) for one in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def rounded(values: np.ndarray, digits: int = DIGITS) -> np.ndarray:
    """Numbers to so many significant digits."""
    size = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
    # A power of ten below 1 is not exact in binary, its inverse is: so scale by that.
    places = digits - 1 - size
    scale = 10.0 ** np.abs(places)
    return np.where(places >= 0, np.round(values * scale) / scale, np.round(values / scale) * scale)


def in_standard_units(rows: pa.Table, declared: StandardUnits, converter: Converter) -> pa.Table:
    """A curated table's rows with the columns that its `standard_units` add: the unit, and each value in it."""
    columns = [declared.code, *declared.unit]
    keys, where = _distinct(rows, columns)
    found = [converter.standard(Seen(key[0], *(key[1:] if len(key) > 2 else (key[1], None)))) for key in keys]
    units = pa.array([one.unit if one else None for one in found], pa.string())
    made = {declared.standard_unit: units.take(where)}
    for target, source in declared.values.items():
        made[target] = _converted(rows[source].combine_chunks().cast(pa.float64()), found, where)
    # A unit without a value says nothing.
    main = next(iter(declared.values))
    made[declared.standard_unit] = pc.if_else(made[main].is_valid(), made[declared.standard_unit], None)
    for target, source in declared.comparator.items():
        made[target] = pc.if_else(made[main].is_valid(), rows[source].combine_chunks(), None)
    for name, column in made.items():
        rows = rows.append_column(name, column)
    return rows


def _distinct(rows: pa.Table, columns: Sequence[str]) -> tuple[list[tuple[str | None, ...]], pa.Array]:
    """The distinct values of some text columns, and for each row which of them it has."""
    arrays = [rows[name].combine_chunks() for name in columns]
    marked = [pc.if_else(array.is_valid(), pc.binary_join_element_wise("=", array, ""), "") for array in arrays]
    coded = pc.dictionary_encode(pc.binary_join_element_wise(*marked, "\x1f"))
    keys = [tuple(part[1:] if part else None for part in text.split("\x1f")) for text in coded.dictionary.to_pylist()]
    return keys, coded.indices


def _converted(values: pa.Array, found: Sequence[Conversion | None], where: pa.Array) -> pa.Array:
    lines = [(one.factor, one.offset) if one else (None, None) for one in found]
    known = pc.is_valid(pa.array([factor for factor, _ in lines], pa.float64()).take(where))
    if all(one is None or one.is_identity for one in found):
        return pc.if_else(known, values, pa.scalar(None, pa.float64()))
    factor, offset = (
        np.array([line[at] if line[at] is not None else np.nan for line in lines], float)[where.to_numpy()]
        for at in (0, 1)
    )
    came = values.to_numpy(zero_copy_only=False)
    is_same = (factor == 1.0) & (offset == 0.0)
    made = np.where(is_same, came, rounded(np.nan_to_num(came * factor + offset)))
    return pc.if_else(pc.and_(known, values.is_valid()), pa.array(made), pa.scalar(None, pa.float64()))
