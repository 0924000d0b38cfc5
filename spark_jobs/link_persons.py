"""Records to persons: scored pairs, what humans and sources say, clusters. No table is read or written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from cohortlake.core.persons.clusters import Kind, Link, clusters, components
from cohortlake.core.persons.declared import PersonModel
from cohortlake.core.persons.weights import weight_of
from spark_jobs.link_model import PAIRS, Scorer, connection

Pair = tuple[int, int]


@dataclass(frozen=True)
class Found:
    """Clusters of record numbers (a record of none is a person of its own), and the pairs that were scored.

    `compared` counts the pairs that blocking gave. `unchecked` counts groups too large to check pair by pair.
    `holds` are those that applied: those of families do not where too few pairs are of one household (`households`).
    """

    clusters: list[list[int]]
    pairs: pa.Table
    prior: float
    compared: int
    unchecked: int
    holds: tuple[str, ...] = ()
    households: int = 0


def find_persons(
    rows: pa.Table,
    model: PersonModel,
    *,
    same: Sequence[Pair] = (),
    different: Sequence[Pair] = (),
    told: Sequence[Pair] = (),
    memory: str = "",
    spill: Path | None = None,
) -> Found:
    """Find which rows (demographics.SCHEMA) are one person's; a record's number is its row's.

    `same` and `different` are decisions of humans, `told` what sources say (HL7 v2 A40, `Patient.link`). DuckDB is held
    to `memory`; what needs more goes to a folder within `spill`, which is removed.
    """
    if rows.num_rows < 2:
        return Found([], PAIRS.empty_table(), 0.0, 0, 0)
    with connection(memory, spill) as con:
        scorer = Scorer(con, rows, model)
        model = scorer.model
        compared, pairs = scorer.blocked()
        stated = [Link(*pair, Kind.DECISION) for pair in same] + [Link(*pair, Kind.SOURCE) for pair in told]
        links = [*stated, *model_links(pairs, model)]
        seen = set(zip(pairs["left"].to_pylist(), pairs["right"].to_pylist(), strict=True))
        # Wider than what links, so that what another threshold would link is checked too.
        groups = components([*seen, *((link.left, link.right) for link in stated)])
        small = [group for group in groups if len(group) <= model.largest_checked]
        wanted = {_ordered(link.left, link.right) for link in stated} | {_ordered(*pair) for pair in different}
        wanted |= {(left, right) for group in small for n, left in enumerate(group) for right in group[n + 1 :]}
        pairs = pa.concat_tables([pairs, scorer.among(sorted(wanted - seen))])
        against, held = conflicts(pairs, model, scorer.prior)
        made = clusters(links, apart=different, conflicts=against, held=held)
        holds = tuple(hold.name for hold in model.holds)
        return Found(made, pairs, scorer.prior, compared, len(groups) - len(small), holds, scorer.households)


def model_links(pairs: pa.Table, model: PersonModel) -> list[Link[int]]:
    """The pairs that link by a rule, or by their probability where nothing holds them."""
    names = ("left", "right", "weight", "probability", "rule", "hold", "outweighs")
    columns = (pairs[name].to_pylist() for name in names)
    return [
        Link(left, right, Kind.RULE if rule else Kind.MODEL, weight, outweighs)
        for left, right, weight, probability, rule, hold, outweighs in zip(*columns, strict=True)
        if rule or (probability >= model.thresholds.link and not hold)
    ]


def conflicts(pairs: pa.Table, model: PersonModel, prior: float) -> tuple[list[Pair], list[Pair]]:
    """The pairs that keep clusters apart: those whose evidence speaks against them, and those that a hold does."""
    lowest = model.thresholds.conflict + weight_of(prior)
    apart = {hold.name for hold in model.holds if hold.keeps_apart}
    against, held = [], []
    columns = (pairs[name].to_pylist() for name in ("left", "right", "weight", "rule", "hold"))
    for left, right, weight, rule, hold in zip(*columns, strict=True):
        if not rule and weight < lowest:
            against.append((left, right))
        elif not rule and hold in apart:
            held.append((left, right))
    return against, held


def _ordered(left: int, right: int) -> Pair:
    return (left, right) if left < right else (right, left)


def regrouped(
    found: Found,
    model: PersonModel,
    link: float,
    *,
    same: Sequence[Pair] = (),
    different: Sequence[Pair] = (),
    told: Sequence[Pair] = (),
) -> list[list[int]]:
    """The clusters that another `link` threshold would give, from the pairs that were scored."""
    moved = model.model_copy(update={"thresholds": model.thresholds.model_copy(update={"link": link})})
    stated = [Link(*pair, Kind.DECISION) for pair in same] + [Link(*pair, Kind.SOURCE) for pair in told]
    against, held = conflicts(found.pairs, model, found.prior)
    return clusters([*stated, *model_links(found.pairs, moved)], apart=different, conflicts=against, held=held)
