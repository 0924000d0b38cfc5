"""The recount of releases: their files against what they say of themselves, and the newest against what was staged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cohortlake.core.lake import Lake
from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.tally import Tally, file_digest, parquet, tally, tally_of
from cohortlake.core.sql import identifier, literal

SPLITS = ("train", "validation", "test")


def recount_releases(connection: Any, lake: Lake, cohort: str) -> Iterator[Finding]:
    """A finding a release of a cohort."""
    folder = lake.releases(cohort)
    staged = lake.staging("research", cohort)
    pointer = staged / "_release.json"
    newest = json.loads(pointer.read_text(encoding="utf-8"))["version"] if pointer.exists() else None
    for facts in sorted(folder.glob("*/release.json")):
        version = facts.parent
        found = Finding("staged → release", f"{cohort} {version.name}")
        for name, digest in json.loads(facts.read_text(encoding="utf-8")).get("files", {}).items():
            if not (version / name).exists():
                found.problems.append(f"{name} is gone")
            elif file_digest(version / name) != digest:
                found.problems.append(f"{name} is not what was released")
        found.does = released(connection, version)
        found.came = found.out = found.does.rows
        sides = [staged / f"{name}.parquet" for name in ("cohort", "synthetic")]
        if version.name == newest and all(side.exists() for side in sides):
            found.must = stages(connection, sides)
            found.came = found.must.rows
        yield found


def stages(connection: Any, files: list[Path]) -> Tally:
    """The rows that wait to be released, by all their columns."""
    return sum((tally(connection, parquet([file]), _columns(connection, file)) for file in files), Tally())


def released(connection: Any, folder: Path) -> Tally:
    """The rows of a release, by all their columns and the split that their file says."""
    found = Tally()
    for split in SPLITS:
        file = folder / f"{split}.parquet"
        if file.exists():
            names = sorted([*_columns(connection, file), "split"])
            hashed = ", ".join(literal(split) if name == "split" else identifier(name) for name in names)
            found += tally_of(connection, parquet([file]), f"hash({hashed})")
    return found


def _columns(connection: Any, file: Path) -> list[str]:
    return sorted(row[0] for row in connection.execute(f"DESCRIBE FROM {parquet([file])}").fetchall())
