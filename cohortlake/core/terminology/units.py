"""The declarations of units in `catalog/units`: the unit that a LOINC code implies, analytes, and spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from cohortlake.core.catalog.source import Declaration, line_of, load, read_yaml
from cohortlake.core.errors import CatalogError

Said = dict[str, str | list[str]]


class LoincUnit(Declaration):
    """The UCUM unit that results of a LOINC code are given in, and the analyte that conversions may need to know."""

    unit: str
    analyte: str | None = None


class Equation(Declaration):
    """`to` = factor * `from` + offset: two methods' results for one analyte."""

    source_unit: Annotated[str, Field(alias="from")]
    target_unit: Annotated[str, Field(alias="to")]
    factor: Annotated[float, Field(gt=0)]
    offset: float = 0.0
    source: str


class Analyte(Declaration):
    """`molar_mass` in g/mol; `valence` is the number of equivalents in a mole; `source` is where these are from."""

    molar_mass: Annotated[float, Field(gt=0)] | None = None
    valence: Annotated[int, Field(gt=0)] | None = None
    equations: list[Equation] = []
    source: str


class _Codes(Declaration):
    codes: dict[str, LoincUnit]


class _Analytes(Declaration):
    analytes: dict[str, Analyte]


class Spelled(Declaration):
    """Spellings and the UCUM unit, or the units, that each may mean."""

    exact: Said = {}
    any_case: Said = {}

    @cached_property
    def _folded(self) -> dict[str, str | list[str]]:
        return {folded(spelling): meant for spelling, meant in self.any_case.items()}

    def find(self, text: str) -> tuple[str, ...] | None:
        """What a spelling may mean, or None where it is not listed."""
        found = self.exact.get(text) or self._folded.get(folded(text))
        return None if found is None else (found,) if isinstance(found, str) else tuple(found)


class Spellings(Declaration):
    """Spellings of `whole` units, and of the `parts` between a unit's operators."""

    whole: Spelled = Spelled()
    parts: Spelled = Spelled()

    @model_validator(mode="after")
    def _a_part_means_one_thing(self) -> Spellings:
        for spelling, meant in [*self.parts.exact.items(), *self.parts.any_case.items()]:
            if not isinstance(meant, str):
                raise ValueError(f"parts: {spelling!r} must mean one unit; only a whole unit may mean several")
        return self


@dataclass(frozen=True)
class Units:
    """The declarations of `catalog/units`."""

    codes: dict[str, LoincUnit]
    analytes: dict[str, Analyte]
    spellings: Spellings

    def analyte(self, loinc: str) -> Analyte | None:
        """The analyte that a LOINC code names."""
        declared = self.codes.get(loinc)
        return self.analytes[declared.analyte] if declared and declared.analyte else None


def folded(text: str) -> str:
    """A spelling without case and blanks."""
    return re.sub(r"\s", "", text).casefold()


def load_units(folder: Path) -> Units:
    """Read `codes.yaml`, `analytes.yaml` and `spellings.yaml`; without the folder, no unit is declared.

    Raises CatalogError naming file, line and what is expected.
    """
    if not folder.is_dir():
        return Units({}, {}, Spellings())
    codes = load(folder / "codes.yaml", _Codes).codes
    analytes = load(folder / "analytes.yaml", _Analytes).analytes
    _, lines = read_yaml(folder / "codes.yaml")
    for loinc, declared in codes.items():
        if declared.analyte is not None and declared.analyte not in analytes:
            line = line_of(lines, ("codes", loinc, "analyte"))
            raise CatalogError(
                f"{folder}/codes.yaml:{line}: codes.{loinc}.analyte {declared.analyte!r} is not in analytes.yaml",
                f"Declared there are {', '.join(sorted(analytes))}.",
            )
    return Units(codes, analytes, load(folder / "spellings.yaml", Spellings))
