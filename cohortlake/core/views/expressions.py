"""From a FHIRPath's syntax tree to a typed expression, held against FHIR's own type definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from cohortlake.core.errors import ViewError
from cohortlake.core.fhir.definitions import elements, resource_types
from cohortlake.core.views import fhirpath, plan
from cohortlake.core.views.definition import refusal
from cohortlake.core.views.fhirpath import Syntax, parse_path
from cohortlake.core.views.plan import Expression
from cohortlake.core.views.types import NUMBERS, Kind, kind

# Functions of the subset, with the least and the greatest number of arguments.
FUNCTIONS = {
    "empty": (0, 0),
    "exists": (0, 1),
    "extension": (1, 1),
    "first": (0, 0),
    "getReferenceKey": (0, 1),
    "getResourceKey": (0, 0),
    "highBoundary": (0, 0),
    "join": (0, 1),
    "lowBoundary": (0, 0),
    "not": (0, 0),
    "ofType": (1, 1),
    "where": (1, 1),
}


class UnknownElementError(ViewError):
    """The type has no such element. `repeat` catches it, for its paths need not lead on from every level."""


@dataclass(frozen=True)
class Paths:
    """Compiles the paths of one view; `constants` are the view's."""

    constants: Mapping[str, plan.Literal]

    def compile(self, text: str, focus: plan.Focus, at: str) -> Expression:
        """The expression of a path that starts at `focus`. Raises ViewError, which names `at`."""
        return _Compiler(self.constants, f"{at} ({text})").expression(parse_path(text, at), focus)

    def value(self, text: str, focus: plan.Focus, at: str) -> Expression:
        """The same for a path whose items are used, so that a choice must have been narrowed."""
        return _Compiler(self.constants, f"{at} ({text})").narrow(self.compile(text, focus, at))

    def descendants(self, texts: Iterable[str], focus: plan.Focus, at: str) -> plan.Descendants:
        """The expression of `repeat`: its paths must all lead to one type, and each must lead further down."""
        found: dict[str, tuple[Expression, ...]] = {}
        problems: dict[str, UnknownElementError] = {}
        texts = tuple(texts)
        item = focus
        for level in ("first", "next"):
            reached: list[Expression] = []
            for index, text in enumerate(texts):
                place = f"{at}[{index}]"
                try:
                    reached.append(self.value(text, item, place))
                except UnknownElementError as error:
                    problems.setdefault(text, error) if level == "first" else None
                    continue
                ...
        raise NotImplementedError
