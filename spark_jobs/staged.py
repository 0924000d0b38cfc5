"""What a batch brings to a table and waits for the gate: parts that no reader sees, kept in mind on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spark_jobs.delta import Part, write_json

# What tells a staged row from the others of its table: a record may have become several.
PLACE = ("_file_hash", "_offset", "id")


@dataclass
class Staged:
    """What a batch brings to one table: parts that wait for the gate."""

    table: str
    parts: list[Part]
    rows: int
    facts: dict[str, Any] = field(default_factory=dict)


def write_staged(folder: Path, staged: Staged) -> None:
    """Keep a table's staging on disk; a whole file or none."""
    write_json(folder / f"{staged.table}.json", asdict(staged))


def read_staged(folder: Path) -> dict[str, Staged]:
    """The staged tables of a scope, by table."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if not path.name.startswith("_"):
            content = json.loads(path.read_text(encoding="utf-8"))
            parts = [Part(**part) for part in content.pop("parts")]
            found[content["table"]] = Staged(parts=parts, **content)
    return found
