"""Persons on the terminal: records side by side, the evidence of a pair as a waterfall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from cohortlake.core.persons.ids import Key

SHOWN = (
    "first_name", "middle_name", "surname", "surnames", "suffix", "birth_date", "sex", "ssn", "identifiers",
    "record_numbers", "address", "city", "postcode", "phones", "email", "links",
)  # fmt: skip
WIDTH = 30
NOTHING = "·"


def key_text(key: Sequence[str]) -> str:
    return "/".join(key)


def side_by_side(rows: Sequence[Mapping[str, Any]], show: bool) -> Table:
    """Records as columns, by number. Unless `show`, a letter stands for each value, and the same one for the same."""
    numbers = (str(number) for number in range(1, len(rows) + 1))
    table = Table("", *numbers, header_style="bold", box=None, pad_edge=False)
    for name in SHOWN:
        values = [row[name] for row in rows]
        if any(values):
            table.add_row(name, *(_told(values, show)))
    return table


def _told(values: Sequence[Any], show: bool) -> Iterator[str]:
    seen: dict[str, str] = {}
    for value in values:
        parts = value if isinstance(value, list) else [value] if value is not None else []
        for part in parts:
            seen.setdefault(part, chr(ord("A") + len(seen) % 26))
        yield " ".join(str(part) if show else seen[part] for part in parts) or NOTHING


def waterfall(pair: Mapping[str, Any], prior: float) -> Table:
    """The sum of a pair's weights, comparison by comparison, the strongest first; weights are bits."""
    steps = [("prior", "", prior)]
    evidence = sorted(pair["evidence"], key=lambda step: -abs(step["weight"]))
    said = [step for step in evidence if step["level"] != "missing" and step["weight"]]
    steps += [(step["comparison"], step["level"], step["weight"]) for step in said]
    sums = [0.0]
    for *_, weight in steps:
        sums.append(sums[-1] + weight)
    low, high = min(sums), max(sums)
    table = Table("comparison", "level", "weight", "", header_style="dim", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    table.columns[3].min_width = WIDTH
    for (name, level, weight), start, end in zip(steps, sums, sums[1:], strict=False):
        table.add_row(name, level.replace("_", " "), f"{weight:+.1f}", _bar(start, end, low, high))
    total = Text(f"{pair['weight']:+.1f}", style="bold")
    table.add_row(Text("sum", style="bold"), f"P = {pair['probability']:.6g}", total, _bar(0.0, sums[-1], low, high))
    return table


def not_compared(pair: Mapping[str, Any]) -> str:
    """The comparisons for which one of the records has nothing."""
    return ", ".join(step["comparison"] for step in pair["evidence"] if step["level"] == "missing")


def _bar(start: float, end: float, low: float, high: float) -> Text:
    scale = (WIDTH - 1) / (high - low or 1)
    left, right = (round((edge - low) * scale) for edge in sorted((start, end)))
    return Text(" " * left + "█" * max(right - left, 1), style="green" if end >= start else "red")


def why(pair: Mapping[str, Any], abouts: Mapping[str, str], link: float) -> str:
    """Why a pair stands where it does, in words."""
    if pair["outcome"] == "decided":
        return "a human decided"
    if pair["outcome"] == "parted":
        return "its source says that they are two"
    if pair["rule"]:
        return f"rule {pair['rule']}: {abouts.get(pair['rule'], 'declared before')}"
    if pair["hold"]:
        return f"held, {pair['hold']}: {abouts.get(pair['hold'], 'declared before')}"
    if pair["outcome"] == "review" and pair["probability"] >= link:
        return "linking it would join records that contradict each other"
    if pair["outcome"] == "linked" and pair["probability"] < link:
        return "linked through other records"
    return {"linked": "the evidence", "review": "the evidence is not enough"}.get(pair["outcome"], "too weak")


def levels_text(pair: Mapping[str, Any]) -> str:
    """The levels that say something, in short."""
    told = [step for step in pair["evidence"] if step["level"] != "missing" and abs(step["weight"]) >= 0.5]
    return ", ".join(f"{step['comparison']} {step['level'].replace('_', ' ')}" for step in told)


def left_of(pair: Mapping[str, Any]) -> Key:
    return (pair["left_silo"], pair["left_id"])


def right_of(pair: Mapping[str, Any]) -> Key:
    return (pair["right_silo"], pair["right_id"])
