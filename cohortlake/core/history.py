"""Earlier versions of tables: which one was live at a time, and whether it can still be read. No engine is needed.

A Delta table's log has a JSON file a commit, named by the version; older ones may have been folded into a checkpoint.
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path

from cohortlake.core.errors import UsageError

COMMIT = re.compile(r"(\d{20})\.json")
CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")
DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class AsOf:
    """What is asked for: a version of each table, or what was live at a moment. One of the two is None."""

    version: int | None = None
    moment: datetime.datetime | None = None


def as_of(text: str) -> AsOf:
    """A version (`3`), a day (its last moment) or a time (ISO 8601; UTC where it names no zone). Raises UsageError."""
    if text.isdigit():
        return AsOf(version=int(text))
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no version and no time", "Give a number, or a time as 2026-11-02 or 2026-11-02T08:00:00Z."
        ) from error
    if DAY.fullmatch(text):
        moment = datetime.datetime.combine(moment, datetime.time.max)
    return AsOf(moment=moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC))


def commits(table: Path) -> dict[int, datetime.datetime]:
    """The versions whose commits the log still has, with their times; times never go back."""
    found: dict[int, datetime.datetime] = {}
    last = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    for path in sorted((table / "_delta_log").glob("*.json")):
        if name := COMMIT.fullmatch(path.name):
            last = max(last, _time(path))
            found[int(name[1])] = last
    return found


def _time(path: Path) -> datetime.datetime:
    """A commit's own time; its file's where it says none."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            said = json.loads(line).get("commitInfo", {})
            if milliseconds := said.get("inCommitTimestamp") or said.get("timestamp"):
                return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    return datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)


def first_version(table: Path) -> int:
    """The oldest version that the log can still tell: the first commit, or the first checkpoint where that is gone."""
    versions = commits(table)
    if 0 in versions:
        return 0
    folded = [CHECKPOINT.fullmatch(path.name) for path in (table / "_delta_log").glob("*.parquet")]
    return min([int(name[1]) for name in folded if name], default=min(versions, default=0))


def version_at(table: Path, wanted: AsOf) -> int:
    """The version of a table that is asked for. Raises UsageError where there is none, or none any more."""
    versions = commits(table)
    if not versions:
        raise UsageError(f"there is no table {table.name}", "Make it with `cohortlake run`, or name a --lake.")
    first, last = first_version(table), max(versions)
    since = versions.get(first) or versions[min(versions)]
    if wanted.version is not None:
        if not first <= wanted.version <= last:
            raise UsageError(
                f"{table.name} has no version {wanted.version}",
                f"It has {first} ({_shown(since)}) to {last} ({_shown(versions[last])}).",
            )
        return wanted.version
    assert wanted.moment is not None  # noqa: S101 (AsOf has one of the two)
    before = [version for version, at in versions.items() if version >= first and at <= wanted.moment]
    if not before:
        raise UsageError(
            f"{table.name} has no version as of {_shown(wanted.moment)}: it begins at {_shown(since)}",
            "Ask for a later time." if first == 0 else "Earlier ones were removed from its log; ask for a later time.",
        )
    return max(before)


def check_files(table: Path, version: int, files: list[str]) -> None:
    """Raises UsageError where files of a version are gone: it was vacuumed."""
    if gone := sum(not Path(file).exists() for file in files):
        raise UsageError(
            f"version {version} of {table.name} can no longer be read: {gone} of its {len(files)} files were vacuumed",
            "Ask for a later time.",
        )


def _shown(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
