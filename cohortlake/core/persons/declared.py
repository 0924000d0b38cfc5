"""The model that links persons, as `catalog/persons.yaml` declares it.

Comparisons are those of Fellegi and Sunter (1969): each level of agreement has `m`, how often records of one person
stand at it, and `u`, how often those of two do. A level's weight is log2(m / u); a pair's is the sum with the prior's.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.core.catalog.source import Declaration, load

MODEL, NICKNAMES = "persons.yaml", "nicknames.yaml"
Probability = Annotated[float, Field(gt=0, lt=1)]
# Which levels of which comparisons a pair stands at.
Levels = dict[str, list[str]]


class Cleaning(Declaration):
    """How demographics are made comparable. `unknown` lists, by column, what means that nothing is known.

    `shared_by_at_most`: a number or address that more records than that hold is a placeholder that nobody declared;
    so is a birth date of a larger share of the records than `birth_date_share_at_most`. Among `usual_names_from`
    records and more, a first name of one birth date only may be a typing error; among fewer that cannot be known.
    """

    keep_digits_in_names: bool = False
    unknown: dict[str, list[str]] = {}
    shared_by_at_most: Annotated[int, Field(ge=2)] = 20
    birth_date_share_at_most: Probability = 0.005
    usual_names_from: Annotated[int, Field(ge=0)] = 1000
    address_words: dict[str, str] = {}
    identifier_types: dict[str, str] = {}
    identifier_systems: dict[str, str] = {}


class Blocking(Declaration):
    """Pairs that are compared at all: `when` is SQL over `l` and `r`; `explode` names lists that share a member."""

    when: str
    explode: list[str] = []


class Level(Declaration):
    """A level of agreement: `when` is SQL over `<column>_l` and `<column>_r`; the last level of a comparison has none.

    `tf` is a column whose frequent values count less: u is then how frequent the shared value is, at least `tf_floor`.
    `is_missing`: there is nothing to compare, which says nothing. m and u that are equal say nothing either.
    """

    name: str
    when: str = "ELSE"
    m: Probability | None = None
    u: Probability | None = None
    tf: str | None = None
    tf_floor: Probability | None = None
    is_missing: bool = False

    @model_validator(mode="after")
    def _weighed(self) -> Level:
        if self.is_missing == (self.m is not None and self.u is not None):
            raise ValueError("a level has m and u, or is_missing")
        if (self.tf is None) != (self.tf_floor is None):
            raise ValueError("a level has tf and tf_floor, or neither")
        return self

    @property
    def weight(self) -> float:
        """log2(m / u), before term frequency."""
        return math.log2(self.m / self.u) if self.m and self.u else 0.0


class Comparison(Declaration):
    """What is compared, best level first: a pair stands at the first level whose condition holds."""

    name: str
    levels: Annotated[list[Level], Field(min_length=2)]


class Rule(Declaration):
    """A rule over levels: it links the pairs that stand at them."""

    name: str
    about: str
    levels: Levels


class Hold(Rule):
    """A rule that keeps a pair from being linked unseen; if it `keeps_apart`, through other records too.

    Those `of_families` apply only where the data may hold families (`Families`).
    """

    keeps_apart: bool = True
    of_families: bool = False


class Families(Declaration):
    """When the data show that they hold no families, so that holds `of_families` do not apply.

    At least `links` pairs agree on a rule of `prior`, and the pairs that `when` finds (SQL over `l` and `r`: two people
    of one household) are at most the share `share` of those.
    """

    links: Annotated[int, Field(ge=1)]
    share: Annotated[float, Field(ge=0, lt=1)]
    when: str


class Prior(Declaration):
    """P(two records of the data are one person's): first the pairs that `rules` find, then `rounds` of EM.

    `fewest` and `most` bound it in matches a record, `ceiling` as a probability.
    """

    rules: Annotated[list[Blocking], Field(min_length=1)]
    fewest: Annotated[float, Field(gt=0)]
    most: Annotated[float, Field(gt=0)]
    ceiling: Probability
    rounds: Annotated[int, Field(ge=0)]


class Thresholds(Declaration):
    """Probabilities: at `link` and above a pair is linked, from `review` up to it it is queued for a human.

    Weights (log2): a pair whose evidence, without the prior, sums to less than `conflict` keeps two clusters apart;
    pairs whose odds are `keep` or better are kept as evidence.
    """

    link: Probability
    review: Probability
    conflict: float
    keep: float


class Nicknames(Declaration):
    """Full given names with the short forms that people use."""

    forms: dict[str, list[str]]

    @property
    def by_short_form(self) -> dict[str, list[str]]:
        """Short form to the full names that it may stand for."""
        found: dict[str, list[str]] = {}
        for full, shorts in self.forms.items():
            for short in shorts:
                found.setdefault(short, []).append(full)
        return found


class PersonModel(Declaration):
    """The whole declaration. `nicknames` are full given names by short form.

    A link at one of the levels of `outweighs_holds` joins groups that a hold between other records of theirs would keep
    apart.

    `truth` is a file below the delivery folder that says who records are of; where there is one, runs are measured.
    """

    version: int
    cleaning: Cleaning
    prior: Prior
    compare_all_up_to: Annotated[int, Field(ge=0)]
    blocking: Annotated[list[Blocking], Field(min_length=1)]
    comparisons: Annotated[list[Comparison], Field(min_length=1)]
    rules: list[Rule] = []
    holds: list[Hold] = []
    families: Families | None = None
    outweighs_holds: list[Levels] = []
    thresholds: Thresholds
    largest_checked: Annotated[int, Field(ge=3)] = 500
    nicknames: dict[str, list[str]] = {}
    truth: str | None = None

    @model_validator(mode="after")
    def _known(self) -> PersonModel:
        known = {c.name: {level.name for level in c.levels} for c in self.comparisons}
        named = [(rule.name, rule.levels) for rule in (*self.rules, *self.holds)]
        named += [("outweighs_holds", levels) for levels in self.outweighs_holds]
        for name, asked in named:
            for comparison, levels in asked.items():
                if comparison not in known:
                    raise ValueError(f"{name}: there is no comparison {comparison!r}; there are {sorted(known)}")
                if wrong := sorted(set(levels) - known[comparison]):
                    raise ValueError(f"{name}: {comparison} has no level {wrong[0]!r}")
        if self.thresholds.review > self.thresholds.link:
            raise ValueError("thresholds: review lies above link")
        return self

    @property
    def term_frequencies(self) -> list[str]:
        """The columns whose values' frequencies are counted."""
        return sorted({level.tf for comparison in self.comparisons for level in comparison.levels if level.tf})


@cache
def load_model(catalog: Path = PROJECT_CATALOG) -> PersonModel:
    """Read `persons.yaml` and `nicknames.yaml` of a catalog folder, or the project's where it has none.

    Raises CatalogError for what is wrong in them.
    """
    folders = {name: catalog if (catalog / name).exists() else PROJECT_CATALOG for name in (MODEL, NICKNAMES)}
    nicknames = load(folders[NICKNAMES] / NICKNAMES, Nicknames)
    return load(folders[MODEL] / MODEL, PersonModel, nicknames=nicknames.by_short_form)
