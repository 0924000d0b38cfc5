"""`cohortlake person`: who is who across silos, why, how well, and what humans decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cohortlake.cli import LAKE, CatalogOption, LakeOption, app, out
from cohortlake.cli.person_show import (
    key_text,
    left_of,
    levels_text,
    not_compared,
    right_of,
    side_by_side,
    waterfall,
    why,
)
from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.persons.declared import PersonModel, load_model
from cohortlake.core.persons.ids import Key, Membership, merged_into

commands = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(commands, name="person", help="Persons across silos: explain, review, decide, evaluate.")

RecordArgument = Annotated[str, typer.Argument(metavar="SILO/ID", help="A record: its silo and its Patient's id.")]
ShowOption = Annotated[
    bool, typer.Option("--show", help="Show identified values; without it a letter stands for each value.")
]
# Pairs that `explain` draws at most.
DRAWN = 8


def _members(lake: Lake) -> list[Membership]:
    from spark_jobs.link_tables import read_members

    found = read_members(lake)
    if not found:
        raise UsageError(f"the lake {lake.root} has no persons yet", "Make them with `cohortlake run`.")
    return found


def _record(text: str, known: Mapping[Key, str]) -> Key:
    """The record of `SILO/ID`. Raises UsageError where there is none."""
    silo, _, patient_id = text.partition("/")
    if (silo, patient_id) not in known:
        silos = ", ".join(sorted({name for name, _ in known}))
        raise UsageError(f"there is no Patient {text}", f"Name it SILO/ID; silos are {silos}.")
    return (silo, patient_id)


def _model(catalog: Path | None) -> PersonModel:
    return load_model(catalog or PROJECT_CATALOG)


@commands.command()
def explain(
    target: Annotated[str, typer.Argument(metavar="PERSON|SILO/ID", help="A person's id, or a record of one.")],
    show: ShowOption = False,
    lake: LakeOption = LAKE,
    catalog: CatalogOption = None,
) -> None:
    """Show a person's records side by side and the evidence of each pair, with the pairs that were not linked.

    Values are masked: a letter stands for each, and the same letter is the same value. `--show` shows them.

    **Examples**

    `cohortlake person explain site_a_fhir_r4/002ba543-150c-8981-e432-89e542ea457f`

    `cohortlake person explain 3fa2c1d9e0b14c77a8d0 --show`
    """
    from spark_jobs.link_records import demographics
    from spark_jobs.link_tables import live, read_pairs

    place, model = Lake(lake.absolute()), _model(catalog)
    history = _members(place)
    now = live(history)
    person_id = _person(target, history, now)
    records = sorted(key for key, person in now.items() if person == person_id)
    silos = len({silo for silo, _ in records})
    out.print(f"[bold]person {person_id}[/]: {len(records)} records of {silos} silos")
    since = {row.key: row.since[:19] for row in history if row.until is None}
    for gone, into in merged_into(history).items():
        if into == person_id:
            out.print(f"person {gone} became part of it", style="dim")
    mine = [pair for pair in read_pairs(place, of=records) if pair["outcome"] != "apart"]
    beside = {key for pair in mine for key in (left_of(pair), right_of(pair))} - set(records)
    rows = demographics(place, model, [*records, *sorted(beside)]).to_pylist()
    rows.sort(key=lambda row: ((row["silo"], row["patient_id"]) in beside, row["silo"], row["patient_id"]))
    for number, row in enumerate(rows, 1):
        key = (row["silo"], row["patient_id"])
        other = f", another person: {now[key]}" if key in beside else ""
        out.print(f"{number:>3}  {key_text(key)}  since {since[key]}{other}")
    out.print(side_by_side(rows, show))
    abouts = {rule.name: rule.about for rule in (*model.rules, *model.holds)}
    for pair in sorted(mine, key=lambda pair: (pair["outcome"] != "linked", -pair["weight"]))[:DRAWN]:
        prior = pair["weight"] - sum(step["weight"] for step in pair["evidence"])
        out.print(f"\n[bold]{key_text(left_of(pair))} ~ {key_text(right_of(pair))}[/]: {pair['outcome']}", end=" ")
        out.print(f"({why(pair, abouts, model.thresholds.link)})", style="dim")
        out.print(waterfall(pair, prior))
        if missing := not_compared(pair):
            out.print(f"not compared: {missing}", style="dim")
    if len(mine) > DRAWN:
        out.print(f"and {len(mine) - DRAWN} pairs more", style="dim")


def _person(target: str, history: list[Membership], now: Mapping[Key, str]) -> str:
    """The live person that a record or an id (or its first letters) names."""
    if "/" in target:
        return now[_record(target, now)]
    gone = merged_into(history)
    named = sorted({row.person_id for row in history if row.person_id.startswith(target)})
    if len(named) != 1:
        raise UsageError(f"{len(named)} persons have an id that starts with {target!r}", "Name a record as SILO/ID.")
    found = named[0]
    while found in gone:
        found = gone[found]
    if found != named[0]:
        out.print(f"person {named[0]} became part of {found}", style="dim")
    if found not in now.values():
        raise UsageError(f"person {found} has no record any more", "Its records were deleted by their silos.")
    return found


@commands.command()
def review(
    rows: Annotated[int, typer.Option(help="Show at most so many.")] = 20,
    lake: LakeOption = LAKE,
    catalog: CatalogOption = None,
) -> None:
    """List the pairs that wait for a human, the likeliest first: which records, how likely, and why they wait.

    **Examples**

    `cohortlake person review`

    `cohortlake person explain SILO/ID`, then `cohortlake person decide SILO/ID SILO/ID --same --by … --reason …`
    """
    from rich.table import Table

    from spark_jobs.link_tables import read_decisions, read_pairs

    place, model = Lake(lake.absolute()), _model(catalog)
    _members(place)
    decided = {decision.pair for decision in read_decisions(place)}
    queued = read_pairs(place, outcome="review")
    waiting = [pair for pair in queued if (left_of(pair), right_of(pair)) not in decided]
    waiting.sort(key=lambda pair: (-pair["weight"], left_of(pair), right_of(pair)))
    abouts = {rule.name: rule.about for rule in (*model.rules, *model.holds)}
    table = Table("records", "P", "why it waits", "levels", header_style="bold", box=None, pad_edge=False)
    for pair in waiting[:rows]:
        names = f"{key_text(left_of(pair))}\n{key_text(right_of(pair))}"
        table.add_row(names, f"{pair['probability']:.4f}", why(pair, abouts, model.thresholds.link), levels_text(pair))
    if waiting:
        out.print(table)
    out.print(f"{len(waiting):,} pairs wait; {len(decided):,} pairs are decided.", style="dim")


SameOption = Annotated[
    bool, typer.Option("--same/--different", help="Whether they are one person's.", show_default=False)
]


@commands.command()
def decide(
    left: RecordArgument,
    right: RecordArgument,
    is_same: SameOption,
    by: Annotated[str, typer.Option(help="The role that decides (health information manager).")],
    reason: Annotated[str, typer.Option(help="Why; without identifying values.")],
    lake: LakeOption = LAKE,
) -> None:
    """Decide whether two records are one person's. Every later run obeys; the last decision of a pair is in force.

    **Example**

    `cohortlake person decide site_a/002b site_b/77aa --different --by "records office" --reason "twins"`
    """
    from cohortlake.core.persons.decisions import Decision
    from spark_jobs.link_tables import keep_decision, live, now

    place = Lake(lake.absolute())
    known = live(_members(place))
    if not by.strip() or not reason.strip():
        raise UsageError("a decision needs a role and a reason", 'Give --by "records office" --reason "same phone".')
    pair = (_record(left, known), _record(right, known))
    keep_decision(place, Decision(*pair, is_same, by.strip(), reason.strip(), now()))
    out.print(f"kept: {left} and {right} are {'one person' if is_same else 'two persons'}.")
    out.print("The next `cohortlake run` obeys it.", style="dim")
