"""The door of `land`: what was erased stays out. It knows keyed hashes, and reads a record as erasure does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.catalog import Catalog, Silo
from cohortlake.core.erasure import Guard, without_entries
from cohortlake.core.lake import Lake
from spark_jobs.erase_guard import guards
from spark_jobs.erase_prove import is_opaque, texts
from spark_jobs.erase_records import Reader, Told, other_patients, reader

OTHERS = "an erased person is in it, and others are: ask the sender for a record without the person"


@dataclass
class Passed:
    """Rows of bronze that may land, records that are held, and how many stay out."""

    data: pa.Table
    rejected: list[dict[str, Any]]
    erased: int


@dataclass
class Door:
    """What it takes to tell whether a silo's record names someone who was erased. `bundles` are feeds of deletes."""

    guard: Guard
    reader: Reader
    bundles: frozenset[str]

    def open_for(self, feed: str, data: pa.Table, rejected: Sequence[dict[str, Any]]) -> Passed:
        """Part rows of bronze (of one file) and records that are rejected already by whom they name.

        A record of several people is held, without its payload: to leave it out would lose the others' facts. Of a
        Bundle of deletes only the entries go.
        """
        held = [row for row in rejected if not self.guard.holds_word(row["payload"].decode("latin-1"))]
        payloads, keep, erased = data["payload"].to_pylist(), [], len(rejected) - len(held)
        for number, told in enumerate(self.reader.told(feed, data)):
            found = self._erased(told, payloads[number])
            is_shared = bool(found and told and other_patients(told, found))
            keep.append(not found or feed in self.bundles)
            if found and feed in self.bundles:
                payloads[number] = without_entries(payloads[number], found)
            elif is_shared:
                held.append({"offset": data["offset"][number].as_py(), "reason": OTHERS, "payload": None})
            elif found:
                erased += 1
        place = data.schema.get_field_index("payload")
        data = data.set_column(place, data.schema.field(place), pa.array(payloads, pa.string()))
        return Passed(data.filter(pa.array(keep, pa.bool_())), held, erased)

    def _erased(self, told: list[Told] | None, payload: str) -> set[str]:
        """The erased names in a record; of one that nobody can read, whether an erased word is in it."""
        if told is None:
            return {"?"} if self.guard.holds_word(payload) else set()
        return self.guard.erased({name for one in told for name in one.every})

    def is_in(self, path: Path) -> bool:
        """Whether a file that cannot be landed holds an erased word, or may hold one."""
        return is_opaque(path) or any(self.guard.holds_word(text) for text in texts(path))


def door_of(lake: Lake, catalog: Catalog, silo: Silo) -> Door | None:
    """The door of a silo, or None where nothing was erased of it."""
    guard = guards(lake).get(silo.name)
    if guard is None:
        return None
    bundles = frozenset(name for name, feed in silo.feeds.items() if feed.deletes == "bundles")
    return Door(guard, reader(catalog, silo), bundles)
