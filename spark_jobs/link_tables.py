"""The tables of persons, all in the phi zone.

```
LAKE/phi/persons/members     who had which record, since when and until when; one commit a run, and only if it changed
LAKE/phi/persons/pairs       the scored pairs of the last run: weights, levels, rule, outcome; no value of a record
LAKE/phi/persons/decisions   what humans decided, for good
```
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.lake import Lake
from cohortlake.core.persons.decisions import Decision, check
from cohortlake.core.persons.ids import Key, Membership
from spark_jobs import delta
from spark_jobs.link_model import EVIDENCE

# Between a silo and an id where both are one text; neither holds it.
SEPARATOR = "\x1f"
TIME = pa.timestamp("us", tz="UTC")
MEMBERS = pa.schema(
    {
        "person_id": pa.string(), "silo": pa.string(), "patient_id": pa.string(),
        "since": TIME, "until": TIME, "ended": pa.string(), "moved_to": pa.string(),
    }
)  # fmt: skip
PAIR_KEYS = ("left_silo", "left_id", "right_silo", "right_id")
PAIRS = pa.schema(
    {
        **{name: pa.string() for name in PAIR_KEYS},
        "weight": pa.float64(), "probability": pa.float64(), "rule": pa.string(), "hold": pa.string(),
        "evidence": pa.list_(EVIDENCE), "outcome": pa.string(),
    }
)  # fmt: skip
DECISIONS = pa.schema(
    {
        **{name: pa.string() for name in PAIR_KEYS},
        "is_same": pa.bool_(), "by": pa.string(), "reason": pa.string(), "at": TIME,
    }
)  # fmt: skip
ABOUT = {
    "members": "Which person each record of a silo is of; a row with `until` is history.",
    "pairs": "Pairs of records that were compared and weigh enough to be kept, with the evidence.",
    "decisions": "What humans decided about pairs of records.",
}


def table(lake: Lake, name: str) -> Path:
    return lake.root / "phi/persons" / name


def now() -> str:
    """The time (UTC, ISO 8601, microseconds), as Membership and Decision have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def _time(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None


def _text(at: datetime.datetime | None) -> str | None:
    return at.astimezone(datetime.UTC).isoformat(timespec="microseconds") if at else None


def read_members(lake: Lake) -> list[Membership]:
    found = delta.rows(table(lake, "members"), MEMBERS.names)
    if found is None:
        return []
    return [_membership(row) for row in found.to_pylist()]


def _membership(row: dict[str, Any]) -> Membership:
    return Membership(**{**row, "since": _text(row["since"]), "until": _text(row["until"])})


def write_members(lake: Lake, history: Sequence[Membership]) -> None:
    """Make a history the table's whole, in one commit."""
    columns = list(zip(*(astuple(row) for row in history), strict=True)) or [()] * len(MEMBERS)
    for name in ("since", "until"):
        place = MEMBERS.get_field_index(name)
        columns[place] = tuple(_time(at) for at in columns[place])
    arrays = [pa.array(values, field.type) for values, field in zip(columns, MEMBERS, strict=True)]
    _replace(lake, "members", pa.Table.from_arrays(arrays, schema=MEMBERS), {})


def write_pairs(lake: Lake, pairs: pa.Table, facts: dict[str, str]) -> None:
    """Make pairs (PAIRS) the table's whole, in one commit; `facts` stand in its log."""
    _replace(lake, "pairs", pairs, facts)


def _replace(lake: Lake, name: str, rows: pa.Table, facts: dict[str, str]) -> None:
    place = table(lake, name)
    delta.create(place, rows.schema, description=ABOUT[name])
    parts = [delta.write_part(place, rows, {})] if rows.num_rows else []
    delta.replace(place, rows.schema, parts, description=ABOUT[name], privacy={}, facts=facts)


def read_pairs(lake: Lake, *, outcome: str | None = None, of: Collection[Key] | None = None) -> list[dict[str, Any]]:
    """The scored pairs of the last run (rows of PAIRS), of an outcome, with one `of` these records."""
    found = delta.rows(table(lake, "pairs"), PAIRS.names)
    if found is None:
        return []
    if outcome is not None:
        found = found.filter(pc.field("outcome") == outcome)
    if of is not None:
        found = found.filter(_names(found, of))
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def _names(rows: pa.Table, records: Collection[Key]) -> pa.Array:
    """Which rows name one of the records, by whatever columns they have."""
    wanted = pa.array([SEPARATOR.join(record) for record in records], pa.string())
    sides = [("left_silo", "left_id"), ("right_silo", "right_id"), ("silo", "patient_id")]
    held = [
        pc.is_in(pc.binary_join_element_wise(rows[silo], rows[id_], SEPARATOR), value_set=wanted)
        for silo, id_ in sides
        if silo in rows.column_names
    ]
    return held[0] if len(held) == 1 else pc.or_(*held)


def forget(lake: Lake, records: Collection[Key]) -> dict[str, int]:
    """Take records out of every table of persons, history too; gives the rows taken, by table.

    Earlier versions of the tables hold them until they are vacuumed.
    """
    taken = {}
    for name, schema in (("members", MEMBERS), ("pairs", PAIRS), ("decisions", DECISIONS)):
        found = delta.rows(table(lake, name), schema.names)
        if found is None or not (count := pc.sum(_names(found, records)).as_py()):
            continue
        _replace(lake, name, found.filter(pc.invert(_names(found, records))).cast(schema).combine_chunks(), {})
        taken[name] = int(count)
    return taken


def read_decisions(lake: Lake) -> list[Decision]:
    found = delta.rows(table(lake, "decisions"), DECISIONS.names)
    return [] if found is None else [_decision(row) for row in found.to_pylist()]


def _decision(row: dict[str, Any]) -> Decision:
    left, right = (row["left_silo"], row["left_id"]), (row["right_silo"], row["right_id"])
    return Decision(left, right, row["is_same"], row["by"], row["reason"], str(_text(row["at"])))


def keep_decision(lake: Lake, new: Decision) -> None:
    """Add a decision. Raises UsageError where it contradicts others, LakeWriteError where the disk refuses."""
    left, right = new.pair
    row = {**dict(zip(PAIR_KEYS, (*left, *right), strict=True)), "is_same": new.is_same}
    row |= {"by": new.by, "reason": new.reason, "at": _time(new.at)}
    with lake.lock("decisions"):
        check(read_decisions(lake), new)
        place = table(lake, "decisions")
        delta.create(place, DECISIONS, description=ABOUT["decisions"])
        delta.commit(place, [delta.write_part(place, pa.Table.from_pylist([row], schema=DECISIONS), {})])


def live(history: Iterable[Membership]) -> dict[Key, str]:
    """The person of each live record."""
    return {row.key: row.person_id for row in history if row.until is None}
