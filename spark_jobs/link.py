"""link: silver's Patients to persons across silos, with Splink on DuckDB; no JVM is started.

The partition is made anew from all live Patients, what sources say of them, and decisions, so any order of arrival ends
in the same persons; the ids are carried over from the last run. Nothing is done where all that and the declaration are
as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.lake import Lake
from cohortlake.core.persons.columns import read_truth
from cohortlake.core.persons.decisions import Decision, in_force
from cohortlake.core.persons.declared import PersonModel, load_model
from cohortlake.core.persons.evaluate import measure
from cohortlake.core.persons.ids import Key, Membership, assign
from cohortlake.core.persons.match_truth import matched
from spark_jobs import delta
from spark_jobs.books import receipt, recover
from spark_jobs.context import Book, Context, StepResult
from spark_jobs.link_persons import Found, Pair, find_persons
from spark_jobs.link_records import demographics, doors, record_keys
from spark_jobs.link_records import told as told_by_sources
from spark_jobs.link_tables import (
    PAIRS,
    live,
    now,
    read_decisions,
    read_members,
    table,
    write_members,
    write_pairs,
)
from spark_jobs.pseudonyms import HEX_DIGITS, vault_secret

STEPS = 4
# A million records fit; what needs more goes to disk, in the phi zone.
MEMORY = os.environ.get("COHORTLAKE_LINK_MEMORY", "4GB")


def run(ctx: Context) -> StepResult:
    """Link all live Patients. Books: each Patient is in, and a member of one person out."""
    model = load_model(ctx.catalog.folder)
    kept = _progress(ctx.lake)
    recover(ctx.lake, kept.get("receipt"))
    made_from = sources(ctx.lake, model)
    if kept.get("made_from") == made_from:
        return StepResult([], {"unchanged": True, **kept.get("facts", {})})
    ctx.progress(0, STEPS, "Patients")
    rows = demographics(ctx.lake, model)
    keys, decisions = record_keys(rows), in_force(read_decisions(ctx.lake))
    ctx.progress(1, STEPS, "pairs")
    same, different = numbered(keys, decisions)
    said = told_by_sources(ctx.lake, rows)
    parted = [*different, *said.apart(same)]
    spill = ctx.lake.staging("phi", ctx.scope)
    spill.mkdir(parents=True, exist_ok=True)
    found = find_persons(rows, model, same=same, different=parted, told=said.same, memory=MEMORY, spill=spill)
    shutil.rmtree(spill, ignore_errors=True)
    ctx.progress(2, STEPS, "evidence")
    pairs = judged(found, keys, model, {*same, *different}, set(said.apart(same)))
    write_pairs(ctx.lake, pairs, {"prior": repr(found.prior), "model_version": str(model.version)})
    ctx.progress(3, STEPS, "persons")
    before = read_members(ctx.lake)
    after = assign(before, whole(found.clusters, keys), at=now(), mint=_minted(ctx.lake))
    if after != before:
        write_members(ctx.lake, after)
    books = [Book("persons.members", len(keys), len(live(after)))]
    facts = {**told(found, pairs, after, len(before)), "prior": found.prior, "versions": _versions(ctx.lake)}
    facts["records_by_second_door"] = len({record for record, _ in doors(ctx.lake)}.intersection(keys))
    if model.truth and (truth := ctx.data / model.truth).exists():
        facts["measured"] = measured(
            truth, dict(zip(keys, rows["record_numbers"].to_pylist(), strict=True)), live(after)
        )
    delta.write_json(
        ctx.lake.ops("progress") / "persons.json",
        {"made_from": made_from, "facts": facts, "receipt": receipt(ctx, f"link.{ctx.scope}", books)},
    )
    return StepResult(books, facts)


def measured(truth: Path, numbers: Mapping[Key, Sequence[str]], persons: Mapping[Key, str]) -> list[dict[str, Any]]:
    """The persons measured against a file's truth: pairs that are true, found and right, of all pairs and by variant.

    `numbers` are each record's record numbers. Raises SourceError or UsageError for a file that cannot be read.
    """
    known, _ = matched(read_truth(truth), numbers, {})
    return [asdict(one) for one in measure(persons, known)] if known else []


def sources(lake: Lake, model: PersonModel) -> dict[str, Any]:
    """What persons are made from: the versions of the tables, and the declaration."""
    declared = hashlib.sha256(model.model_dump_json().encode()).hexdigest()[:16]
    tables = {"patients": lake.silver("Patient"), "linkages": lake.silver("Linkage"), "doors": lake.same_facts}
    tables["decisions"] = table(lake, "decisions")
    return {**{name: delta.version(path) for name, path in tables.items()}, "declared": declared}


def _progress(lake: Lake) -> dict[str, Any]:
    path = lake.ops("progress") / "persons.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _versions(lake: Lake) -> dict[str, int]:
    return {name: delta.version(table(lake, name)) for name in ("members", "pairs")}


def _minted(lake: Lake) -> Any:
    """Ids by a keyed hash, so that nobody without the vault's key can make a person's id from a patient's."""
    secret = vault_secret(lake)

    def mint(record: Key, number: int) -> str:
        whole_name = "|".join((secret, "person", *record, str(number)))
        return hashlib.sha256(whole_name.encode()).hexdigest()[:HEX_DIGITS]

    return mint


def numbered(keys: Sequence[Key], decisions: Sequence[Decision]) -> tuple[list[Pair], list[Pair]]:
    """The pairs decided to be the same and to be different, as numbers; of records that live."""
    numbers = {key: number for number, key in enumerate(keys)}
    found: dict[bool, list[Pair]] = {True: [], False: []}
    for decision in decisions:
        left, right = (numbers.get(record) for record in decision.pair)
        if left is not None and right is not None:
            found[decision.is_same].append((left, right))
    return found[True], found[False]


def whole(clusters: Sequence[Sequence[int]], keys: Sequence[Key]) -> list[list[Key]]:
    """The whole partition: clusters, and each other record by itself."""
    within = {number for cluster in clusters for number in cluster}
    alone = [[key] for number, key in enumerate(keys) if number not in within]
    return [[keys[number] for number in cluster] for cluster in clusters] + alone


def judged(found: Found, keys: Sequence[Key], model: PersonModel, decided: set[Pair], parted: set[Pair]) -> pa.Table:
    """The scored pairs (PAIRS) with what became of each: `decided`, `parted`, `linked`, `review` or `apart`.

    `decided` were pairs by humans, `parted` by their source.
    """
    place = {number: n for n, cluster in enumerate(found.clusters) for number in cluster}
    lefts, rights = (found.pairs[name].to_pylist() for name in ("left", "right"))
    outcomes = []
    for left, right, chance in zip(lefts, rights, found.pairs["probability"].to_pylist(), strict=True):
        if (left, right) in decided:
            outcomes.append("decided")
        elif (left, right) in parted:
            outcomes.append("parted")
        elif left in place and place[left] == place.get(right):
            outcomes.append("linked")
        else:
            outcomes.append("review" if chance >= model.thresholds.review else "apart")
    columns: dict[str, Any] = {
        "left_silo": [keys[n][0] for n in lefts], "left_id": [keys[n][1] for n in lefts],
        "right_silo": [keys[n][0] for n in rights], "right_id": [keys[n][1] for n in rights],
    }  # fmt: skip
    columns |= {name: found.pairs[name] for name in ("weight", "probability", "rule", "hold", "evidence")}
    return pa.table({**columns, "outcome": pa.array(outcomes, pa.string())}, schema=PAIRS)


def told(found: Found, pairs: pa.Table, after: Sequence[Membership], before: int) -> dict[str, Any]:
    """The facts of a run, in counts."""
    persons = Counter(row.person_id for row in after if row.until is None)
    silos: dict[str, set[str]] = {}
    for row in after:
        if row.until is None:
            silos.setdefault(row.person_id, set()).add(row.silo)
    return {
        "records": persons.total(),
        "persons": len(persons),
        "persons_of_several_records": sum(count > 1 for count in persons.values()),
        "persons_of_several_silos": sum(len(places) > 1 for places in silos.values()),
        "pairs_compared": found.compared,
        "pairs_kept": pairs.num_rows,
        "pairs_by_outcome": dict(sorted(Counter(pairs["outcome"].to_pylist()).items())),
        "groups_unchecked": found.unchecked,
        "household_pairs": found.households,
        "holds": list(found.holds),
        "history_rows_added": len(after) - before,
    }
