"""UCUM by ucumvert, on pint: whether a text is a UCUM unit, and the line that turns one unit into another."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from cohortlake.core.terminology.units import Analyte

SUBSTANCE, MASS = "[substance]", "[mass]"
# Steps of a conversion's constants: enough for any measurement, too few for the noise of binary fractions.
DIGITS = 12
_ANNOTATION = re.compile(r"[/.]?\{[^}]*\}")
_BRACKETED = re.compile(r"[A-Za-z]*(\[[^\]]*\])")
_EQUIVALENTS = re.compile(r"(?<![A-Za-z])[munpk]?eq(?![A-Za-z])")
Line = tuple[float, float]


@cache
def _registry() -> Any:
    from ucumvert import PintUcumRegistry

    return PintUcumRegistry()


@cache
def _parser() -> Any:
    from ucumvert import get_ucum_parser

    return get_ucum_parser()


def bare(unit: str) -> str:
    """A unit without its annotations, which mean nothing to UCUM; one that is nothing else is unity."""
    stripped = _ANNOTATION.sub("", unit)
    return "1" + stripped if stripped.startswith("/") else stripped or "1"


def is_unity(unit: str) -> bool:
    """Whether a unit only says what is counted, so that a number without a unit is in it."""
    return bare(unit) in ("1", "[pH]")


@lru_cache(maxsize=4096)
def is_ucum(unit: str) -> bool:
    """Whether a text is a UCUM unit (case-sensitive form)."""
    from lark.exceptions import LarkError

    try:
        _parser().parse(unit)
    except LarkError:
        return False
    return True


@lru_cache(maxsize=4096)
def _quantity(unit: str) -> Any:
    """One of a unit in pint, or None for what pint has no measure of ([pH])."""
    try:
        return _registry().from_ucum(bare(unit))
    except Exception:  # (pint, lark and ucumvert each have classes of their own)
        return None


@lru_cache(maxsize=4096)
def _arbitrary(unit: str) -> tuple[str, ...]:
    """The units in it that stand for nothing but themselves ([IU]); UCUM: they are not commensurable with others."""
    found = []
    for atom in _BRACKETED.finditer(unit):
        one = _quantity(atom[0])
        if one is None or not one.dimensionality:
            found.append(atom[1].upper())
    return tuple(sorted(found))


def line(source: str, target: str, analyte: Analyte | None = None) -> Line | None:
    """`factor` and `offset` that turn a value in one UCUM unit into another; None where that cannot be.

    An amount of substance becomes a mass by the analyte's molar mass, an equivalent a mole by its valence. One of its
    equations, between its own two units and no others, comes before what the units themselves would say.
    """
    if bare(source) == bare(target):
        return 1.0, 0.0
    for equation in analyte.equations if analyte else ():
        ends = bare(equation.source_unit), bare(equation.target_unit)
        if (bare(source), bare(target)) == ends:
            return equation.factor, equation.offset
        if (bare(target), bare(source)) == ends:
            return _rounded(1 / equation.factor, -equation.offset / equation.factor)
    return _measured(source, target, analyte)


def _rounded(factor: float, offset: float) -> Line:
    return float(f"{factor:.{DIGITS}g}"), float(f"{offset:.{DIGITS}g}")


def _measured(source: str, target: str, analyte: Analyte | None) -> Line | None:
    """By the units' dimensions."""
    if not (is_ucum(source) and is_ucum(target)) or _arbitrary(bare(source)) != _arbitrary(bare(target)):
        return None
    one, other = _quantity(source), _quantity(target)
    if one is None or other is None:
        return None
    scale = _valence(source, target, analyte)
    power = one.dimensionality.get(SUBSTANCE, 0) - other.dimensionality.get(SUBSTANCE, 0)
    if scale is None or (power and (analyte is None or analyte.molar_mass is None)):
        return None
    registry = _registry()

    def turned(value: float) -> float:
        quantity = registry.Quantity(value, one.units)
        if analyte and power:
            quantity *= registry.Quantity(analyte.molar_mass, "g/mol") ** power
        return float(quantity.to(other.units).magnitude)

    try:
        # In offset units (Cel, [degF]) a line is known by two points; elsewhere the first one is 0.
        zero, unit = turned(0.0), turned(1.0)
    except Exception:  # (pint.DimensionalityError, OffsetUnitCalculusError)
        return None
    factor, offset = (unit - zero) * float(one.magnitude) / float(other.magnitude), zero / float(other.magnitude)
    return _rounded(factor * scale, offset)


def _valence(source: str, target: str, analyte: Analyte | None) -> float | None:
    """What equivalents become moles by, or moles equivalents; None where the valence is not known."""
    has = [bool(_EQUIVALENTS.search(unit)) for unit in (source, target)]
    if has[0] == has[1]:
        return 1.0
    if analyte is None or analyte.valence is None:
        return None
    return 1 / analyte.valence if has[0] else float(analyte.valence)
