"""What an erasure is to take out, worked out before anything is touched, and kept so that a killed one can go on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from cohortlake.core.erasure import Search, Traits
from cohortlake.core.history import commits
from cohortlake.core.lake import Lake
from spark_jobs import delta
from spark_jobs.delta_history import Gone


@dataclass
class Plan:
    """An erasure: whose, why, and what goes where. `names` (`Type/id`) are by silo, `keys` are their pseudonyms.

    `several` counts rows that name other people too, `shared` the traits that others have and the proof leaves out.
    """

    erasure: str
    at: str
    reason: str
    by: str
    records: list[list[str]]
    names: dict[str, list[str]]
    traits: Traits
    keys: list[str] = field(default_factory=list)
    shared: int = 0
    several: int = 0
    tables: dict[str, Gone] = field(default_factory=dict)
    releases: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)

    @property
    def search(self) -> Search:
        """What the proof looks for."""
        sought = Traits(self.traits.values | frozenset(self.keys), self.traits.people)
        return Search(sought, {name for names in self.names.values() for name in names})

    def counts(self, lake: Lake) -> list[tuple[str, int, int, int]]:
        """A table, its rows that go, the data files that hold them, the versions of the table."""
        return [
            (name, sum(map(len, [*gone.rows.values(), *gone.changed.values()])), len(gone.files), versions)
            for name, gone in sorted(self.tables.items())
            for versions in [len(commits(lake.root / name))]
        ]


def write_journal(lake: Lake, plan: Plan) -> None:
    content = asdict(plan)
    content["traits"] = {"values": sorted(plan.traits.values), "people": sorted(plan.traits.people)}
    delta.write_json(lake.erasing, content)
    os.chmod(lake.erasing, 0o600)


def read_journal(lake: Lake) -> Plan | None:
    """The erasure that is under way, if there is one."""
    if not lake.erasing.exists():
        return None
    content = json.loads(lake.erasing.read_text(encoding="utf-8"))
    who, gone = content.pop("traits"), content.pop("tables")
    read = {name: Gone(one["rows"], _by_row(one["changed"])) for name, one in gone.items()}
    people = frozenset(tuple(one) for one in who["people"])
    return Plan(**content, traits=Traits(frozenset(who["values"]), people), tables=read)


def _by_row(files: dict[str, dict[str, Any]]) -> dict[str, dict[int, Any]]:
    """As it was before JSON made texts of the row numbers."""
    return {file: {int(row): values for row, values in rows.items()} for file, rows in files.items()}
